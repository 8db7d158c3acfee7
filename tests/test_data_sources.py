"""Built-in sources, options, the table, and what `load` does with splits."""

import math
import re
import subprocess
import sys
from pkgutil import resolve_name

import numpy as np
import pytest

from gentool.data import DataOptions, load, registry
from gentool.data.loading import short_name
from gentool.data.order import fixed_order, held_out
from gentool.data.registry import sources
from gentool.data.sources.glyphs import draw
from gentool.data.sources.points import modes, sample
from gentool.errors import UserError
from gentool.spec import SourceInfo


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def refused(**options) -> str:
    with pytest.raises(UserError) as caught:
        load(DataOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_listing_and_help_import_neither_numpy_nor_torch():
    code = (
        "import sys, gentool.data.registry, gentool.cli.data; gentool.data.registry.sources();"
        "sys.exit(bool({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def test_loading_imports_no_torch():
    code = (
        "import sys; from gentool.data import *; load(DataOptions(data='glyphs:50'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def test_every_loader_in_the_table_exists():
    for source in sources():
        assert callable(resolve_name(source.loader))
        assert (source.kind == "path") == bool(source.accepts)
        if source.accepts:
            assert callable(resolve_name(source.accepts))


def test_glyphs_are_digits_that_differ_and_are_centred():
    data = load(DataOptions(data="glyphs:3000"))
    x, labels = data.train.x, data.train.labels
    assert x.shape == (3000, 1, 28, 28) and x.dtype == np.uint8 and x.flags.c_contiguous
    assert len(data.test) == 300 and data.spec.classes == tuple("0123456789")
    counts = np.bincount(labels, minlength=10)
    assert counts.min() > 230 and counts.max() < 370  # 300 ± 4 sigma
    assert len(np.unique(x.reshape(3000, -1), axis=0)) > 2950
    assert x[:, :, [0, -1]].max() == 0 and x[..., [0, -1]].max() == 0  # nothing is cut off
    ink = x.astype(float) / 255
    assert 0.05 < ink.mean() < 0.25
    grid = np.arange(28) - 13.5
    assert abs((ink.sum((1, 2)) * grid).sum() / ink.sum()) < 0.5
    # Smooth edges: a good part of the ink is neither black nor white.
    assert 0.2 < ((x > 16) & (x < 239)).sum() / (x > 16).sum() < 0.8


def test_a_nearest_centroid_reads_the_glyphs():
    train, test = draw(3000), draw(500, split=1)
    flat = train.x.reshape(3000, -1).astype(np.float32)
    means = np.stack([flat[train.labels == k].mean(0) for k in range(10)])
    distance = ((test.x.reshape(500, 1, -1).astype(np.float32) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == test.labels).mean() > 0.7


def test_glyphs_are_a_function_of_split_and_index():
    long, short = draw(60), draw(20)
    assert np.array_equal(long.x[:20], short.x) and np.array_equal(long.labels[:20], short.labels)
    assert not np.array_equal(draw(20, split=1).x, short.x)


def test_a_pillow_without_freetype_is_one_sentence(monkeypatch):
    from PIL import ImageFont

    def missing(size=None):
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "load_default", missing)
    assert "FreeType" in refused(data="glyphs:10")


@pytest.mark.parametrize(("name", "k"), [("ring", 8), ("grid", 25), ("gauss1d", 1)])
def test_mixtures_have_the_published_moments(name, k):
    centres, sigma = modes(name)
    assert centres.shape[0] == k
    split = sample(name, 50_000, np.random.default_rng(1))
    assert split.x.dtype == np.float32
    distance = np.linalg.norm(split.x[:, None] - centres[None], axis=-1)
    nearest = distance.argmin(1)
    # Mean squared distance to the own centre is D sigma².
    measured = (distance.min(1) ** 2).mean() / centres.shape[1]
    assert measured == pytest.approx(sigma**2, rel=0.03)
    counts = np.bincount(nearest, minlength=k)
    assert abs(counts - 50_000 / k).max() < 5 * math.sqrt(50_000 / k)
    if k > 1:
        assert np.array_equal(nearest, split.labels)


def test_ring_and_grid_are_those_of_the_papers():
    ring, sigma = modes("ring")
    assert np.allclose(np.linalg.norm(ring, axis=1), 1) and sigma == 0.01
    grid, sigma = modes("grid")
    assert {tuple(c) for c in grid} == {(a, b) for a in range(-4, 5, 2) for b in range(-4, 5, 2)}
    assert sigma == 0.05
    with pytest.raises(UserError, match="swissroll"):
        modes("swissroll")


def test_points_load_with_independent_test_points():
    data = load(DataOptions(data="swissroll:2000"))
    assert data.train.x.shape == (2000, 2) and data.train.labels is None
    assert data.spec.kind == "points" and data.spec.shape == (2,)
    both = np.concatenate([data.train.x, data.test.x])
    assert len(np.unique(both, axis=0)) == len(both) == 2200
    assert data.fingerprint == load(DataOptions(data="swissroll:2000")).fingerprint
    assert data.fingerprint != load(DataOptions(data="swissroll:2001")).fingerprint


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 4097])
def test_fixed_order_is_a_permutation_that_is_not_the_identity(n):
    order = fixed_order(n)
    assert np.array_equal(np.sort(order), np.arange(n))
    if n > 10:
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.1


def test_fixed_order_never_changes():
    # By hand: SplitMix64 of 1 … 5, seed 0, gives e220…, 6e78…, 06c4…, f88b…, 1b39….
    assert fixed_order(5).tolist() == [2, 4, 1, 0, 3]


@pytest.mark.parametrize(
    ("n", "share", "k"), [(10, 0.1, 1), (5, 0.01, 1), (1, 0.5, 0), (9, 0, 0), (2, 0.99, 1)]
)
def test_a_holdout_leaves_something_on_both_sides(n, share, k):
    assert held_out(n, share) == k


def test_limit_takes_a_fixed_part_of_the_training_split_only():
    whole = load(DataOptions(data="glyphs:500"))
    part = load(DataOptions(data="glyphs:500", limit=40))
    assert len(part.train) == 40 and len(part.test) == len(whole.test)
    assert part.fingerprint != whole.fingerprint
    rows = {row.tobytes() for row in whole.train.x}
    assert all(row.tobytes() in rows for row in part.train.x)


def test_test_data_of_another_shape_is_refused():
    assert "(1, 28, 28)" in refused(data="ring:100", test_data="glyphs:20")
    data = load(DataOptions(data="glyphs:100", test_data="glyphs:70"))
    assert len(data.test) == 7  # the test split of the other source


def test_any_image_source_can_be_resized_and_coloured():
    plain = load(DataOptions(data="glyphs:60"))
    big = load(DataOptions(data="glyphs:60", size="64", channels="rgb"))
    assert big.spec.shape == (3, 64, 64) and big.test.x.shape == (6, 3, 64, 64)
    assert np.array_equal(big.train.labels, plain.train.labels)
    assert np.array_equal(big.train.x[:, 0], big.train.x[:, 2])
    assert abs(big.train.x.mean() - plain.train.x.mean()) < 1  # the same ink
    both = load(DataOptions(data="glyphs:60", size="32", test_data="glyphs:20"))
    assert both.test.x.shape == (2, 1, 32, 32)
    assert "points" in refused(data="ring:10", size="8")
    assert "points" in refused(data="ring:10", channels="rgb")


def test_unknown_names_and_paths(tmp_path):
    assert "did you mean 'glyphs'" in refused(data="glyps")
    assert "no data source and no file" in refused(data=str(tmp_path / "none"))
    assert "no data source and no file" in refused(data="")
    assert "no data source and no file" in refused(data="a\0b")
    assert "no data source and no file" in refused(data="x" * 5000)
    for odd in ("ring:0", "ring:-1", "ring:1e9", "ring:", "ring:99999999999"):
        assert "number of examples" in refused(data=odd)
    assert "no data source" in refused(data="mnist:5")  # not counted
    assert "\x1b" not in refused(data="\x1b[31mred")
    file = tmp_path / "notes.md"
    file.write_text("hello")
    assert "no data that gentool can read" in refused(data=str(file))


@pytest.mark.parametrize("size", ["0", "64x", "-1", "64x0", "big", "99999", "64x64x64", ""])
def test_sizes_that_are_none(size):
    with pytest.raises(UserError, match="--size"):
        DataOptions(size=size).height_width()


def test_size_is_one_number_or_height_x_width():
    assert DataOptions(size="64").height_width() == (64, 64)
    assert DataOptions(size="64x48").height_width() == (64, 48)
    assert DataOptions().height_width() is None


def test_numbers_out_of_range():
    assert "--holdout" in refused(data="ring:10", holdout=1.0)
    assert "--holdout" in refused(data="ring:10", holdout=float("nan"))
    assert "--limit" in refused(data="ring:10", limit=0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ring:5000", "ring"),
        ("../data/mnist", "mnist"),
        ("/a/My Cats (1).zip", "my-cats-1"),
        ("..", None),
        ("/", "data"),
        ("x.npz", "x"),
        ("/a/\x1b[31m", "31m"),
    ],
)
def test_short_names_are_safe_in_file_names(text, name):
    found = short_name(text)
    assert name is None or found == name
    assert re.fullmatch(r"[a-z0-9_-]{1,40}", found)


def test_another_package_can_add_a_source(monkeypatch):
    monkeypatch.setattr(registry, "_SOURCES", list(registry._SOURCES))
    mine = SourceInfo("mine", "built-in", "help", f"{__name__}:load_mine", counted=True)
    registry.register(mine)
    assert load(DataOptions(data="mine:30")).train.x.shape == (27, 3)
    with pytest.raises(ValueError, match="registered already"):
        registry.register(mine)


def test_a_source_that_breaks_its_promise_is_told_so(monkeypatch):
    monkeypatch.setattr(registry, "_SOURCES", list(registry._SOURCES))
    registry.register(SourceInfo("bad", "built-in", "help", f"{__name__}:load_bad"))
    with pytest.raises(TypeError, match="'bad' gave float64"):
        load(DataOptions(data="bad"))


def load_bad(request):
    from gentool.data.dataset import Loaded, Split

    return Loaded(Split(np.zeros((3, 2))), None)


def load_mine(request):
    from gentool.data.dataset import Loaded, Split

    x = np.arange(request.count * 3, dtype=np.float32).reshape(-1, 3)
    return Loaded(Split(x), None)
