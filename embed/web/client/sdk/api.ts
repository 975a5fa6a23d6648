// Requests that need no SDK: what happens before one has signed in, and our own endpoints.

/** An error that the server named, or the network (status 0). */
export class ApiError extends Error {
    readonly status: number;
    readonly errcode: string;
    readonly body: Record<string, unknown>;

    constructor(status: number, errcode: string, message: string, body: Record<string, unknown> = {}) {
        super(message);
        this.status = status;
        this.errcode = errcode;
        this.body = body;
    }

    /** Milliseconds after which the server wants to be asked again. */
    get retryAfter(): number | undefined {
        const value = this.body["retry_after_ms"];
        return typeof value === "number" ? value : undefined;
    }
}

export interface Ask {
    method?: string;
    body?: unknown;
    token?: string | undefined;
    query?: Record<string, string>;
    headers?: Record<string, string>;
    signal?: AbortSignal;
    fetch?: typeof fetch;
}

/** Ask the server for JSON. Throws ApiError. */
export async function ask<T = Record<string, unknown>>(path: string, options: Ask = {}): Promise<T> {
    const { method = options.body === undefined ? "GET" : "POST", body, token, query, signal } = options;
    const headers: Record<string, string> = { ...options.headers };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (token) headers["Authorization"] = `Bearer ${token}`;
    const url = query ? `${path}?${new URLSearchParams(query).toString()}` : path;
    let response: Response;
    try {
        response = await (options.fetch ?? fetch)(new URL(url, location.origin).href, {
            method,
            headers,
            ...(body !== undefined && { body: JSON.stringify(body) }),
            ...(signal && { signal }),
        });
    } catch (error) {
        if (signal?.aborted) throw error;
        throw new ApiError(0, "NETWORK", String(error));
    }
    const data = (await response.json().catch(() => ({}))) as Record<string, unknown>;
    if (response.ok) return data as T;
    const text = (key: string): string => (typeof data[key] === "string" ? data[key] : "");
    throw new ApiError(response.status, text("errcode") || `HTTP_${response.status}`, text("error") || response.statusText, data);
}
