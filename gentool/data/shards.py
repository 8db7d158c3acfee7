"""One data set in many files: a folder of them, a pattern such as ``shard-{000..099}.tar``."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from gentool.errors import UserError, printable

MAX_SHARDS = 100_000

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


def is_pattern(text: str) -> bool:
    """Whether a name stands for several files: ``a-{0..9}.tar``, ``a-*.tar``."""
    return bool(_RANGE.search(text)) or "*" in text


def shards(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files that `path` means: itself, those below a folder, or those of a pattern.

    Args:
        suffixes: what their names end in, in lower case, such as ".tar".

    Returns:
        in the order of their names; none where `path` is nothing of the kind.

    Raises:
        UserError: for a pattern of too many files, or where one of a range is missing.
    """
    if path.is_dir():
        found = (one for one in path.rglob("*") if not one.name.startswith("."))
        return sorted(one for one in found if _fits(one, suffixes) and one.is_file())
    if path.is_file():
        return [path] if _fits(path, suffixes) else []
    if not is_pattern(str(path)) or not _fits(path, suffixes):
        return []
    ranged = [Path(name) for name in _expanded(str(path))]
    if any("*" in one.name for one in ranged):
        return sorted(Path(name) for one in ranged for name in glob.glob(str(one)))  # noqa: PTH207
    if missing := [one for one in ranged if not one.is_file()]:
        raise UserError(
            f"{printable(str(path))} lacks {printable(missing[0].name)}: {len(missing):,} of "
            f"{len(ranged):,} files are not there"
        )
    return ranged


def _fits(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)


def _expanded(text: str) -> list[str]:
    match = _RANGE.search(text)
    if match is None:
        return [text]
    first, last = int(match[1]), int(match[2])
    if last - first >= MAX_SHARDS:
        raise UserError(f"{printable(text)} stands for more than {MAX_SHARDS:,} files")
    width = len(match[1]) if match[1].startswith("0") else 1
    found = [
        one
        for k in range(first, last + 1)
        for one in _expanded(f"{text[: match.start()]}{k:0{width}d}{text[match.end() :]}")
    ]
    if len(found) > MAX_SHARDS:
        raise UserError(f"{printable(text)} stands for more than {MAX_SHARDS:,} files")
    return found
