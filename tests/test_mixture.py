"""The prior fitted after training: EM against closed forms and scikit-learn, and its use."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gentool import mixture
from gentool.errors import UserError
from gentool.mixture import Mixture, components, fit
from gentool.noise import sampling_noise

Cli = Callable[..., Any]

SMALL = ("vae", "--data", "glyphs:512", "--hidden", "16", "--latent-dim", "2", "--epochs", "1")


def three(n: int = 3000) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of three well separated Gaussians, their centres and shares."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.tensor([[0.0, 0, 0], [9, 0, 0], [0, 9, 9]], dtype=torch.float64)
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    which = torch.multinomial(shares, n, replacement=True, generator=generator)
    scale = torch.tensor([[1.0, 0.5, 2.0]], dtype=torch.float64)
    noise = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return centres[which] + scale * noise, centres, shares


def test_one_component_is_the_mean_and_the_covariance() -> None:
    z, *_ = three()
    one = fit(z, 1)
    assert torch.allclose(one.means[0], z.mean(0))
    covariance = torch.cov(z.T, correction=0)
    assert torch.allclose(one.factors[0] @ one.factors[0].T, covariance, rtol=1e-4, atol=1e-4)
    normal = torch.distributions.MultivariateNormal(z.mean(0), covariance)
    assert torch.allclose(one.log_prob(z), normal.log_prob(z), atol=1e-3)


def test_separated_components_are_found() -> None:
    z, centres, shares = three()
    found = fit(z, 3)
    order = torch.cdist(centres, found.means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert (found.means[order] - centres).abs().max() < 0.2
    assert (found.weights[order] - shares).abs().max() < 0.03
    scales = torch.stack([f @ f.T for f in found.factors[order]])
    expected = torch.diag(torch.tensor([1.0, 0.25, 4.0], dtype=torch.float64))
    assert (scales - expected).abs().max() < 0.5


def test_it_fits_as_well_as_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.mixture", reason="needs scikit-learn")
    generator = np.random.default_rng(0)
    z = np.concatenate([generator.normal(m, s, (400, 4)) for m, s in ((0, 1), (2, 0.5), (-3, 2))])
    theirs = sklearn.GaussianMixture(5, n_init=3, random_state=0).fit(z).score(z)
    rows = torch.from_numpy(z)
    ours = max(fit(rows, 5, seed).log_prob(rows).mean().item() for seed in range(3))
    assert ours > theirs - 0.02, (ours, theirs)


def test_draws_follow_the_density_and_the_seed() -> None:
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    means = torch.tensor([[-5.0, 1.0], [5.0, 0.0]], dtype=torch.float64)
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    made = Mixture(weights, means, torch.stack([factor, 0.1 * torch.eye(2).double()]))
    z = made.draw(20_000, sampling_noise(3))
    assert z.dtype == torch.float32 and torch.equal(z[:64], made.draw(64, sampling_noise(3)))
    assert torch.equal(made.draw(10, sampling_noise(3, row_offset=64)), z[64:74])
    left = z[z[:, 0] < 0].double()
    assert abs(len(left) / len(z) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(z))
    assert torch.allclose(torch.cov(left.T), factor @ factor.T, atol=0.06)
    # The entropy of the mixture: E[−log p] of its own draws, by two ways.
    x, y = torch.meshgrid(torch.linspace(-11, 7, 1200), torch.linspace(-6, 6, 900), indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], 1).double()
    density = made.log_prob(grid).exp()
    cell = (18 / 1199) * (12 / 899)
    assert density.sum() * cell == pytest.approx(1, abs=1e-3)
    entropy = -(density * density.clamp(min=1e-300).log()).sum() * cell
    assert -made.log_prob(z.double()).mean() == pytest.approx(float(entropy), abs=0.03)


@pytest.mark.parametrize("text", ["mixture:0", "mixture:x", "normal", "mixture:1001", ""])
def test_what_is_no_prior_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="mixture:K"):
        components(text)
    assert components("mixture") == 10 and components("mixture:3") == 3


def test_too_few_codes_are_refused_and_equal_ones_are_not() -> None:
    with pytest.raises(UserError, match="ask for fewer"):
        fit(torch.zeros(3, 2), 4)
    with pytest.raises(UserError):
        fit(torch.full((9, 2), torch.nan), 1)
    assert fit(torch.ones(9, 2), 2).log_prob(torch.ones(1, 2).double()).isfinite().all()


def test_samples_under_it_are_kept_with_the_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("train", *SMALL, "--out", "run").code == 0
    asked = ("sample", "run", "--n", "8", "--prior", "mixture:3", "--force", "--out")
    plain = cli("sample", "run", "--n", "8", "--out", "plain.npz")
    first = cli(*asked, "a.npz")
    assert plain.code == first.code == 0, first.err
    kept = tmp_path / "run" / "prior-mixture-3.safetensors"
    before = kept.read_bytes()

    def never(*_: Any) -> Any:
        raise AssertionError("it was fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(mixture, "fit", never)
        assert cli(*asked, "b.npz").code == 0
    arrays = [np.load(tmp_path / f"{name}.npz")["x"] for name in ("plain", "a", "b")]
    assert (arrays[1] == arrays[2]).all() and (arrays[0] != arrays[1]).any()
    kept.write_bytes(before[:100])  # damaged: fitted anew
    assert cli(*asked, "c.npz").code == 0 and kept.read_bytes() == before
    assert cli("resume", "run", "--epochs", "2").code == 0
    assert cli(*asked, "d.npz").code == 0 and kept.read_bytes() != before, "of the old model"


def test_it_is_judged_beside_the_models_own(cli: Cli) -> None:
    assert cli("train", *SMALL, "--out", "run").code == 0
    options = ("--metrics", "elbo,kid", "--n", "50", "--features", "pixels", "--json")
    result = cli("evaluate", "run", "--prior", "mixture:3", *options)
    assert result.code == 0, result.err
    own, other = json.loads(result.out)
    assert "prior" not in own["model"] and other["model"]["prior"] == "mixture:3"
    assert "neg_elbo" in own["values"] and "neg_elbo" not in other["values"]
    (alone,) = json.loads(cli("evaluate", "run", *options).out)
    assert alone["values"] == own["values"]
    shared = own["values"].keys() & other["values"].keys()
    assert shared and all(own["values"][n] != other["values"][n] for n in shared)


def test_models_without_an_encoder_are_refused(cli: Cli) -> None:
    assert cli("train", "gan", "--data", "ring:512", "--steps", "2", "--out", "gan").code == 0
    result = cli("sample", "gan", "--prior", "mixture:2")
    assert result.code == 2 and "no encoder" in result.err
    for wrong in (("--raw",), ("--z", "z:0,0")):
        assert cli("sample", "gan", "--prior", "mixture:2", *wrong).code == 2
