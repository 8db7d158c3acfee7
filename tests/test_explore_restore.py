"""The explorer's restorations: they arrive while the chains run, and are the terminal's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer import exploring, packed, run_line

from gentool.explore.tabs import restore

VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 5, "--steps", 3)
SHORT = {"warmup": 6, "draws": 8, "samples": 4, "seed": 3}


@pytest.mark.slow
def test_the_line_restores_to_the_pixel(
    trained: Callable[..., Path], cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "EVERY", 0.0)
    trained("run", *VAE)
    hole = np.zeros((28, 28), np.uint8)
    hole[14:, 4:20] = 255
    drawn = np.zeros((28, 28, 1), np.uint8)
    drawn[5:22, 13:16] = 230
    questions: list[dict[str, Any]] = [
        {"point": {"example": "test:2"}, "spoilt": "painted", "hole": packed(hole)},
        {"point": {"pixels": packed(drawn)}, "spoilt": "hole", "where": "left"},
        {"point": {"example": "train:1"}, "spoilt": "scale", "factor": 4},
    ]
    with exploring("run") as client:
        for question in questions:
            every = client.all("restore/run", **question, **SHORT)
            found = every[-1]
            assert found.error is None, found.error
            # One picture of what was given, one for each step of the chains, and the answer.
            assert len(every) == 1 + 6 + 8 + 1
            assert [one.facts["step"] for one in every[:-1]] == list(range(15))
            assert len(every[5].parts) == 2 + restore.CHAINS
            sheet, files = found.parts[3 + 4], found.parts[3 + 4 + 1 :]
            for name, data in zip(("drawn.png", "hole.png"), files, strict=False):
                Path(name).write_bytes(data)
            run_line(cli, found.command, "--force")
            assert Path("restored.png").read_bytes() == sheet
            kept = np.load("restored.npz")
            for i in range(4):
                wanted = np.rint(kept["samples"][0, i, 0].clip(0, 1) * 255)
                assert (found.parts[3 + i][..., 0] == wanted).all()
            assert found.facts["error"] == pytest.approx(
                ((kept["mean"] - kept["truth"]) ** 2).mean(), rel=1e-4
            )


def test_what_cannot_be_restored_is_told(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    point = {"example": "test:2"}
    with exploring("run") as client:
        for question, words in [
            ({"spoilt": "painted", "hole": packed(np.zeros((28, 28), np.uint8))}, "paint a hole"),
            ({"spoilt": "painted", "hole": "AAAA"}, "values"),
            ({"spoilt": "hole", "where": "/etc/passwd"}, "none of"),
            ({"spoilt": "scale", "factor": 10**9}, "between"),
            ({"spoilt": "hole", "where": "left", "draws": 10**9}, "between"),
            ({"spoilt": "nothing"}, "none of"),
            ({"spoilt": "grey"}, "grey"),
        ]:
            assert words in client.failure("restore/run", point=point, **question), question
