// No language: English with accents, two fifths longer. Who asks for `xx` in localStorage sees what is cut off, and what
// is not translated, for that has no accents.

const FROM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const TO = "ȧƀćđéƒğĥíĵķľɱñóþɋŕšťúṽŵẋýžÀƁĆĐÉƑĞĤÍĴĶĽṀÑÓÞɊŔŠŤÚṼŴẊÝŽ";
const MORE = 0.4;
/** As long as words are. */
const WORD = 7;

const accented = (text: string): string => [...text].map((sign) => TO[FROM.indexOf(sign)] ?? sign).join("");

/** The same sentence in this language. Slots stay. */
export function dressed(text: string): string {
    const said = text.split(/(\{\w+\})/).map((part, at) => (at % 2 ? part : accented(part))).join("");
    let tail = "~".repeat(Math.ceil(text.replace(/\{\w+\}/g, "").length * MORE));
    if (text.includes(" ")) tail = tail.replace(new RegExp(`~{1,${WORD}}`, "g"), " $&");
    return said + tail;
}
