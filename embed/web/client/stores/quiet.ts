const FROM = 22 * 60, TO = 7 * 60 + 30;

/** Whether these are the hours of the night, 22:00 to 7:30, in which nothing sounds. */
export function quietAt(now: Date): boolean {
    const minutes = now.getHours() * 60 + now.getMinutes();
    return minutes >= FROM || minutes < TO;
}
