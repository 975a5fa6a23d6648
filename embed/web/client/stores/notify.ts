// Notifications, sound and what the screen reader is told of.

export function watchForNotices(): void {}
