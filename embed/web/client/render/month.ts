// A month as a calendar shows it. Days of the week are numbered as by Intl: 1 is Monday, 7 Sunday.

const DAYS = 7;

/** The days of a month by weeks that begin on `first`; 0 stands where a week is of another month, too. */
export function weeks(year: number, month: number, first: number): number[][] {
    const length = new Date(year, month + 1, 0).getDate();
    const before = (new Date(year, month, 1).getDay() - first + 2 * DAYS) % DAYS;
    return Array.from({ length: Math.ceil((before + length) / DAYS) }, (_, week) =>
        Array.from({ length: DAYS }, (_, day) => {
            const date = week * DAYS + day - before + 1;
            return date >= 1 && date <= length ? date : 0;
        }),
    );
}

/** The days of the week in their order, from `first` on. */
export const weekdays = (first: number): number[] => Array.from({ length: DAYS }, (_, day) => ((first - 1 + day) % DAYS) + 1);

/** As inputs of dates have it. */
export const isoDay = (date: Date): string => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
