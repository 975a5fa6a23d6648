// The client is served by its own server, so it looks for none by a name.
export class AutoDiscovery { static getRawClientConfig(): Promise<object> { return Promise.resolve({}); } }
