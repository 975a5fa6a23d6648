"""Markup that wants to run, to look like something else, or to fetch from elsewhere: known tricks, and made ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

KNOWN = (
    "<script>globalThis.pwned=1</script>x",
    "<img src=x onerror='globalThis.pwned=1'>",
    "<a href='javascript:globalThis.pwned=1'>x</a><a href=' java\tscript:alert(1)'>y</a><a href='https://ok.example'>z</a>",
    "<svg><animate onbegin=globalThis.pwned=1 attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=globalThis.pwned=1></style></mglyph></table></mtext></math>",
    "<p style='position:fixed;inset:0' onclick='globalThis.pwned=1'>x</p>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<form action=/x><button formaction=javascript:globalThis.pwned=1>x</button></form>",
    "<mx-reply><b>quoted</b></mx-reply>" + "<b>" * 500 + "deep",
    "<template><script>globalThis.pwned=1</script></template>",
    "<noscript><img src=x onerror=globalThis.pwned=1></noscript>",
)
_RUN = "globalThis.pwned=1"
_AWAY = "https://evil.example/x"
_TAGS = (
    "a b i u s em strong del strike code pre p div span font ul ol li blockquote table thead tbody tr td th caption "
    "h1 h6 img video audio source track picture iframe frame frameset object embed applet script style link meta base "
    "form input button select option textarea svg math animate set use foreignObject mtext mglyph annotation-xml desc "
    "title template noscript noembed noframes plaintext xmp marquee details summary dialog portal slot mx-reply body "
    "html head isindex keygen x-thing image a:b"
).split()  # fmt: skip
_EVENTS = "onerror onload onclick onmouseover onfocus onbegin ontoggle onanimationstart ONERROR".split()
_ADDRESSES = (
    f"javascript:{_RUN}", f" \tjava\nscript:{_RUN}", f"JaVaScRiPt:{_RUN}", f"&#106;avascript&colon;{_RUN}",
    f"javascript&NewLine;:{_RUN}", f"data:text/html,<script>{_RUN}</script>",
    f"vbscript:{_RUN}", f"\x01javascript:{_RUN}",
    _AWAY, "//evil.example/x", "http://evil.example/x.png", "blob:https://evil.example/1", "mxc://evil.example/abc",
    "mxc://../../x", "https://ok.example/", "#x", "matrix:u/x:y", "https://matrix.to/#/@x:y", "filesystem:http://x/",
)  # fmt: skip
_SINKS = "href src srcset srcdoc action formaction xlink:href data poster background content ping".split()
_PLAIN = ("id=log", "class=main", "class=language-js", "name=getElementById", "data-mx-spoiler", "start=1e9",
          "is=x-thing", "contenteditable", "autofocus", "tabindex=1", "popover", "dir=rtl", "target=_self")  # fmt: skip
_TEXT = (
    "words", "&lt;img src=x onerror=globalThis.pwned=1&gt;", "<!--", "-->", "--!>", "<![CDATA[", "]]>", "<?xml", "</",
    "<", "\u202e", "&#0;", "\ufffd", "https://evil.example/y", "`", "'\">", f"<script>{_RUN}</script>", "</title>",
    "</style>", f"<img src=x onerror={_RUN}>", "{{constructor}}", "javascript:alert(1)",
)  # fmt: skip


def documents(seed: int, count: int, fragments: int = 25) -> Iterator[str]:
    """`count` documents, each of some fragments that are open to each other: what one leaves open swallows the next."""
    dice = random.Random(seed)
    for _ in range(count):
        yield "".join(_fragment(dice, 0) for _ in range(fragments))[:40_000]


def _attributes(dice: random.Random) -> str:
    quote = dice.choice(("'", '"', "", "`"))
    kinds: tuple[Callable[[], str], ...] = (
        lambda: f"{dice.choice(_EVENTS)}={quote}{_RUN}{quote}",
        lambda: f"{dice.choice(_SINKS)}={quote}{dice.choice(_ADDRESSES)}{quote}",
        lambda: f"style={quote}position:fixed;inset:0;background:url({_AWAY}){quote}",
        lambda: dice.choice(_PLAIN),
    )
    between = dice.choice((" ", "/", "\n", "\t"))
    return between.join(dice.choice(kinds)() for _ in range(dice.randint(0, 3)))


def _fragment(dice: random.Random, depth: int) -> str:
    if depth > 5 or dice.random() < 0.25:
        return dice.choice(_TEXT)
    tag = dice.choice(_TAGS)
    inner = "".join(_fragment(dice, depth + 1) for _ in range(dice.randint(0, 3)))
    end = f"</{tag}>" if dice.random() < 0.7 else dice.choice(("", "/>", f"</{dice.choice(_TAGS)}>"))
    return f"<{tag} {_attributes(dice)}>{inner}{end}"
