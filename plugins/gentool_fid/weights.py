"""The Inception network's weights: found, held to their hash, read, and kept as safetensors.

They are published as one file of ``torch.save``, a pickle. Nothing of it is read before its length
and SHA-256 are those of the file that everybody uses; then ``torch.load(weights_only=True)``, which
makes tensors and dictionaries and calls no code, reads the very bytes that were hashed. From then
on a safetensors copy in the cache is used.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.files import expanded, is_file
from gentool.metrics.kept import keep_tensors, kept_tensors
from gentool_fid.published import FILE, INCEPTION

PUBLISHED = FILE
"""What a file is held to."""

FOLDER = "inception"
"""In the cache: where the safetensors copy lies."""


def kept_copy(cache: Path) -> Path:
    """Where the safetensors copy lies; it is called as what it was made of."""
    return cache / FOLDER / f"{PUBLISHED.sha256}.safetensors"


def load(asked: str | None, cache: Path) -> dict[str, Tensor]:
    """The tensors of the weights.

    Args:
        asked: the file that the person named; else the safetensors copy is taken, or the
            published file where `gentool data fetch inception` or torch's hub left it.
        cache: the folder of what can be made again.

    Raises:
        UserError: where there is no file; for any other file than the published one, before
            anything of it is interpreted.
    """
    copy = kept_copy(cache)
    if asked is None and (kept := kept_tensors(copy)) is not None:
        return kept
    hub = Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED.name
    fetched = cache / "downloads" / INCEPTION.name / PUBLISHED.name
    places = [expanded(asked)] if asked else [fetched, hub]
    file = next((p for p in places if asked or is_file(p)), None)
    if file is None:
        raise UserError(
            f"the Inception network's weights ({PUBLISHED.name}, {PUBLISHED.size:,} bytes) are "
            "not here; name the file with --inception, or run: gentool data fetch inception"
        )
    tensors = _tensors(_checked(file), printable(str(file)))
    keep_tensors(tensors, copy)
    return tensors


def _checked(file: Path) -> bytes:
    """What is in the file, its length and hash being those published; raises UserError."""
    shown = printable(str(file))
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{shown} is no file; name {PUBLISHED.name} with --inception")
            content = handle.read(PUBLISHED.size) if status.st_size == PUBLISHED.size else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{shown} cannot be read: {reason}; see --inception") from error
    if len(content) != PUBLISHED.size:
        raise UserError(
            f"{shown} has {status.st_size:,} bytes, but the published Inception weights have "
            f"{PUBLISHED.size:,}; it was not read: get {PUBLISHED.name} again"
        )
    if (found := hashlib.sha256(content).hexdigest()) != PUBLISHED.sha256:
        raise UserError(
            f"{shown} has the SHA-256 {found[:16]}…, but the published Inception weights have "
            f"{PUBLISHED.sha256[:16]}…; it was not read: get {PUBLISHED.name} again"
        )
    return content


def _tensors(content: bytes, shown: str) -> dict[str, Tensor]:
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: the reader is torch's
        raise UserError(
            f"{shown} holds something else than weights, which was not executed; get "
            f"{PUBLISHED.name} again"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise UserError(f"{shown} holds no table of weights; get {PUBLISHED.name} again")
    return {str(name): tensor.clone() for name, tensor in found.items()}
