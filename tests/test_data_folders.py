"""Folders and zips of images: sizes, splits, labels, broken and foreign files."""

import os
import zipfile
from pathlib import Path

import pytest
from image_files import coloured, encoded, make_folder, make_zip, noise

from gentool.data import DataOptions, load
from gentool.data.sources.images import MixedSizesError
from gentool.errors import UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def refused(kind=UserError, **options) -> str:
    with pytest.raises(kind) as caught:
        load(DataOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_and_its_zip_give_the_same_data(tmp_path):
    files, arrays = coloured()
    a = load(DataOptions(data=make_folder(tmp_path / "set", files)))
    b = load(DataOptions(data=make_zip(tmp_path / "set.zip", files)))
    c = load(DataOptions(data=make_zip(tmp_path / "s2.zip", files, zipfile.ZIP_STORED)))
    wrapped = {f"top/{name}": data for name, data in files.items()}
    assert a.fingerprint == b.fingerprint == c.fingerprint
    d = load(DataOptions(data=make_zip(tmp_path / "w.zip", wrapped)))
    assert d.spec == a.spec and len(a.train) == 36 and len(a.test) == 4
    found = {
        row.tobytes(): k for s in (a.train, a.test) for row, k in zip(s.x, s.labels, strict=True)
    }
    assert found == {array.tobytes(): "ab".index(name[0]) for name, array in arrays.items()}


def test_grey_folders_have_one_channel(tmp_path):
    grey = {f"{k}.png": encoded(noise(6, 6, "L")) for k in range(30)}
    as_rgb = {f"{k}.png": encoded(noise(6, 6, "L").convert("RGB")) for k in range(30)}
    a = load(DataOptions(data=make_folder(tmp_path / "a", grey)))
    b = load(DataOptions(data=make_folder(tmp_path / "b", as_rgb)))
    assert a.spec.shape == b.spec.shape == (1, 6, 6)
    assert load(DataOptions(data=str(tmp_path / "a"), channels="rgb")).spec.shape == (3, 6, 6)
    # One image with colour, wherever it stands, makes three channels.
    as_rgb["zz.png"] = encoded(noise(6, 6))
    c = load(DataOptions(data=make_folder(tmp_path / "c", as_rgb)))
    assert c.spec.shape == (3, 6, 6)
    forced = load(DataOptions(data=str(tmp_path / "c"), channels="grey"))
    assert forced.spec.shape == (1, 6, 6)


def test_mixed_sizes_need_size(tmp_path):
    files = {f"{k}.png": encoded(noise(8 + k % 2 * 4, 10)) for k in range(12)}
    place = make_folder(tmp_path / "set", files)
    message = refused(MixedSizesError, data=place)
    assert "8x10" in message and "12x10" in message and "--size" in message
    data = load(DataOptions(data=place, size="6x5"))
    assert data.spec.shape == (3, 6, 5) and data.report.sizes == {"8x10": 6, "12x10": 6}


def test_the_test_split_is_read_like_the_training_split(tmp_path):
    train = make_folder(tmp_path / "train", {f"{k}.png": encoded(noise()) for k in range(9)})
    test = make_folder(tmp_path / "other", {f"{k}.png": encoded(noise(mode="L")) for k in range(5)})
    data = load(DataOptions(data=train, test_data=test))
    assert data.test.x.shape == (5, 3, 8, 8) and len(data.train) == 9


def test_labels_of_test_data_follow_the_names(tmp_path):
    def make(name: str, classes: str) -> str:
        return make_folder(tmp_path / name, {f"{c}/{c}.png": encoded(noise()) for c in classes})

    data = load(DataOptions(data=make("one", "abc"), test_data=make("two", "bc")))
    assert sorted(data.test.labels.tolist()) == [1, 2]
    assert (
        load(DataOptions(data=str(tmp_path / "one"), test_data=make("3", "xy"))).test.labels is None
    )


def test_broken_files_are_named_and_counted(tmp_path):
    files, _ = coloured(20)
    files["a/words.jpg"] = b"these are words"
    files["b/cut.png"] = files["a/0.png"][:50]
    place = make_folder(tmp_path / "set", files)
    message = refused(data=place)
    assert "a/words.jpg is a text file" in message and "2 of 22" in message and "skip" in message
    (Path(place) / "a" / "words.jpg").unlink()
    one = refused(data=place)
    assert "1 of 21 images" in one and "mend or remove it" in one
    (Path(place) / "a" / "words.jpg").write_bytes(b"these are words")
    data = load(DataOptions(data=place, on_bad_file="skip"))
    assert data.report.broken_count == 2 and len(data.train) + len(data.test) == 20
    assert {bad.name for bad in data.report.broken} == {"a/words.jpg", "b/cut.png"}
    for split in (data.train, data.test):
        assert (split.x.reshape(len(split), -1).max(1) > 0).all()  # no gap is left
    assert "words.jpg" in refused(data=place)  # from the cache too


def test_folders_without_images(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there is no image in" in refused(data=str(empty))
    others = make_folder(tmp_path / "o", {"a.txt": b"x", ".hidden.png": encoded(noise())})
    assert "1 other files" in refused(data=others)
    words = make_folder(tmp_path / "w", {"a.png": b"x", "b.png": b"y"})
    assert "none of the 2 images tried" in refused(data=words)


def test_what_lies_about_in_folders_is_passed_by(tmp_path):
    files, _ = coloured(10)
    files |= {
        ".DS_Store": b"x",
        "a/.DS_Store": b"x",
        "__MACOSX/a/._1.png": b"x",
        ".git/x.png": b"x",
    }
    files |= {"a/Thumbs.db": b"x", "README.txt": b"x"}
    for place in (make_folder(tmp_path / "s", files), make_zip(tmp_path / "s.zip", files)):
        data = load(DataOptions(data=place))
        assert len(data.train) + len(data.test) == 10 and data.report.ignored == 2
        assert data.spec.classes == ("a", "b")


def test_links_and_pipes(tmp_path):
    files, _ = coloured(10)
    place = Path(make_folder(tmp_path / "s", files))
    (place / "a" / "loop").symlink_to(place)  # would never end
    (place / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    (place / "b" / "self.png").symlink_to(place / "b" / "self.png")
    os.mkfifo(place / "a" / "pipe.png")  # would block
    data = load(DataOptions(data=str(place), on_bad_file="skip"))
    assert len(data.train) + len(data.test) == 10
    reasons = {bad.name: bad.reason for bad in data.report.broken}
    assert "No such file" in reasons["a/gone.png"]
    assert "cannot be read" in reasons["b/self.png"]
    assert "no regular file" in reasons["a/pipe.png"]


def test_names_are_never_sent_raw(tmp_path):
    files = {"a/ok.png": encoded(noise()), "b/\x1b[31mred\n.png": b"words"}
    message = refused(data=make_folder(tmp_path / "\x1b[2J", files))
    assert "\x1b" not in message and "\\x1b[31mred\\n.png" in message


def test_splits_by_folder(tmp_path):
    files, arrays = coloured(12)
    placed = {f"{'test' if i < 3 else 'train'}/{n}": d for i, (n, d) in enumerate(files.items())}
    data = load(DataOptions(data=make_zip(tmp_path / "s.zip", placed)))
    assert len(data.train) == 9 and len(data.test) == 3
    assert {r.tobytes() for r in data.test.x} == {a.tobytes() for a in list(arrays.values())[:3]}
