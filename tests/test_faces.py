"""`faces`, and attributes on their way from a source to a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gentool import data
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.spec import Attribute, DataSpec

NAMES = ("smile", "male", "glasses", "beard", "hat", "open_mouth", "blond")


def load(tmp_path: Path, source: str, **options: object) -> data.Dataset:
    return data.load(DataOptions(data=source, cache=str(tmp_path / "cache"), **options))  # type: ignore[arg-type]


def test_a_face_depends_on_its_split_and_index_alone(tmp_path: Path) -> None:
    few, many = load(tmp_path, "faces:20"), load(tmp_path, "faces:50")
    assert few.train.x.shape == (20, 3, 64, 64) and few.train.x.dtype == np.uint8
    assert np.array_equal(few.train.x, many.train.x[:20])
    assert few.train.attributes is not None and many.train.attributes is not None
    assert np.array_equal(few.train.attributes, many.train.attributes[:20])
    assert not np.array_equal(many.train.x[:5], many.test.x)
    again = load(tmp_path, "faces:50")  # from the cache
    assert isinstance(again.train.x, np.memmap) and again.fingerprint == many.fingerprint
    assert again.train.attributes is not None
    assert np.array_equal(again.train.attributes, many.train.attributes)
    assert [one.name for one in again.spec.attributes] == list(NAMES)


@pytest.mark.slow
def test_attributes_are_drawn_as_the_docs_say(tmp_path: Path) -> None:
    """Shares within four standard errors, independent but for beards."""
    values = load(tmp_path, "faces:2000").train.attributes
    assert values is not None and set(np.unique(values)) == {0.0, 1.0}
    male = values[:, NAMES.index("male")]
    beard = values[:, NAMES.index("beard")]
    expected = {"smile": 0.5, "male": 0.5, "glasses": 0.35, "hat": 0.3}
    for name, share in expected.items():
        error = 4 * (share * (1 - share) / len(values)) ** 0.5
        assert abs(values[:, NAMES.index(name)].mean() - share) < error, name
    assert abs(beard[male == 1].mean() - 0.5) < 0.07 and beard[male == 0].mean() < 0.1
    others = [k for k, name in enumerate(NAMES) if name != "beard"]
    correlation = np.corrcoef(values[:, others].T) - np.eye(len(others))
    assert np.abs(correlation).max() < 4 / len(values) ** 0.5


def test_what_an_attribute_changes_is_where_it_should_be() -> None:
    """One face with and without: hats above, beards below, and nothing else moves."""
    from dataclasses import replace

    from gentool.data.sources.faces import face_of
    from gentool.data.sources.portrait import draw

    rng = np.random.default_rng(0)
    rows = {"hat": slice(0, 34), "glasses": slice(16, 44), "smile": slice(28, 64)}
    for _ in range(20):
        face = replace(face_of(rng.random(64).tolist()), hat=False, glasses=False, smile=False)
        plain = draw(face).astype(int)
        for name, where in rows.items():
            changed = np.abs(draw(replace(face, **{name: True})) - plain).sum((0, 2))
            assert changed[where].sum() == changed.sum() > 1000, name


def test_size_and_channels_keep_the_attributes(tmp_path: Path) -> None:
    small = load(tmp_path, "faces:30", size="32", channels="grey")
    whole = load(tmp_path, "faces:30")
    assert small.train.x.shape == (30, 1, 32, 32)
    assert small.spec.attributes == whole.spec.attributes
    assert small.train.attributes is not None and whole.train.attributes is not None
    assert np.array_equal(small.train.attributes, whole.train.attributes)
    assert small.fingerprint != whole.fingerprint


def test_a_limit_and_a_batch_hold_the_rows_together(tmp_path: Path) -> None:
    from gentool.train.batches import BatchLoader
    from gentool.train.player import slice_batch

    found = load(tmp_path, "faces:40", limit=30)
    feed = BatchLoader(found.train, 8, torch.device("cpu"), flip=True)
    batch = feed.at(1).batch
    assert batch.attributes is not None and batch.attributes.shape == (8, 7)
    rows = feed.order.rows(1)
    assert np.array_equal(batch.attributes.numpy(), found.train.attributes[rows.numpy()])  # type: ignore[index]
    part = slice_batch(batch, 2, 5)
    assert part.attributes is not None and torch.equal(part.attributes, batch.attributes[2:5])


def test_a_spec_without_attributes_is_written_as_ever() -> None:
    plain = DataSpec("image", (1, 8, 8), ("a",))
    assert plain.to_json() == {"kind": "image", "shape": [1, 8, 8], "classes": ["a"]}
    known = (Attribute("smile"), Attribute("age", "continuous", 41.5, 12.0))
    rich = DataSpec("image", (1, 8, 8), attributes=known)
    assert DataSpec.from_json(json.loads(json.dumps(rich.to_json()))) == rich


@pytest.mark.parametrize(
    "bad",
    [
        "smile",
        ["smile"],
        [{"name": 3}],
        [{"name": "a", "kind": "odd"}],
        [{"name": "a", "kind": "continuous", "scale": 0.0}],
        [{"name": "a", "kind": "continuous", "mean": float("nan")}],
        [{"name": "a", "colour": 1}],
    ],
)
def test_a_damaged_spec_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="attribute"):
        DataSpec.from_json({"kind": "points", "shape": [2], "attributes": bad})


def save(path: Path, n: int = 40, **arrays: np.ndarray) -> str:
    x = np.random.default_rng(0).integers(0, 256, (n, 8, 8), np.uint8)
    np.savez(path, **{"x": x, **arrays})  # type: ignore[arg-type]
    return str(path)


def test_npz_attributes(tmp_path: Path) -> None:
    """Row i's attributes stay with row i through the shuffle and the holdout; ages come out
    standardised, and their own units can be had back."""
    n = 40
    x = np.repeat(np.arange(n, dtype=np.uint8), 64).reshape(n, 8, 8)
    table = np.stack([np.arange(n) % 2, 3.0 * np.arange(n) + 5], 1)
    np.savez(tmp_path / "a.npz", x=x, attributes=table, attribute_names=np.array(["odd", "age"]))
    found = load(tmp_path, str(tmp_path / "a.npz"))
    odd, age = found.spec.attributes
    assert odd == Attribute("odd") and (age.name, age.kind) == ("age", "continuous")
    for split in (found.train, found.test):
        number = split.x[:, 0, 0, 0].astype(int)
        assert split.attributes is not None and split.attributes.dtype == np.float32
        assert np.array_equal(split.attributes[:, 0], number % 2)
        np.testing.assert_allclose(
            split.attributes[:, 1] * age.scale + age.mean, 3.0 * number + 5, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"attributes": np.zeros((39, 2))}, "a row for each example"),
        ({"attributes": np.full((40, 2), np.nan)}, "example 0 are not finite"),
        ({"attributes": np.array(["a"] * 40)}, "attributes are numbers"),
        ({"attributes": np.zeros((40, 2)), "attribute_names": np.array(["a"])}, "the 2 names"),
        ({"attributes": np.zeros((40, 2)), "attribute_names": np.array(["a", "a"])}, "twice"),
    ],
)
def test_bad_npz_attributes(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, save(tmp_path / "a.npz", **arrays))


def test_test_data_has_its_attributes_in_trainings_order(tmp_path: Path) -> None:
    table = np.stack([np.zeros(40), np.ones(40)], 1)
    ours = save(tmp_path / "a.npz", attributes=table, attribute_names=np.array(["no", "yes"]))
    theirs = save(
        tmp_path / "b.npz", attributes=table[:, ::-1], attribute_names=np.array(["yes", "no"])
    )
    found = load(tmp_path, ours, test_data=theirs)
    assert found.test.attributes is not None
    assert np.array_equal(found.test.attributes[0], [0.0, 1.0])
    plain = load(tmp_path, ours, test_data=save(tmp_path / "c.npz"))
    assert plain.test.attributes is None


def test_inspect_shows_shares_and_a_row_for_each(cli: Any, tmp_path: Path) -> None:
    result = cli("data", "inspect", "faces:200", "--json", "--out", tmp_path / "p.png")
    facts = json.loads(result.out)
    assert list(facts["attributes"]) == list(NAMES)
    assert 0.3 < facts["attributes"]["smile"]["mean"] < 0.7
    assert (tmp_path / "p.png").exists()
    shown = cli("data", "inspect", "faces:200").out
    assert "7: smile 5" in shown
