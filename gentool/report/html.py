"""Pieces of HTML. Whatever a run holds is text here: escaped, its control characters shown."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from gentool.errors import printable

LONGEST_CELL = 300


def text(value: object, limit: int = LONGEST_CELL) -> str:
    """Any value as text of a page, of at most `limit` letters."""
    return html.escape(printable(str(value), limit), quote=True)


def table(headers: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell that begins with a digit, a sign or ``±`` lines its digits up."""
    head = "".join(f"<th>{text(h)}</th>" for h in headers)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: object) -> str:
    shown = text(value)
    kind = ' class="number"' if shown[:1] in "0123456789-–+" else ""
    return f"<td{kind}>{shown}</td>"


def picture(content: bytes, caption: str, *, pixels: bool = False) -> str:
    """An image inside the page; nothing where the bytes are neither PNG nor GIF.

    Args:
        pixels: enlarge without blur, as for small samples.
    """
    kind = {b"\x89PNG\r\n\x1a\n": "png", b"GIF87a": "gif", b"GIF89a": "gif"}
    found = next((k for magic, k in kind.items() if content.startswith(magic)), None)
    if found is None:
        return ""
    encoded = base64.b64encode(content).decode()
    style = ' class="pixels"' if pixels else ""
    image = f'<img{style} alt="{text(caption)}" src="data:image/{found};base64,{encoded}">'
    return f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>"


def page(title: str, style: str, body: str) -> str:
    """The whole page. Its policy lets a browser load nothing, and run no script."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title>"
        f"<style>{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
