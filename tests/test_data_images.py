"""Folders and zips of images: modes, sizes, layouts, broken files, the parallel decode."""

import io
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool.data import DataOptions, load
from gentool.data.decoding import decode, pool
from gentool.data.decoding.decode import BadImageError, Target
from gentool.data.decoding.layout import lay_out
from gentool.data.sources.images import MixedSizesError
from gentool.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Image size")
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(height=8, width=8, mode="RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def make_folder(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


def make_zip(path: Path, files: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def refused(kind=UserError, **options) -> str:
    with pytest.raises(kind) as caught:
        load(DataOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pixels(data: bytes, **target) -> np.ndarray:
    return decode.decode(data, Target(**target)).pixels


# --- one image --------------------------------------------------------------------------------


def test_png_pixels_are_exact():
    image = noise(5, 9)
    assert np.array_equal(pixels(encoded(image)), np.asarray(image).transpose(2, 0, 1))
    grey = noise(5, 9, "L")
    assert np.array_equal(pixels(encoded(grey), channels=1)[0], np.asarray(grey))
    assert np.array_equal(pixels(encoded(grey))[2], np.asarray(grey))


def test_transparency_is_laid_over_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200  # red 200 at alpha 0, 128 and 255
    rgba[0, :, 3] = 0, 128, 255
    out = pixels(encoded(Image.fromarray(rgba)))
    a = np.array([0, 128, 255]) / 255
    assert np.allclose(out[0, 0], 255 * (1 - a) + 200 * a, atol=1)
    assert np.allclose(out[1, 0], 255 * (1 - a), atol=1)


def test_palette_with_a_transparent_colour():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert pixels(encoded(image))[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    see_through = encoded(image, transparency=1)
    assert pixels(see_through)[:, 0].T.tolist() == [[10, 20, 30], [255] * 3, [70, 80, 90]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(format):
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    out = pixels(encoded(Image.fromarray(values), format), channels=1)
    assert np.abs(out[0, 0] - values[0] / 257.0).max() <= 1


def test_cmyk_is_converted():
    out = pixels(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))  # cyan
    assert np.abs(out.reshape(3, -1).mean(1) - [0, 255, 255]).max() < 4


def test_one_bit_and_grey_with_alpha():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert pixels(encoded(bits), channels=1).tolist() == [[[0, 255]]]
    grey = Image.fromarray(np.array([[[90, 255], [90, 0]]], np.uint8), "LA")
    assert pixels(encoded(grey), channels=1).tolist() == [[[90, 255]]]


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "lime", "blue")]
    for format in ("GIF", "PNG", "WEBP"):
        extra = {"lossless": True} if format == "WEBP" else {}
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **extra)
        found = decode.decode(data, Target())
        assert found.frames and found.pixels[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(format):
    image = Image.new("L", (16, 8))
    image.paste(255, (0, 0, 8, 8))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view: the left side becomes the top
    found = decode.decode(encoded(image, format, exif=exif), Target(channels=1))
    assert found.size == (16, 8) and found.pixels.shape == (1, 16, 8)
    assert found.pixels[0, :6].min() > 200 and found.pixels[0, 10:].max() < 50


def test_damaged_exif_does_not_spoil_the_pixels():
    data = encoded(Image.new("L", (8, 8), 77), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pixels(data, channels=1).mean() == pytest.approx(77, abs=1)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_fits(fit):
    image = Image.new("RGB", (40, 20), "white")
    image.paste((255, 0, 0), (0, 0, 8, 20))  # a red margin at the left
    out = pixels(encoded(image), size=(10, 10), fit=fit)
    assert out.shape == (3, 10, 10)
    red = (out[0] > 200) & (out[1] < 60)
    if fit == "crop":  # the middle 20x20 has no red
        assert not red.any() and out.min() > 200
    elif fit == "pad":  # bars above and below
        assert out[:, 0].max() < 60 and out[:, -1].max() < 60 and red[4:6, 0].all()
    else:
        assert red[:, 0].all() and out[:, 0, -1].min() > 200


def test_a_jpeg_reduced_while_decoding_looks_the_same():
    y, x = np.mgrid[:640, :960]
    smooth = np.stack([x / 4, y / 3, (x + y) / 7], -1).astype(np.uint8)
    jpeg, png = (
        encoded(Image.fromarray(smooth), "JPEG", quality=95),
        encoded(Image.fromarray(smooth)),
    )
    a, b = (pixels(d, size=(64, 64), fit="crop").astype(int) for d in (jpeg, png))
    assert np.abs(a - b).max() <= 4


def test_what_is_broken_and_why():
    good = encoded(noise(64, 64), "JPEG")

    def reason(data: bytes) -> str:
        with pytest.raises(BadImageError) as caught:
            decode.decode(data, Target())
        assert "0x" not in str(caught.value) and "\n" not in str(caught.value)
        return str(caught.value)

    assert reason(b"") == "is empty"
    assert reason(b"just some words\n") == "is a text file, not an image"
    assert "none of the formats" in reason(bytes(100))
    assert "truncated" in reason(good[: len(good) // 2])
    assert reason(encoded(noise(64, 64))[:-30])
    assert "none of the formats" in reason(b"%!PS-Adobe-3.0 EPSF-3.0\n\x00" + bytes(50))
    assert "floating" in reason(encoded(Image.fromarray(np.full((2, 2), 7, np.float32)), "TIFF"))
    assert "32-bit" in reason(encoded(Image.fromarray(np.full((2, 2), 7e5, np.int32)), "TIFF"))


def test_decompression_bombs_are_refused_before_they_are_decoded():
    def png(width: int, height: int) -> bytes:
        def chunk(kind: bytes, body: bytes) -> bytes:
            import zlib

            crc = zlib.crc32(kind + body).to_bytes(4, "big")
            return len(body).to_bytes(4, "big") + kind + body + crc

        header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(50))

    for side in (8000, 12_000, 60_000, 2**31 - 1):
        with pytest.raises(BadImageError, match=r"pixels|bomb"):
            decode.decode(png(side, side), Target())


# --- layouts ----------------------------------------------------------------------------------


def test_class_folders_become_labels():
    found = lay_out(["cat/1.png", "dog/deep/2.png", "cat/3.png"])
    assert found.classes == ("cat", "dog") and set(found.rows) == {"train"}
    names = ["cat", "dog", "cat"]
    assert [found.classes[k] for k in found.labels["train"]] == [
        names[i] for i in found.rows["train"]
    ]


def test_layout_variants():
    assert lay_out(["a.png", "b.png"]).classes == ()
    assert lay_out(["cat/a.png", "cat/b.png"]).classes == ()  # one class says nothing
    mixed = lay_out(["cat/a.png", "dog/c.png", "b.png"])
    assert mixed.classes == () and "beside" in mixed.notes[0]
    digits = lay_out([f"{k}/x.png" for k in (10, 9, 1)])
    assert digits.classes == ("1", "9", "10")
    splits = lay_out(["set/Train/a/1.png", "set/Train/b/2.png", "set/test/b/3.png"])
    assert splits.rows["test"].tolist() == [2] and splits.labels["test"].tolist() == [1]
    extra = lay_out(["train/a/1.png", "train/b/2.png", "test/a/3.png", "val/a/4.png"])
    assert sum(map(len, extra.rows.values())) == 3 and "val" in extra.notes[0]
    only = lay_out(["train/a/1.png", "train/b/2.png"])
    assert set(only.rows) == {"train"} and only.classes == ("a", "b")
    many = lay_out([f"{k:05d}/x.png" for k in range(10_001)])
    assert many.classes == () and "too many" in many.notes[0]
    assert lay_out(["\x1b[31m/a.png", "\udcff/a.png"]).classes == ("\\x1b[31m", "\\udcff")


def test_the_order_of_images_does_not_depend_on_the_others():
    names = [f"{k}.png" for k in range(50)]
    some = names[::2]
    few = [some[i] for i in lay_out(some).rows["train"]]
    whole = [names[i] for i in lay_out(names).rows["train"]]
    assert [name for name in whole if name in few] == few and whole != names


# --- folders and zips -------------------------------------------------------------------------


def coloured(n=40, size=8) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    images = {f"{'ab'[k % 2]}/{k}.png": noise(size, size) for k in range(n)}
    arrays = {name: np.asarray(image).transpose(2, 0, 1) for name, image in images.items()}
    return {name: encoded(image) for name, image in images.items()}, arrays


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


def test_many_processes_give_what_one_gives(tmp_path, monkeypatch):
    files, arrays = coloured(300)
    files["a/broken.png"] = files["a/0.png"][:40]
    place = make_folder(tmp_path / "set", files)
    alone = load(DataOptions(data=place, on_bad_file="skip", cache=str(tmp_path / "one")))
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(pool, "_BATCH", 32)
    seen = []
    from gentool.data import load as load_with

    many = load_with(
        DataOptions(data=place, on_bad_file="skip", cache=str(tmp_path / "two")),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert many.fingerprint == alone.fingerprint and many.report == alone.report
    assert seen[-1] == ("decoding images", 301, 301) and len(seen) > 5
    assert many.report.broken_count == 1
    assert len(many.train) + len(many.test) == len(arrays)


def test_a_decoder_that_crashes_costs_one_image(tmp_path, monkeypatch):
    """A stand-in interpreter that dies at one image, as a decoder with a memory error does."""
    files, _ = coloured(60)
    files["a/13.png"] = files["a/12.png"] + b"DEADLY"
    place = make_folder(tmp_path / "set", files)
    runner = tmp_path / "python"
    runner.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "sys.path[:0] = os.environ['PYTHONPATH'].split(os.pathsep)\n"
        "from gentool.data.decoding import worker\n"
        "decode = worker.decode\n"
        "dies = lambda data: data.endswith(b'DEADLY') and os._exit(139)\n"
        "worker.decode = lambda data, target: dies(data) or decode(data, target)\n"
        "worker.main()\n"
    )
    runner.chmod(0o755)
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(pool, "_BATCH", 16)
    monkeypatch.setattr(sys, "executable", str(runner))
    data = load(DataOptions(data=place, on_bad_file="skip"))
    assert data.report.broken_count == 1
    assert data.report.broken[0].name == "a/13.png"
    assert "crashes" in data.report.broken[0].reason
    assert len(data.train) + len(data.test) == 60


def test_without_worker_processes_it_decodes_here(tmp_path, monkeypatch):
    files, _ = coloured(20)
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    data = load(DataOptions(data=make_folder(tmp_path / "set", files)))
    assert len(data.train) + len(data.test) == 20 and data.report.broken_count == 0


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
