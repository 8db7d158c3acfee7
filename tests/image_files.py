"""Images, folders and zips that tests of data are made of."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)


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


def coloured(n=40, size=8) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    images = {f"{'ab'[k % 2]}/{k}.png": noise(size, size) for k in range(n)}
    arrays = {name: np.asarray(image).transpose(2, 0, 1) for name, image in images.items()}
    return {name: encoded(image) for name, image in images.items()}, arrays


def awkward() -> dict[str, bytes]:
    """Images that need care: turned, 16 bits, CMYK, animated, see-through, too large, cut short."""
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = RNG.integers(0, 65536, (8, 8), dtype=np.uint16)
    moving = [noise().quantize(16) for _ in range(3)]
    large = io.BytesIO()
    Image.new("1", (20_000, 4_000)).save(large, "PNG")
    return {
        "turned.jpg": encoded(noise(8, 12), "JPEG", exif=turned),
        "deep.png": encoded(Image.fromarray(deep)),
        "print.jpg": encoded(noise().convert("CMYK"), "JPEG"),
        "moving.gif": encoded(moving[0], "GIF", save_all=True, append_images=moving[1:]),
        "glass.png": encoded(noise(mode="RGBA")),
        "large.png": large.getvalue(),
        "cut.png": encoded(noise())[:60],
        **{f"plain{k}.png": encoded(noise()) for k in range(6)},
    }
