// Which of the files that wait beside texts are kept on the disk.

const MOST_FILES = 3;
const MOST_BYTES = 25e6;

/** The first of them, as many as there is room for. One that does not fit leaves its room to those behind it. */
export function kept<T extends { file: { size: number } }>(waiting: readonly T[]): T[] {
    let bytes = 0;
    const chosen: T[] = [];
    for (const each of waiting) {
        if (chosen.length === MOST_FILES || bytes + each.file.size > MOST_BYTES) continue;
        bytes += each.file.size;
        chosen.push(each);
    }
    return chosen;
}
