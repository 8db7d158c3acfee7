"""Bytes as text that HTML leaves alone, eight bytes for seven: base64 takes eight for six.

Seven bits are one ASCII character. Fifteen of those would be read or changed on the way, such as
``<``, a zero or a line's end; each of them takes the next seven bits with it into one character of
U+0080 … U+07FF, which is two bytes long in UTF-8 as well: 15 · 128 characters are just as many.
"""

from __future__ import annotations

import re

import numpy as np

SPECIAL = "\x00\x08\t\n\x0b\x0c\r\x1a\x1b\x7f<>&-]"
_PAIR = re.compile(f"([{re.escape(SPECIAL)}])(.)", re.DOTALL)


def to_text(data: bytes) -> str:
    """The text; zero bits fill up the last character, and the reader is told the length apart."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = np.concatenate([bits, np.zeros(-len(bits) % 7 + 7, np.uint8)])  # the last may be special
    plain = np.packbits(bits.reshape(-1, 7), axis=1)[:, 0] >> 1
    text = plain.tobytes().decode("ascii")
    found = _PAIR.sub(lambda m: chr(0x80 + 128 * SPECIAL.index(m[1]) + ord(m[2])), text)
    return found[:-1] if found[-1] in SPECIAL else found
