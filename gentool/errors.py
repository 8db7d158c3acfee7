"""The error a user can cause, and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One sentence: what is wrong, where, and what to do. The CLI prints it and exits with 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence's helpful end, ``; did you mean 'vae'?``, or nothing when no name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def printable(text: str, limit: int = 200) -> str:
    """`text` made safe for a terminal: control and escape characters shown, not sent."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
