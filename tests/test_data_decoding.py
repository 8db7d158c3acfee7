"""One image file in, pixels out: modes, orientation, fits, and what is broken."""

import struct

import numpy as np
import pytest
from image_files import encoded, noise
from PIL import Image

from gentool.data.decoding import decode
from gentool.data.decoding.decode import BadImageError, Target

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Image size")


def pixels(data: bytes, **target) -> np.ndarray:
    return decode.decode(data, Target(**target)).pixels


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
def test_crop_pad_and_stretch_fit_an_image_to_a_size(fit):
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
    assert reason("wörter, ".encode() * 100) == "is a text file, not an image"
    for cut in (2, 3, 4):  # of which no byte is below 32
        assert "damaged JPEG" in reason(good[:cut])
    assert reason(good[:11]) == "cannot be decoded (Truncated File Read)"
    assert "damaged PNG" in reason(b"\x89PNG and then words")
    assert "none of the formats" in reason(bytes(range(200, 256)) * 4)
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
