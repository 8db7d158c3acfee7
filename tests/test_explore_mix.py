"""The explorer's mixtures: what lies between the corners, and the film round them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer import cell, exploring, run_line

VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 5, "--steps", 3)
CONDITIONAL = (*VAE, "--conditional")


@pytest.mark.parametrize("arguments", [VAE, CONDITIONAL], ids=["plain", "conditional"])
def test_lines_of_the_mixture_and_of_the_film(
    trained: Callable[..., Path], cli: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    trained("run", *arguments)
    label = {"label": 2} if "--conditional" in arguments else {}
    with exploring("run") as client:
        points: list[dict[str, Any]] = [
            {"seed": 3},
            {"example": "test:1"},
            {"seed": 9},
            {"seed": 1},
        ]
        z = [client.ask("mix/locate", point=point).facts["z"] for point in points]
        for count in (2, 3, 4):
            asked = {"corners": z[:count], **label}
            found = client.ask("mix/at", x=0.3, y=0.6, **asked)
            run_line(cli, found.command, "--force")
            assert (cell("picture.png", (1, 28, 28)) == found.parts[0]).all()
            corners = [(0, 0), (1, 0), (0, 1), (1, 1)][:count]
            for (x, y), wanted in zip(corners, z, strict=False):
                assert client.ask("mix/at", x=x, y=y, **asked).facts["z"] == wanted
            film = client.ask("mix/film", steps=4, **asked)
            run_line(cli, film.command, "--force")
            assert Path("film.gif").read_bytes() == film.parts[0]
            assert len(film.parts) == 1 + 3 * count
        sheet = client.ask("mix/tiles", side=5, corners=z, **label)
        one = client.ask("mix/at", x=0.5, y=0.25, corners=z, **label).parts[0]
    # Batches round differently.
    assert np.abs(sheet.parts[0][28:56, 56:84].astype(int) - one).max() <= 1


def test_the_mixture_of_gaussian_corners_stays_in_their_shell(
    trained: Callable[..., Path],
) -> None:
    trained("run", *VAE)
    a, b = torch.zeros(5), torch.zeros(5)
    a[0], b[1] = 2.0, 2.0
    with exploring("run") as client:
        z = client.ask("mix/at", corners=[a.tolist(), b.tolist()], x=0.5, y=0).facts["z"]
        assert np.allclose(z, [2**0.5, 2**0.5, 0, 0, 0], atol=1e-6)
        assert "two to four" in client.failure("mix/at", corners=[a.tolist()], x=0, y=0)
        assert "numbers" in client.failure("mix/at", corners=[[1], [2]], x=0, y=0)
        assert "between" in client.failure("mix/film", corners=[a.tolist()] * 2, steps=10**6)
