// Some hundred messages of a room, by their words. A segment is read, changed and written as a whole.

import { wordsOf } from "./words.ts";

interface Written {
    ids: string[];
    times: number[];
    words: [string, ...number[]][];
}

export class Segment {
    #ids: string[] = [];
    #times: number[] = [];
    #words = new Map<string, number[]>();

    static parse(text: string): Segment {
        const { ids, times, words } = JSON.parse(text) as Written;
        const segment = new Segment();
        segment.#ids = ids;
        segment.#times = times;
        segment.#words = new Map(words.map(([word, ...places]) => [word, places]));
        return segment;
    }

    toString(): string {
        return JSON.stringify({ ids: this.#ids, times: this.#times, words: [...this.#words].map(([word, places]) => [word, ...places] as const) });
    }

    /** Places that are taken, also by messages that have gone. */
    get size(): number {
        return this.#ids.length;
    }

    get ids(): string[] {
        return this.#ids.filter(Boolean);
    }

    /** The first and the last moment; undefined if nothing is left. */
    get span(): [number, number] | undefined {
        const times = this.#times.filter((_, place) => this.#ids[place]);
        return times.length ? [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))] : undefined;
    }

    /** Take a message in, or in the place of what it said before. */
    put(id: string, time: number, text: string): void {
        this.#unsay(id);
        const known = this.#ids.indexOf(id);
        const place = known < 0 ? this.#ids.push(id) - 1 : known;
        this.#times[place] = time;
        for (const word of wordsOf(text)) {
            const places = this.#words.get(word);
            if (places) places.push(place);
            else this.#words.set(word, [place]);
        }
    }

    remove(id: string): void {
        this.#unsay(id);
        const place = this.#ids.indexOf(id);
        if (place >= 0) this.#ids[place] = "";
    }

    #unsay(id: string): void {
        const place = this.#ids.indexOf(id);
        if (place < 0) return;
        for (const [word, places] of this.#words) {
            if (!places.includes(place)) continue;
            const left = places.filter((each) => each !== place);
            if (left.length) this.#words.set(word, left);
            else this.#words.delete(word);
        }
    }

    /** The messages that have a word that begins so, for each of `wanted`. */
    find(wanted: readonly string[]): { id: string; time: number }[] {
        let left: Set<number> | undefined;
        for (const prefix of wanted) {
            const places = new Set<number>();
            for (const [word, at] of this.#words) if (word.startsWith(prefix)) for (const place of at) if (left?.has(place) ?? true) places.add(place);
            left = places;
            if (left.size === 0) return [];
        }
        return [...(left ?? [])].map((place) => ({ id: this.#ids[place] ?? "", time: this.#times[place] ?? 0 }));
    }
}
