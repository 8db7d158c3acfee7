"""`.npy` and `.npz`: shapes, value ranges, labels, and files made to do harm."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data import DataOptions, load
from gentool.errors import UserError

RNG = np.random.default_rng(11)
RGB = RNG.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def loaded(tmp_path: Path, array=None, **named):
    options = {k: named.pop(k) for k in ("size", "channels", "holdout", "fit") if k in named}
    path = tmp_path / ("x.npy" if array is not None else "x.npz")
    np.save(path, array) if array is not None else np.savez_compressed(path, **named)
    return load(DataOptions(data=str(path), **options))


def refused(tmp_path: Path, array=None, **named) -> str:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, array, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(data) -> set[bytes]:
    return {row.tobytes() for split in (data.train, data.test) for row in split.x}


@pytest.mark.parametrize(
    "array",
    [
        RGB,
        RGB.transpose(0, 3, 1, 2),
        (RGB / 255).astype(np.float32),
        RGB / 255.0,
        RGB.astype(np.int64),
        np.asfortranarray(RGB).copy("C"),
    ],
)
def test_images_in_every_common_form(tmp_path, array):
    data = loaded(tmp_path, array)
    assert data.spec.kind == "image" and data.spec.shape == (3, 6, 5)
    assert len(data.train) == 18 and len(data.test) == 2
    assert rows(data) == {image.transpose(2, 0, 1).tobytes() for image in RGB}


def test_grey_arrays_have_one_channel(tmp_path):
    grey = RGB[..., 0]
    for array in (grey, grey[:, None], grey[..., None], np.stack([grey] * 3, -1), grey > 127):
        data = loaded(tmp_path, np.ascontiguousarray(array))
        assert data.spec.shape == (1, 6, 5)
        assert data.train.x.max() > 200
    assert loaded(tmp_path, grey, channels="rgb").spec.shape == (3, 6, 5)
    assert loaded(tmp_path, RGB, channels="grey").spec.shape == (1, 6, 5)
    assert loaded(tmp_path, RGB, size="3").spec.shape == (3, 3, 3)


def test_transparent_images_are_laid_over_white(tmp_path):
    rgba = np.concatenate([RGB, np.zeros_like(RGB[..., :1])], -1)
    assert loaded(tmp_path, rgba, channels="rgb").train.x.min() == 255


def test_labels_stay_with_their_images(tmp_path):
    y = RNG.integers(0, 4, 20)
    for labels in (y, y.astype(np.uint8)[:, None], np.array(["ant", "bee", "cow", "dog"])[y]):
        data = loaded(tmp_path, x=RGB, y=labels)
        assert len(data.spec.classes) == 4
        of = {image.transpose(2, 0, 1).tobytes(): k for image, k in zip(RGB, y, strict=True)}
        for split in (data.train, data.test):
            assert [of[r.tobytes()] for r in split.x] == split.labels.tolist()


def test_the_test_arrays_make_the_test_split(tmp_path):
    for x, y, xt, yt in (
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ):
        named = {x: RGB[:15], y: np.arange(15) % 3, xt: RGB[15:], yt: np.arange(5) % 3}
        data = loaded(tmp_path, **named)
        assert np.array_equal(data.train.x, RGB[:15].transpose(0, 3, 1, 2))  # in the file's order
        assert np.array_equal(data.test.x, RGB[15:].transpose(0, 3, 1, 2))
        assert data.test.labels.tolist() == [0, 1, 2, 0, 1]


def test_two_dimensional_floats_are_points(tmp_path):
    points = RNG.normal(size=(30, 7))
    data = loaded(tmp_path, points)
    assert data.spec.kind == "points" and data.spec.shape == (7,)
    assert data.train.x.dtype == np.float32 and len(data.train) == 27
    assert rows(data) == {row.tobytes() for row in points.astype(np.float32)}
    assert loaded(tmp_path, points[:, 0]).spec.shape == (1,)
    points[3, 2] = np.nan
    assert "point 3 is not finite" in refused(tmp_path, points)
    points[3, 2] = 1e300
    assert "not finite" in refused(tmp_path, points)


def test_what_is_no_data(tmp_path):
    assert "-1" in refused(tmp_path, RGB / 127.5 - 1) and "(x + 1) / 2" in refused(
        tmp_path, RGB / 127.5 - 1
    )
    assert "values from" in refused(tmp_path, RGB / 1.0)
    assert "values from" in refused(tmp_path, RGB.astype(np.uint16) * 200)
    assert "values from" in refused(tmp_path, np.full((4, 3, 3), np.nan))
    assert "no example" in refused(tmp_path, RGB[:0])
    assert "no example" in refused(tmp_path, np.float32(3))
    assert "must be float" in refused(tmp_path, RGB.reshape(20, -1))
    assert "1, 3 or 4 channels" in refused(tmp_path, np.zeros((4, 7, 8, 9), np.uint8))
    assert "1, 3 or 4 channels" in refused(tmp_path, np.zeros((4, 1, 1, 8, 9), np.uint8))
    assert "not numbers" in refused(tmp_path, np.array(["a", "b"]))
    assert "not numbers" in refused(tmp_path, np.zeros(3, np.complex64))
    assert "Fortran" in refused(tmp_path, np.asfortranarray(RGB))
    assert "needed" in refused(tmp_path, x=RGB, y=np.zeros(19, int))
    assert "labels from -1" in refused(tmp_path, x=RGB, y=np.full(20, -1))
    assert "labels from" in refused(tmp_path, x=RGB, y=np.full(20, 10**9))
    assert "neither" in refused(tmp_path, x=RGB, y=np.zeros(20))
    assert "foo, bar" in refused(tmp_path, foo=RGB, bar=RGB)
    assert "agree" in refused(tmp_path, x_train=RGB, x_test=RGB[:, :5])


def test_objects_are_refused_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    for name, write in (("x.npy", np.save), ("x.npz", lambda p, a: np.savez(p, x=a))):
        write(tmp_path / name, np.array([Trap()], dtype=object))
        with pytest.raises(UserError, match="unpickles nothing"):
            load(DataOptions(data=str(tmp_path / name)))
    assert not (tmp_path / "executed").exists()


def npy(shape: str, data: bytes = b"", descr: str = "'|u1'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    header = header.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x09\x00" + bytes(100),
        npy("(10, 28, 28)", bytes(100)),
        npy("(1000000000000, 28, 28)", bytes(100)),
        npy("(2, 2, 2)", bytes(9)),
        npy("(-1, 2, 2)", bytes(4)),
        npy("(True, 2, 2)", bytes(4)),
        npy("__import__('os').abort()"),
        npy("(1, 2, 2)", bytes(4), "'|O'"),
        npy("(1, 2, 2)", bytes(32), "[('a', '<f8')]"),
        npy("(1, 2, 2)", bytes(4), "'nonsense'"),
        b"plain text",
    ],
)
def test_npy_files_made_to_do_harm(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=str(tmp_path / "x.npy")))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_an_npz_bomb_is_refused_before_it_is_inflated(tmp_path):
    path = tmp_path / "x.npz"
    size = 3 * 2**30
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        # The directory is then made to claim 3 GB.
        archive.writestr("x.npy", npy(f"({size // 2**20}, 1024, 1024)", bytes(4 * 2**20)))
    data = path.read_bytes().replace(
        (4 * 2**20 + 128).to_bytes(4, "little"), size.to_bytes(4, "little")
    )
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=str(path)))
    assert "\n" not in str(caught.value)


GOOD_NPY, GOOD_NPZ = io.BytesIO(), io.BytesIO()
np.save(GOOD_NPY, RGB[:3])
np.savez_compressed(GOOD_NPZ, x=RGB[:3], y=np.arange(3))


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.sampled_from([("x.npy", GOOD_NPY.getvalue()), ("x.npz", GOOD_NPZ.getvalue())]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_mutated_files_load_or_are_one_sentence(tmp_path_factory, good, changes, keep):
    name, content = good
    data = bytearray(content)
    for where, value in changes:
        data[min(int(where * len(data)), len(data) - 1)] = value
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_bytes(data if changes else data[: int(keep * len(data))])
    try:
        load(DataOptions(data=str(path), cache=str(path.parent)))
    except UserError as error:
        assert "\n" not in str(error)
