"""What the page asks and what it is answered.

A question is a JSON object. One that brings a file is the length of its JSON as uint32, the JSON,
and the file. An answer is one or several frames:

    uint32 length of the JSON | JSON | the parts it lists, one after the other

each frame preceded by its own length as uint32; all numbers little-endian. Parts are pixels (uint8,
H × W × C), floats (float32 of a shape) or files (bytes of a media type).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gentool.errors import UserError, printable

MOST_BESIDE = 2**16
"""Bytes of JSON beside a file."""


@dataclass(frozen=True)
class File:
    """Bytes that the browser shows or saves as they are."""

    data: bytes
    type: str = "image/png"
    name: str = ""


@dataclass(frozen=True)
class Answer:
    """What a tab's function found.

    Attributes:
        facts: plain JSON; numbers that are not finite arrive as null.
        parts: uint8 (C, H, W) images, float32 arrays of any shape, or files.
        command: the line that makes the same on a terminal; "" where there is none.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[np.ndarray | File] = ()
    command: str = ""


def frame(answer: Answer) -> bytes:
    """An answer as one frame."""
    described, payload = [], []
    for part in answer.parts:
        facts, data = _part(part)
        described.append({**facts, "length": len(data)})
        payload.append(data)
    head = {"facts": finite(answer.facts), "command": answer.command, "parts": described}
    return _packed(head, payload)


def failure(message: str, kind: str = "error") -> bytes:
    """A sentence for the person instead of an answer."""
    return _packed({kind: message, "parts": []}, [])


def _packed(head: Mapping[str, Any], payload: Sequence[bytes]) -> bytes:
    text = json.dumps(head, allow_nan=False, ensure_ascii=True).encode()
    body = b"".join([struct.pack("<I", len(text)), text, *payload])
    return struct.pack("<I", len(body)) + body


def _part(part: np.ndarray | File) -> tuple[dict[str, Any], bytes]:
    if isinstance(part, File):
        return {"kind": "file", "type": part.type, "name": part.name}, part.data
    if part.dtype == np.uint8:
        rows = np.ascontiguousarray(part.transpose(1, 2, 0))
        return {"kind": "pixels", "shape": list(rows.shape)}, rows.tobytes()
    values = np.ascontiguousarray(part, dtype="<f4")
    return {"kind": "floats", "shape": list(values.shape)}, values.tobytes()


def finite(value: Any) -> Any:
    """The same with None for every number that JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


class Ask:
    """A question's fields, each read with its bounds; what is wrong is a UserError."""

    def __init__(self, fields: Mapping[str, Any], file: bytes = b"") -> None:
        self.fields, self.file = fields, file

    @classmethod
    def read(cls, body: bytes) -> Ask:
        """Parse a request's body; raises UserError for what is no JSON object."""
        try:
            fields = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise UserError("the question is no JSON that can be read") from None
        if not isinstance(fields, dict):
            raise UserError("the question is no JSON object")
        return cls(fields)

    @classmethod
    def with_file(cls, body: bytes) -> Ask:
        """The same of a question that brings a file."""
        (length,) = struct.unpack_from("<I", body) if len(body) >= 4 else (0,)
        if length > min(MOST_BESIDE, len(body) - 4):
            raise UserError("the question brings no file that can be read")
        return cls(cls.read(body[4 : 4 + length]).fields, body[4 + length :])

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        value = self.fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{name} is no number")
        if not low <= value <= high:  # NaN is refused here as well
            raise UserError(f"{name} is not between {low:g} and {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"{name} is no whole number")
        if not low <= value <= high:
            raise UserError(f"{name} is not between {low} and {high}")
        return value

    def text(self, name: str, default: str | None = None, most: int = 200) -> str:
        value = self.fields.get(name, default)
        if not isinstance(value, str) or len(value) > most:
            raise UserError(f"{name} is no text of at most {most} characters")
        return value

    def choice(self, name: str, known: Sequence[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in known:
            raise UserError(f"{name} {printable(value, 40)!r} is none of {', '.join(known)}")
        return value

    def each(self, name: str, most: int) -> list[Any]:
        value = self.fields.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise UserError(f"{name} is no list of at most {most} entries")
        return value

    def within(self, name: str) -> Ask:
        value = self.fields.get(name, {})
        if not isinstance(value, dict):
            raise UserError(f"{name} is no JSON object")
        return Ask(value)

    def __contains__(self, name: str) -> bool:
        return self.fields.get(name) is not None


def _no_constant(text: str) -> float:
    raise ValueError(text)
