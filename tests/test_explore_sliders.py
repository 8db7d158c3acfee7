"""The explorer's sliders: directions and axes, and the pictures along them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from explorer import cell, exploring, run_line

import gentool
from gentool import data
from gentool.latent.edit import shift

WIDE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 5, "--steps", 3)
DCGAN = ("dcgan", "--data", "glyphs:64", "--width", 4, "--steps", 2)


def test_axes_are_sorted_by_their_kl(trained: Callable[..., Path]) -> None:
    trained("run", *WIDE)
    with exploring("run") as client:
        axes = client.ask("sliders/groups").facts["groups"]["axes"]["directions"]
    model = gentool.load("run")
    test = data.load(model.data_options).test  # type: ignore[arg-type]
    x = torch.from_numpy(np.array(test.x)).float() / 255
    with torch.no_grad():
        mu, logvar = model.model.infer(x)  # type: ignore[operator]
    q, p = torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0, 1)
    kl = torch.distributions.kl_divergence(q, p).mean(0)
    order = kl.argsort(descending=True)
    assert [one["name"] for one in axes] == [f"z{j + 1}" for j in order.tolist()]
    assert np.allclose([one["kl"] for one in axes], kl[order], rtol=1e-3, atol=1e-6)


def test_sliders_move_as_edit_does(trained: Callable[..., Path], cli: Callable[..., Any]) -> None:
    trained("run", *WIDE)
    result = cli("directions", "run", "--by", "pca", "--n", 2000)
    assert result.code == 0, result.err
    kept = gentool.load("run").kept_directions()
    with exploring("run") as client:
        client.ask("sliders/groups")
        z = client.ask("sliders/locate", point={"seed": 4}).facts["z"]
        found = client.ask("sliders/at", z=z, strengths={"pca1": 1.5, "pca2": -2, "z3": 0})
        run_line(cli, found.command)
    wanted = shift(torch.tensor([z]), kept["pca1"], 1.5)
    wanted = shift(wanted, kept["pca2"], -2)
    assert np.allclose(found.facts["z"], wanted[0], atol=1e-5)
    assert (cell("picture.png", (1, 28, 28)) == found.parts[0]).all()


def test_directions_of_classes_are_found_when_they_are_asked_for(
    trained: Callable[..., Path],
) -> None:
    trained("run", *WIDE)
    with exploring("run") as client:
        assert client.ask("sliders/groups").facts["groups"]["attributes"]["directions"] == []
        found = client.ask("sliders/find").facts["groups"]["attributes"]
        names = [one["name"] for one in found["directions"]]
        assert set(names) <= set(gentool.load("run").header.data.classes) and len(names) > 1
        z = client.ask("sliders/locate", point={"example": "test:3"}).facts["z"]
        moved = client.ask("sliders/at", z=z, strengths={names[0]: 2})
        assert moved.facts["z"] != z
        assert "no direction" in client.failure("sliders/at", z=z, strengths={"nothing": 1})
        assert "between" in client.failure("sliders/at", z=z, strengths={names[0]: 1e30})
        assert not (Path("run") / "directions.safetensors").exists()  # nothing was written


def test_a_generator_has_principal_directions_alone(trained: Callable[..., Path]) -> None:
    trained("run", *DCGAN)
    with exploring("run") as client:
        groups = client.ask("sliders/groups").facts["groups"]
    assert len(groups["principal"]["directions"]) == 20
    assert groups["axes"]["directions"] == [] and "encoder" in groups["axes"]["notes"][0]
