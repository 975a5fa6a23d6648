"""What sticks out of a page, at 320 pixels with the largest type."""

from __future__ import annotations

# What is beyond the page's edges, and what of it scrolls sideways. Left out is what is cut off with dots and what may
# be moved by itself: code, tables, the row of spaces.
WIDE = """() => {
    const said = (node) => `${node.localName}.${node.className} ${node.textContent.trim().slice(0, 30)}`;
    const cut = (node) => node && (getComputedStyle(node).textOverflow === "ellipsis" || cut(node.parentElement));
    const found = [];
    for (const node of document.querySelectorAll("body *:not(svg *)")) {
        if (!node.checkVisibility() || node.closest("pre, .tb-wrap, .spaces, .vh, .skip")) continue;
        const { left, right, width, height } = node.getBoundingClientRect();
        if (width < 1 || height < 1 || cut(node.parentElement)) continue;
        if (right > innerWidth + 1 || left < -1) found.push(`${said(node)}: ${left} to ${right}`);
        const scrolls = /auto|scroll/.test(getComputedStyle(node).overflowY);
        if (scrolls && node.scrollWidth > node.clientWidth + 1) found.push(`${said(node)}: ${node.scrollWidth} wide`);
    }
    return found;
}"""
