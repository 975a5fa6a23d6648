// Sessions are renewed by sdk/session.ts; the SDK's own way with OAuth needs an option that this client never gives.
export const OAuth2Error = {}, isValidAuthMetadata = (): boolean => false;
class Nothing {}
export { Nothing as OAuth2, Nothing as TokenRefresher };
