// What is said about e-mail addresses and lost passwords. It is loaded when there is something to say.

import type { Text } from "./t.ts";

export const mailEn = {
    "add": "Add an address",
    "add.submit": "Send a letter",
    "added": "The address was added.",
    "again": "Send it again",
    "again-done": "Another letter is on its way.",
    "back": "Back to sign-in",
    "email": "E-mail",
    "forgot.devices": "All your devices are signed out. Encrypted messages open again with your recovery key.",
    "forgot.sent": "If {email} belongs to an account here, a letter is on its way. Open its link, say yes there, and come back to this page.",
    "forgot.submit": "Send a letter",
    "forgot.text": "Tell us the e-mail address of your account on {server}.",
    "forgot.title": "Forgot your password?",
    "in-use": "This address belongs to an account already.",
    "many": "You have as many addresses as you may.",
    "new": "New password",
    "no-address": "This is no e-mail address that the server can write to.",
    "none": "This server keeps no e-mail addresses. Who forgets the password gets another one from its administrator.",
    "not-yet": "The link in the letter was not followed yet, or it is too old.",
    "other": "Another address",
    "remove-text": "It will not help any more when the password is lost.",
    "set": "Set the password",
    "wait": "Open the link in the letter, say yes there, and come back.",
    "wait.done": "I have said yes",
    "why": "To get back in when the password is lost, and to sign in with.",
} as const;

export type MailKey = keyof typeof mailEn;
export type MailTexts = Record<MailKey, Text>;
