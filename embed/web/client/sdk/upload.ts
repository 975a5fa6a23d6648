// Uploads: with progress, and with an end that can be reached from outside.

import { ApiError } from "./api.ts";
import type { Engine } from "./engine.ts";

/** Send bytes to the server's media; the answer is their `mxc://` address. Throws ApiError. */
export async function uploadBlob(engine: Engine, blob: Blob, options: { name?: string; type?: string; signal?: AbortSignal; onprogress?: (part: number) => void } = {}): Promise<string> {
    const token = await engine.tokens.current();
    return new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        const query = options.name ? `?filename=${encodeURIComponent(options.name)}` : "";
        request.open("POST", `/_matrix/media/v3/upload${query}`);
        request.setRequestHeader("Authorization", `Bearer ${token}`);
        request.setRequestHeader("Content-Type", options.type ?? (blob.type || "application/octet-stream"));
        request.upload.onprogress = ({ loaded, total, lengthComputable }) => lengthComputable && options.onprogress?.(loaded / total);
        request.onload = () => {
            const body = parse(request.responseText);
            const uri = body["content_uri"];
            if (request.status === 200 && typeof uri === "string") resolve(uri);
            else reject(new ApiError(request.status, text(body["errcode"]), text(body["error"]) || request.statusText, body));
        };
        request.onerror = () => reject(new ApiError(0, "NETWORK", "The connection was lost"));
        request.onabort = () => reject(new DOMException("The upload was cancelled", "AbortError"));
        options.signal?.addEventListener("abort", () => request.abort());
        request.send(blob);
    });
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

function parse(text: string): Record<string, unknown> {
    try {
        return JSON.parse(text) as Record<string, unknown>;
    } catch {
        return {};
    }
}

/** The largest upload in bytes; undefined if the server has no media or does not say. */
export async function uploadLimit(engine: Engine): Promise<number | undefined> {
    try {
        const response = await engine.tokens.fetch("/_matrix/client/v1/media/config");
        const { "m.upload.size": size } = (await response.json()) as Record<string, unknown>;
        return typeof size === "number" ? size : undefined;
    } catch {
        return undefined;
    }
}
