"""From an image to its latent, against least squares and other known answers."""

from __future__ import annotations

import pytest
import torch
from latent_models import Boxed, Bumpy, Linear
from torch import Tensor

from gentool.errors import UserError
from gentool.latent.invert import Descent, invert, squared_error
from gentool.latent.prior import draw, measure
from gentool.latent.reconstruct import reconstruct
from gentool.noise import Noise


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_inversion_finds_the_ridge_solution(weight: float) -> None:
    """argmin ‖Wz − x‖² + λ‖z‖² = (WᵀW + λI)⁻¹Wᵀx."""
    model = Linear().eval()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    w = model.layer.weight.detach()
    exact = torch.linalg.solve(w.T @ w + weight * torch.eye(3), w.T @ x.T).T
    plan = Descent(steps=1500, restarts=2, lr=0.1, prior_weight=weight, least=0, patience=1500)
    found = invert(model, squared_error(x), 5, plan)
    torch.testing.assert_close(found.z, exact, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        found.distance, (exact @ w.T - x).square().sum(1), rtol=1e-3, atol=1e-5
    )
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_uniform_prior_keeps_latents_in_its_box() -> None:
    model = Boxed().eval()
    prior = measure(model)
    assert prior.kind == "uniform" and abs(prior.low + 1) < 2e-3 and abs(prior.high - 1) < 2e-3
    x = 10 * torch.randn(4, 6)
    found = invert(model, squared_error(x), 4, Descent(steps=200, restarts=2, lr=0.1))
    assert found.z.abs().max() <= prior.high and found.z.abs().max() > 0.99


def test_the_shell_of_a_gaussian() -> None:
    model = Linear(inputs=100)
    prior = measure(model)
    norms = draw(model, 1000, seed=9).norm(dim=1)
    inside = (norms > prior.shell[0]) & (norms < prior.shell[1])
    assert prior.kind == "gaussian" and prior.shell[0] < 10 < prior.shell[1]
    assert inside.float().mean() > 0.97


def test_the_best_restart_is_kept_and_more_help() -> None:
    model = Bumpy(inputs=2, outputs=4).eval()
    x = model.sample(draw(model, 20, seed=5)).detach()
    plan = Descent(steps=300, restarts=30, lr=0.05)
    found = invert(model, squared_error(x), 20, plan)
    torch.testing.assert_close(found.distance, found.every.min(1).values)
    again = (model.sample(found.z) - x).square().sum(1).detach()
    torch.testing.assert_close(again, found.distance, rtol=1e-4, atol=1e-6)
    assert (found.every[:, 0] > 0.01).sum() > (found.distance > 0.01).sum()
    assert (found.distance < 1e-3).float().mean() >= 0.9


def test_rows_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image alone, or in chunks of one, is inverted as among others."""
    from gentool.latent import invert as module

    model = Bumpy(inputs=2, outputs=4).eval()
    x = model.sample(draw(model, 3, seed=5)).detach()
    plan = Descent(steps=60, restarts=4)
    whole = invert(model, squared_error(x), 3, plan)
    monkeypatch.setitem(module.ROWS, "cpu", 4)
    torch.testing.assert_close(invert(model, squared_error(x), 3, plan).z, whole.z)
    first = invert(model, squared_error(x[:1]), 1, plan)
    torch.testing.assert_close(first.z, whole.z[:1])


def test_rows_that_stand_still_stop_early() -> None:
    model = Linear().eval()
    x = model.sample(draw(model, 4, seed=2)).detach()
    start = draw(model, 4, seed=2)
    found = invert(
        model, squared_error(x), 4, Descent(steps=400, restarts=3, enough=1e-8), start=start
    )
    assert found.steps.max() == 0 and found.distance.max() < 1e-8


def test_labels_are_searched() -> None:
    model = Linear(classes=3).eval()
    labels = torch.tensor([2, 0, 1, 2])
    x = model.sample(draw(model, 4, seed=3), labels).detach()
    plan = Descent(steps=800, restarts=1, lr=0.1)
    found = invert(model, squared_error(x), 4, plan)
    assert found.labels is not None and found.labels.tolist() == labels.tolist()
    given = invert(model, squared_error(x), 4, plan, labels=labels)
    assert given.labels is not None and given.labels.tolist() == labels.tolist()


def test_what_is_not_finite_is_not_chosen() -> None:
    class Broken(Linear):
        def sample(
            self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None
        ) -> Tensor:
            return torch.where(z[:, :1] < 0, super().sample(z), torch.nan)

    found = invert(Broken().eval(), squared_error(torch.zeros(3, 6)), 3, Descent(steps=50))
    assert found.distance.isfinite().all() and found.z.isfinite().all()


def test_reconstruction_says_how_far_it_is() -> None:
    model = Linear().eval()
    x = torch.randn(3, 6)
    found = reconstruct(model, x, descent=Descent(steps=300, lr=0.1, restarts=2))
    torch.testing.assert_close(found.error, (found.again - x).square().mean(1))
    assert found.method == "optimise" and found.restarts is not None
    assert found.restarts.shape == (3, 2)
    with pytest.raises(UserError, match="no encoder"):
        reconstruct(model, x, method="encoder")
    with pytest.raises(UserError, match=r"shape \(6,\)"):
        reconstruct(model, torch.randn(3, 5))
