// How loud a voice message is, as a drawing.

export const BARS = 48;

/** The loudness (0 to 1 each) as the path of so many upright strokes in a box 4 wide for each and 32 high. */
export function waveLine(wave: readonly number[], bars = BARS): string {
    if (wave.length === 0) return "";
    const strokes = Array.from({ length: bars }, (_, at) => {
        const from = Math.floor((at * wave.length) / bars);
        const to = Math.max(from + 1, Math.floor(((at + 1) * wave.length) / bars));
        const height = Math.max(2, Math.round(Math.max(...wave.slice(from, to)) * 30));
        return `M${at * 4 + 2} ${16 - height / 2}v${height}`;
    });
    return strokes.join("");
}
