"""Writing samples while they are drawn: memory does not grow with their number.

Whatever happens on the way, a file is there whole or not at all.
"""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from gentool.data.attributes import in_units
from gentool.errors import UserError, printable
from gentool.files import user_errors, write_text, written_aside
from gentool.render.grid import Sheet, to_image, to_pixels
from gentool.spec import Attribute

Form = Literal["arrays", "folder", "grid", "plot"]

LARGEST_SHEET = 2**28
"""Values (pixels times channels) of the largest picture that is made."""

LABELS = "labels.csv"


def form_of(out: str, images: bool) -> Form:
    """What `out` asks for by its ending; a folder ends in / or has no ending. Raises UserError."""
    path = Path(out)
    ending = path.suffix.lower()
    if images and (out.endswith(("/", os.sep)) or path.is_dir() or not ending):
        return "folder"
    if ending == ".npz":
        return "arrays"
    if ending == ".png":
        return "grid" if images else "plot"
    kinds = "grid.png, a folder/ or samples.npz" if images else "plot.png or samples.npz"
    raise UserError(f"--out {printable(out, 80)} is none of {kinds}")


def write_arrays(
    out: Path,
    chunks: Iterable[np.ndarray],
    n: int,
    shape: Sequence[int],
    beside: Mapping[str, np.ndarray],
) -> None:
    """An .npz with ``x``, uint8 images (n, C, H, W) or float32 points (n, D).

    Args:
        chunks: float32 examples, n in all, in order.
        shape: of one example.
        beside: further arrays by name.
    """
    images = len(shape) == 3
    kind = np.dtype(np.uint8 if images else np.float32)
    facts = {"descr": kind.str, "fortran_order": False, "shape": (n, *shape)}
    with (
        user_errors("samples", out),
        written_aside(out) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive,
    ):
        with archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, facts)
            for x in chunks:
                file.write(np.ascontiguousarray(to_pixels(x) if images else x).tobytes())
        for name, array in beside.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def write_folder(
    out: Path,
    chunks: Iterable[np.ndarray],
    labels: np.ndarray | Sequence[int] | None = None,
    classes: Sequence[str] = (),
    condition: Sequence[Attribute] = (),
) -> None:
    """A PNG an image; what the model was told stands in `labels.csv`, which `--data` reads again.

    Also the list is right where drawing is interrupted: it holds the images that are there.

    Args:
        labels: int64 (n,), which are in the names of the files too; or attributes (n, K).
        classes: names of the labels.
        condition: what the attributes are.
    """
    header: list[str] = ["file", "label", "class"]
    if condition:
        header = ["file", *(one.name for one in condition)]
    rows: list[list[Any]] = []
    with user_errors("samples", out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            for i, image in enumerate(x for chunk in chunks for x in to_pixels(chunk)):
                name = f"{i:06d}.png"
                if labels is not None and condition:
                    values = in_units(np.asarray(labels[i]), condition)
                    rows.append([name, *(f"{value:g}" for value in values)])
                elif labels is not None:
                    label = int(labels[i])
                    called = classes[label] if label < len(classes) else str(label)
                    name = f"{i:06d}-{_file_part(called)}.png"
                    rows.append([name, label, called])
                # A million files that each wait for the disk would take hours.
                with written_aside(out / name, sync=False) as aside:
                    to_image(image).save(aside, format="PNG")
        finally:
            if rows:
                write_text(out / LABELS, _table([header, *rows]))


def _file_part(name: str) -> str:
    """A class's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:40] or "class"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_grid(
    out: Path,
    chunks: Iterable[np.ndarray],
    n: int,
    shape: Sequence[int],
    columns: int | None = None,
    cells: Sequence[int] | None = None,
) -> None:
    """One PNG of all images.

    Args:
        columns: images a row; near-square by default.
        cells: the place of each image, counted row by row; by default one after the other.
    """
    sheet = _sheet(n, shape, columns, cells)
    with user_errors("samples", out), written_aside(out) as aside:
        _fill(sheet, chunks, cells).save(aside, format="PNG", optimize=False)


def grid_png(
    x: np.ndarray, columns: int | None = None, cells: Sequence[int] | None = None
) -> bytes:
    """The file that `write_grid` makes of float images (N, C, H, W)."""
    file = io.BytesIO()
    sheet = _sheet(len(x), x.shape[1:], columns, cells)
    _fill(sheet, [x], cells).save(file, format="PNG", optimize=False)
    return file.getvalue()


def _sheet(n: int, shape: Sequence[int], columns: int | None, cells: Sequence[int] | None) -> Sheet:
    sheet = Sheet.of(n if cells is None else max(cells) + 1, shape, columns)
    if sheet.values > LARGEST_SHEET:
        raise UserError(
            f"{n:,} samples are too many for one picture; give --out a folder/ or samples.npz"
        )
    return sheet


def _fill(sheet: Sheet, chunks: Iterable[np.ndarray], cells: Sequence[int] | None) -> Image.Image:
    at = 0
    for chunk in chunks:
        for image in to_pixels(chunk):
            sheet.place(at if cells is None else cells[at], image)
            at += 1
    return sheet.image()


def write_plot(out: Path, chunks: Iterable[np.ndarray], real: np.ndarray | None = None) -> None:
    """A scatter plot of points; only the coordinates that it shows are kept.

    Args:
        real: points of the data to draw behind, (M, D).
    """
    from gentool.render.scatter import save_scatter

    with user_errors("samples", out):
        save_scatter(np.concatenate([np.array(x[:, :2]) for x in chunks]), out, real=real)
