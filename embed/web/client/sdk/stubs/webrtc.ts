// Calls are not part of this client yet; the SDK's client constructs these, so they exist and do nothing.
class Nothing {
    start(): void {}
    stop(): void {}
    on(): this { return this; }
    off(): this { return this; }
    getDevices(): Promise<never[]> { return Promise.resolve([]); }
}
export { Nothing as CallEventHandler, Nothing as GroupCallEventHandler, Nothing as MediaHandler, Nothing as MatrixCall, Nothing as GroupCall };
export const CallEventHandlerEvent = {}, GroupCallEventHandlerEvent = {}, CallEvent = {}, CallState = {}, GroupCallEvent = {}, GroupCallState = {};
export const GroupCallIntent = {}, GroupCallType = {}, CallType = {}, CallErrorCode = {}, CallDirection = {}, CallParty = {}, GroupCallTerminationReason = {};
export const GroupCallErrorCode = {}, GroupCallUnknownDeviceError = Nothing, CallError = Nothing, MediaHandlerEvent = {};
export const supportsMatrixCall = (): boolean => false, createNewMatrixCall = (): null => null, setTracksEnabled = (): void => {}, genCallID = (): string => "";
