// Polls are shown by no part of this client, so the SDK counts no answers to them.
export const PollEvent = {}, isPollEvent = (): boolean => false;
export class Poll {}
