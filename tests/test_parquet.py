"""Parquet as Hugging Face writes it; pyarrow makes the files, and is no part of gentool's core."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import awkward, make_folder
from PIL import Image

from gentool.data import DataOptions, load
from gentool.errors import UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def png(k: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (k, 255 - k, 3)).save(file, "PNG")
    return file.getvalue()


def table(rows: range, names: list[str] | None = None):  # type: ignore[no-untyped-def]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    found = pa.table(
        {
            "image": pa.array([{"bytes": png(k), "path": f"{k:06d}.png"} for k in rows], kind),
            "label": pa.array([k % 3 for k in rows]),
            "smile": pa.array([k % 2 == 1 for k in rows]),
            "age": pa.array([20.0 + k for k in rows]),
            "caption": pa.array([f"picture {k}" for k in rows]),
        }
    )
    if names is None:
        return found
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return found.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def test_splits_labels_and_attributes(tmp_path: Path) -> None:
    place = tmp_path / "set" / "data"
    place.mkdir(parents=True)
    names = ["ape", "bee", "cow"]
    pq.write_table(table(range(20), names), place / "train-00000-of-00002.parquet", 7)
    pq.write_table(table(range(20, 30), names), place / "train-00001-of-00002.parquet")
    pq.write_table(table(range(30, 40), names), place / "test-00000-of-00001.parquet")
    data = load(DataOptions(data=str(tmp_path / "set")))
    assert (len(data.train), len(data.test)) == (30, 10) and data.spec.classes == tuple(names)
    smile, age = data.spec.attributes
    assert (smile.kind, age.kind) == ("binary", "continuous")
    for split in (data.train, data.test):
        k = split.x[:, 0, 0, 0].astype(int)
        assert split.labels is not None and split.attributes is not None
        assert np.array_equal(split.labels, k % 3)
        assert np.array_equal(split.attributes[:, 0], k % 2)
        np.testing.assert_allclose(split.attributes[:, 1] * age.scale + age.mean, 20 + k, rtol=1e-5)
    assert any("'caption' holds text" in note for note in data.report.notes)
    left = [one.name for one in (tmp_path / "cache" / "decoded").iterdir() if one.is_dir()]
    assert len(left) == 1  # the bytes that lay there meanwhile are gone
    assert load(DataOptions(data=str(tmp_path / "set"))).fingerprint == data.fingerprint


def test_plain_binary_and_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [png(k) for k in range(8)] + [None, b"no image"]
    pq.write_table(pa.table({"x": pa.array(rows, pa.binary())}), path)
    with pytest.raises(UserError, match="2 of 10 images cannot be used"):
        load(DataOptions(data=str(path)))
    data = load(DataOptions(data=str(path), on_bad_file="skip", holdout=0))
    assert sorted(data.train.x[:, 0, 0, 0]) == list(range(8))
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="no column of image bytes; its columns are n"):
        load(DataOptions(data=str(tmp_path / "b.parquet")))


@pytest.mark.slow
def test_mutated_files_load_or_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(range(12)), path, 5)
    good, rng = path.read_bytes(), random.Random(3)
    for _ in range(25):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.choice((rng.randrange(len(data)), max(0, len(data) - rng.randint(1, 900))))
            data[at : at + rng.choice((0, 1, 9))] = rng.randbytes(rng.choice((0, 1, 12)))
        path.write_bytes(data)
        try:
            load(DataOptions(data=str(path), on_bad_file="skip"))
        except UserError as error:
            assert "\n" not in str(error)


def test_a_reader_that_dies_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow ends its process at some damaged files: an exception that nobody catches."""
    pq.write_table(table(range(6)), tmp_path / "a.parquet")
    dies = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr("gentool.subprocesses.python", lambda *arguments: dies)
    with pytest.raises(UserError, match="damaged: reading it ends the reader"):
        load(DataOptions(data=str(tmp_path / "a.parquet")))


def test_awkward_images_meet_the_same_care_as_in_a_folder(tmp_path: Path) -> None:
    files = awkward()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": data, "path": name} for name, data in files.items()]
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "a.parquet")
    asked = {"size": "6", "on_bad_file": "skip", "holdout": 0.0}
    ours = load(DataOptions(data=str(tmp_path / "a.parquet"), **asked))
    theirs = load(DataOptions(data=make_folder(tmp_path / "folder", files), **asked))
    assert np.array_equal(ours.train.x, theirs.train.x)
    assert ours.report == theirs.report and ours.report.broken_count == 2
