// Reading much of a server that lets one ask so often and no more.

/** Once more after the server's pause, if it wants one. */
export async function patient<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
        try {
            return await ask();
        } catch (error) {
            const { errcode, data } = error as { errcode?: string; data?: { retry_after_ms?: number } };
            if (errcode !== "M_LIMIT_EXCEEDED" || tries >= 5) throw error;
            await new Promise((go) => setTimeout(go, Math.min(data?.retry_after_ms ?? 2_000, 30_000)));
        }
    }
}
