"""The explorer's reconstructions: where an image comes from, and the numbers beside it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer import exploring, packed, run_line, tile
from PIL import Image

import gentool
from gentool import data
from gentool.explore import elbo
from gentool.noise import sampling_noise

SHAPE = (1, 28, 28)
VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 5, "--epochs", 1)
DCGAN = ("dcgan", "--data", "glyphs:64", "--width", 4, "--steps", 2)


def stroke() -> np.ndarray:
    """A drawn line, uint8 (28, 28, 1)."""
    x = np.zeros((28, 28, 1), np.uint8)
    x[5:22, 13:16] = 230
    return x


@pytest.mark.parametrize("arguments", [VAE, (*VAE, "--conditional")], ids=["plain", "conditional"])
def test_the_line_reconstructs_to_the_pixel(
    trained: Callable[..., Path], cli: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    trained("run", *arguments)
    questions: list[dict[str, Any]] = [{"example": "test:3"}, {"pixels": packed(stroke())}]
    if "--conditional" in arguments:
        questions += [{"example": "test:3", "label": 4}]
    with exploring("run") as client:
        for point in questions:
            found = client.ask("reconstruct/show", point=point)
            Path("drawn.png").write_bytes(found.parts[3])
            run_line(cli, found.command, "--force")
            assert (tile("again.png", SHAPE, 0, 0) == found.parts[0]).all()
            assert (tile("again.png", SHAPE, 1, 0) == found.parts[1]).all()
            errors = (found.parts[1] / 255 - found.parts[0] / 255) ** 2
            assert abs(errors.mean() - found.facts["error"]) < 1e-3


def test_a_generator_is_searched_as_its_line_says(
    trained: Callable[..., Path], cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gentool.explore.tabs import reconstruct
    from gentool.latent.invert import Descent

    monkeypatch.setattr(reconstruct, "SEARCH", Descent(steps=6, restarts=2))
    trained("run", *DCGAN)
    with exploring("run") as client:
        found = client.ask("reconstruct/show", point={"example": "test:1"})
    assert found.facts["method"] == "optimise" and "kl" not in found.facts
    run_line(cli, found.command)
    with Image.open("again.png") as image:
        size = image.size
    assert size[0] > 0
    shape = (found.parts[1].shape[2], *found.parts[1].shape[:2])
    assert (tile("again.png", shape, 1, 0) == found.parts[1]).all()


def test_the_parts_of_the_elbo(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    model = gentool.load("run")
    test = data.load(model.data_options).test  # type: ignore[arg-type]
    x = torch.from_numpy(np.array(test.x[2:3])).float() / 255
    found = elbo.parts(model.model, x, None, draws=4000)
    assert found is not None and found.recon is not None
    with torch.no_grad():
        mu, logvar = (m[0].double() for m in model.model.infer(x))  # type: ignore[operator]
        z = mu + (logvar / 2).exp() * sampling_noise(9).normal("other", (4000, 5))
        p = model.model.sample(z.float()).double().clamp(1e-12, 1 - 1e-12)
    nll = -(x.double() * p.log() + (1 - x.double()) * (1 - p).log()).flatten(1).sum(1)
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(found.kl, kl, atol=1e-6)
    spread = nll.std().item() / 4000**0.5
    assert abs(found.recon - nll.mean().item()) < 6 * spread
    # The bound is below log p(x), and below by less than the KL itself.
    with exploring("run") as client:
        facts = client.ask("reconstruct/show", point={"example": "test:2"}).facts
    assert facts["negative_elbo"] == pytest.approx(facts["recon"] + sum(facts["kl"]), abs=1e-4)
    assert facts["negative_elbo"] > -facts["log_likelihood"] - 0.5


def test_an_uploaded_file_is_decoded_as_those_of_data_are(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    photo = np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)
    with exploring("run") as client:
        for kind in ("PNG", "JPEG", "WEBP"):
            file = io.BytesIO()
            Image.fromarray(photo).save(file, format=kind)
            for fit in ("crop", "pad", "stretch"):
                part = client.send("reconstruct/upload", file.getvalue(), fit=fit).parts[0]
                Path("photo").write_bytes(file.getvalue())
                wanted = gentool.load("run").locator(fit=fit).picture(Path("photo"))  # type: ignore[arg-type]
                assert (part[..., 0] == (wanted[0] * 255).round().byte().numpy()).all()
        for file_ in (b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a" + bytes(9)):
            answer = client.send("reconstruct/upload", file_)
            assert answer.error is not None and "image" in answer.error
        huge = io.BytesIO()
        Image.new("1", (9000, 9000)).save(huge, format="PNG")
        answer = client.send("reconstruct/upload", huge.getvalue())
        assert answer.error is not None and "pixels" in answer.error
        for body in (b"", b"\xff\xff\xff\xff{}", b"\x02\x00\x00\x00[]"):
            assert client.raw("POST", "/api/reconstruct/upload", body)[0] == 422
        with contextlib.suppress(ConnectionError):  # closed while the rest is still sent
            assert client.raw("POST", "/api/reconstruct/upload", bytes(2**24 + 1))[0] == 413
        with contextlib.suppress(ConnectionError):
            assert client.raw("POST", "/api/reconstruct/show", bytes(2**20 + 1))[0] == 413


def test_examples_are_there_to_pick(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    test = data.load(gentool.load("run").data_options).test  # type: ignore[arg-type]
    with exploring("run") as client:
        found = client.ask("reconstruct/browse", split="test", first=1)
        assert found.facts["examples"][0] == "test:1"
        assert (found.parts[0][..., 0] == test.x[1][0]).all()
        assert client.ask("reconstruct/browse", first=10**9).parts == []
