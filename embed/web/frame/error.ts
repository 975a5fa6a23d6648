// The page inside the frame when the chat cannot be shown: it says so, can be closed, and tries again. Of a site that is
// switched off, or that there is not, it says nothing: the page around it takes the launcher away.

import { given } from "./given.ts";
import { connect, tell, type Page } from "./port.ts";

const WORDS: Record<string, [text: string, again: string, close: string]> = {
    en: ["The chat cannot be reached just now.", "Try again", "Close the chat"],
    uk: ["Чат зараз недоступний.", "Спробувати ще раз", "Закрити чат"],
    de: ["Der Chat ist gerade nicht erreichbar.", "Noch einmal versuchen", "Chat schließen"],
    pl: ["Czat jest teraz niedostępny.", "Spróbuj ponownie", "Zamknij czat"],
    ar: ["لا يمكن الوصول إلى المحادثة الآن.", "حاول مرة أخرى", "إغلاق المحادثة"],
};

function button(name: string, text: string, act: () => void): HTMLButtonElement {
    const made = document.createElement("button");
    made.className = name;
    made.textContent = text;
    made.onclick = act;
    return made;
}

function box(name: string, ...inside: Node[]): HTMLElement {
    const made = document.createElement("div");
    made.className = name;
    made.append(...inside);
    return made;
}

function draw(locale: string): void {
    const name = locale.slice(0, 2).toLowerCase();
    const [text, again, close] = WORDS[name] ?? WORDS.en!;
    document.documentElement.lang = name in WORDS ? name : "en";
    document.documentElement.dir = name === "ar" ? "rtl" : "ltr";
    const shut = button("ib", "×", () => tell("close"));
    shut.ariaLabel = close;
    const says = document.createElement("p");
    says.setAttribute("role", "alert");
    says.textContent = text;
    const panel = box("panel", box("head", box("grow"), shut), box("empty", box("", says, button("btn", again, () => tell("retry")))));
    panel.setAttribute("role", "dialog");
    panel.ariaLabel = text;
    document.getElementById("chat")?.replaceChildren(panel);
}

if (given.off) parent.postMessage("hromada:off", "*");
else {
    draw(navigator.language);
    connect((name, value) => {
        if (name === "page") draw((value as Page).locale);
        else if (name === "locale") draw(String(value));
    });
    addEventListener("keydown", (event) => event.key === "Escape" && tell("close"));
}
