"""The error a user can cause, and mend."""

from __future__ import annotations

import difflib
import errno
import os
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


def described(error: BaseException, limit: int = 300) -> str:
    """The type and text of an error, also of one whose text cannot be had; safe to print."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be printed)"
    return printable(f"{type(error).__name__}: {text}", limit)


def check_whole(flag: str, value: int | None, least: int, most: int = 2**63 - 1) -> None:
    """Refuse a number outside its bounds, where one was given; raises UserError."""
    if value is not None and not least <= value <= most:
        number = str(value) if abs(value) < 10**20 else "a number of more than 20 digits"
        raise UserError(f"{flag} is {number}, but it must be at least {least} and at most {most}")


ADVICE = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "your quota there is used up; free some space, or choose another place",
    errno.EFBIG: "files there may not be so large; choose another place",
    errno.EACCES: "you may not do that there; change its permissions, or choose another place",
    errno.EPERM: "you may not do that there; change its permissions, or choose another place",
    errno.EROFS: "nothing can be written there; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the name",
    errno.ENOMEM: "there is too little memory; end other programs, or ask for less at a time",
    errno.EMFILE: "too many files are open; allow more with `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.EIO: "the disk, or the network to it, fails",
    errno.ESTALE: "the network file system lost it; try again",
}
"""What to do about an error of the operating system, by its number."""


def os_sentence(error: OSError) -> str:
    """An operating system's refusal as a sentence: what it is about, why, and what to do."""
    names = [n for n in (error.filename, error.filename2) if n is not None and type(n) is not int]
    what = " and ".join(printable(os.fsdecode(n), 200) for n in names)
    reason = printable(error.strerror or str(error) or type(error).__name__, 200)
    advice = ADVICE.get(error.errno or 0, "")
    return f"{what}{': ' if what else ''}{reason}{'; ' if advice else ''}{advice}"
