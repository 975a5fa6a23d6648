// A short sound for a new message, in one tab only, unless it is switched off.

const KEY = "mute";
let held = false;
// Whoever has the lock makes the sounds; the next tab gets it when this one goes.
void navigator.locks?.request("hromada-sound", () => new Promise(() => (held = true))).catch(() => undefined);

export const muted = (): boolean => {
    try {
        return localStorage.getItem(KEY) === "1";
    } catch {
        return false;
    }
};
export function mute(on: boolean): void {
    try {
        localStorage.setItem(KEY, on ? "1" : "0");
    } catch {
        // It lasts as long as the page.
    }
}

/** Two soft notes. A browser that nobody has touched yet stays silent. */
export function ring(): void {
    if (muted() || (!held && navigator.locks)) return;
    try {
        const audio = new AudioContext();
        for (const [index, pitch] of [660, 880].entries()) {
            const note = audio.createOscillator();
            const level = audio.createGain();
            const at = audio.currentTime + index * 0.12;
            note.frequency.value = pitch;
            level.gain.setValueAtTime(0.06, at);
            level.gain.exponentialRampToValueAtTime(0.0001, at + 0.25);
            note.connect(level).connect(audio.destination);
            note.start(at);
            note.stop(at + 0.25);
        }
        setTimeout(() => void audio.close(), 800);
    } catch {
        // No sound here.
    }
}
