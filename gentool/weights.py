"""Weights on disk: safetensors with one canonical JSON entry in the header. Never pickle.

The header's metadata has the single key ``gentool``: safetensors writes several keys in random
order, and equal runs must give equal bytes. The JSON holds ``format_version``, ``model``,
``plugin`` (distribution and version), ``config`` and ``data``; no time, host or path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gentool.errors import UserError, printable
from gentool.files import canonical_json, written_aside
from gentool.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
KEY = "gentool"
LARGEST_HEADER = 16 * 2**20


@dataclass(frozen=True)
class Header:
    """What a model file says of itself.

    Attributes:
        model: the name of the plugin's model.
        distribution, version: of the plugin that wrote it.
        config: the model's config, as plain JSON.
        data: the shape of one example.
        shapes: of each tensor, by name.
    """

    model: str
    distribution: str
    version: str
    config: dict[str, Any]
    data: DataSpec
    shapes: dict[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "model": self.model,
            "plugin": {"distribution": self.distribution, "version": self.version},
            "config": self.config,
            "data": self.data.to_json(),
        }


def save_model(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write a model file atomically; equal tensors and headers give equal bytes."""
    with written_aside(path) as aside:
        aside.write_bytes(model_bytes(tensors, header))


def model_bytes(tensors: Mapping[str, Tensor], header: Header) -> bytes:
    """A model file's content; equal tensors and headers give equal bytes."""
    return tensor_bytes(tensors, {KEY: canonical_json(header.to_json())})


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors atomically; they must not share memory with each other."""
    with written_aside(path) as aside:
        aside.write_bytes(tensor_bytes(tensors, metadata))


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file's content; the tensors must not share memory with each other."""
    from safetensors.torch import save

    return bytes(save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata))


def read_header(path: Path) -> Header:
    """Read and check a model file's header, nothing else; raises UserError. No torch."""
    shown = printable(str(path))
    raw = _raw_header(path, shown)
    metadata = raw.pop("__metadata__", None)
    if not isinstance(metadata, dict) or KEY not in metadata:
        raise UserError(
            f"{shown} is a safetensors file, but not one that gentool wrote "
            "(its header has no 'gentool' entry)"
        )
    try:
        ours = json.loads(metadata[KEY])
        if type(ours["format_version"]) is not int:
            raise ValueError("format_version is not a number")
        if ours["format_version"] > FORMAT_VERSION:
            raise UserError(
                f"{shown} has format version {ours['format_version']}, newer than this gentool "
                f"reads ({FORMAT_VERSION}); upgrade gentool"
            )
        model, plugin, config = ours["model"], ours["plugin"], ours["config"]
        strings = (model, plugin["distribution"], plugin["version"])
        if not all(isinstance(s, str) for s in strings) or not isinstance(config, dict):
            raise ValueError("its entries have the wrong types")
        shapes = {name: _shape(entry["shape"]) for name, entry in raw.items()}
        longest = max((len(v) for v in config.values() if isinstance(v, list)), default=0)
        if longest > len(shapes):
            raise ValueError(f"its config names {longest} layers for {len(shapes)} weights")
        data = DataSpec.from_json(ours["data"])
        return Header(model, plugin["distribution"], plugin["version"], config, data, shapes)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = printable(str(error), 120)
        raise UserError(f"the gentool entry of {shown} is damaged ({reason})") from error


def _shape(value: Any) -> tuple[int, ...]:
    """A tensor's shape as it should be; raises ValueError."""
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
        raise ValueError("the shape of a weight is no list of sizes")
    return tuple(value)


def _raw_header(path: Path, shown: str) -> dict[str, Any]:
    """The JSON header of a safetensors file, its size checked before anything is read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > min(size - 8, LARGEST_HEADER):
                raise UserError(
                    f"{shown} is truncated or no safetensors file: "
                    f"its header claims {length} bytes, the file has {size}"
                )
            raw = json.loads(handle.read(length))
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown} is no safetensors file: its header is not JSON") from error
    if not isinstance(raw, dict):
        raise UserError(f"{shown} is no safetensors file: its header is not a JSON object")
    return raw


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, as fresh aligned copies; raises UserError."""
    return _read_tensors(path, path)


def read_open_tensors(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    """The same of an open file; `path` is for messages."""
    descriptor = Path(f"/dev/fd/{file.fileno()}")  # mapped, where there is such a name for it
    if descriptor.exists():
        return _read_tensors(descriptor, path)
    return _read_tensors(file.read(), path)


def _read_tensors(source: Path | bytes, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    shown = printable(str(path))
    try:
        if isinstance(source, bytes):
            return load(source)
        with _utf8(source) as name, safe_open(name, framework="pt") as handle:
            # Views into the mapped file may be unaligned, and the file may be replaced meanwhile.
            return {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
    except SafetensorError as error:
        reason = printable(str(error), 120)
        raise UserError(
            f"{shown} is damaged ({reason}); use another copy or an earlier checkpoint"
        ) from error
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error


@contextmanager
def _utf8(path: Path) -> Iterator[str]:
    """A name of the file for safetensors, which takes none that is no UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str
) -> None:
    """Hold tensors of a file to those of a model: names, shapes, types, and finite numbers.

    Nothing may be done with tensors of a file before; raises UserError.

    Args:
        expected: may be on the meta device.
        where: what holds the tensors, for the message.
    """
    import torch

    wrong = next(iter(sorted(tensors.keys() ^ expected.keys())), None)
    if wrong is not None:
        how = "holds" if wrong in tensors else "lacks"
        raise UserError(f"{where} {how} {printable(wrong)!r}, which does not fit its config")
    for name, reference in expected.items():
        tensor, shown = tensors[name], printable(name)
        if tensor.shape != reference.shape:
            raise UserError(
                f"the weight {shown!r} in {where} is {tuple(tensor.shape)}, "
                f"the model's is {tuple(reference.shape)}"
            )
        if tensor.dtype != reference.dtype:
            raise UserError(
                f"the weight {shown!r} in {where} is {tensor.dtype}, "
                f"the model's is {reference.dtype}"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"the weight {shown!r} in {where} holds NaN or infinity; "
                "training diverged, so use an earlier checkpoint"
            )
