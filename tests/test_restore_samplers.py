"""Samplers held to a linear-Gaussian model, whose p(z|y) is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gentool.noise import Noise
from gentool.restore.calibration import Ranks, calibrate, simulated
from gentool.restore.exact import LinearGaussian, posterior
from gentool.restore.maximum import maximise
from gentool.restore.measurement import Measurement
from gentool.restore.operators.registry import build_all
from gentool.restore.posterior import SAMPLERS, Draws, Schedule, draw_posterior
from gentool.restore.samplers.base import Chains, Kernel
from gentool.restore.samplers.gibbs import MetropolisWithinGibbs
from gentool.restore.samplers.hmc import Hamiltonian
from gentool.restore.samplers.slice import EllipticalSlice
from gentool.restore.start import start
from gentool.restore.target import Target

SHAPE = (3, 4, 4)
OPERATORS = {
    "missing": (["missing:left"], None),
    "noisy": (["missing:random:0.5"], 0.3),
    "scale": (["scale:2"], None),
    "grey": (["grey"], 0.2),
    "measure": (["measure:8"], 0.2),
    "chain": (["grey", "scale:2", "missing:top"], 0.1),
}
QUICK = [("hmc", "missing"), ("slice", "noisy")]
CASES = [
    pytest.param(sampler, operator, marks=[] if (sampler, operator) in QUICK else pytest.mark.slow)
    for sampler in SAMPLERS
    for operator in OPERATORS
    if sampler != "gibbs" or operator == "missing"
]


def model(latents: int = 4) -> LinearGaussian:
    return LinearGaussian(SHAPE, latents, sigma=0.25, uneven=2.0).eval()


def seen(name: str, n: int = 3) -> tuple[LinearGaussian, Measurement]:
    names, noise = OPERATORS[name]
    exact = model()
    return exact, simulated(exact, build_all(names, SHAPE, 0), noise, n)[1]


def drawn(target: Target, kernel: Kernel, schedule: Schedule) -> Draws:
    begin = start(target, schedule.chains, seed=1)
    return draw_posterior(target, kernel, begin.u, schedule)


@pytest.mark.parametrize(("sampler", "operator"), CASES)
def test_mean_and_covariance(sampler: str, operator: str) -> None:
    exact, measurement = seen(operator)
    target = Target(exact, measurement)
    kernel = SAMPLERS[sampler](target, 40)
    found = drawn(target, kernel, Schedule(40, 100, 100, thin=1 if sampler == "hmc" else 5))
    mean, covariance = posterior(exact, measurement)
    deviation = covariance.diagonal().sqrt()
    z = found.z.double().flatten(1, 2)
    for i in range(len(measurement)):
        assert found.rhat[i] < 1.1
        # 12 means and 12 variances a case: within 4.5 of their standard errors.
        few = max(50.0, found.effective[i].item())
        assert ((z[i].mean(0) - mean[i]) / deviation).abs().max() < 4.5 / math.sqrt(few)
        scaled = torch.cov(z[i].T) / deviation / deviation[:, None]
        error = (scaled - covariance / deviation / deviation[:, None]).abs()
        assert error.max() < 4.5 * math.sqrt(2 / few)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_maximum_is_the_mean(operator: str) -> None:
    exact, measurement = seen(operator)
    found = maximise(Target(exact, measurement))
    mean, covariance = posterior(exact, measurement)
    best = found.z[torch.arange(3), found.best].double()
    assert ((best - mean) / covariance.diagonal().sqrt()).abs().max() < 0.05


def test_the_likelihood_and_its_gradient() -> None:
    for name in OPERATORS:
        exact, measurement = seen(name, 5)
        target = Target(exact, measurement)
        u, rows = torch.randn(10, 4), torch.arange(5).repeat_interleave(2)
        value, gradient = target.with_gradient(u, rows)
        # log p(z|y) − log N(z; 0, I) is log p(y|z) up to a constant of y.
        mean, covariance = posterior(exact, measurement)
        precision = torch.linalg.inv(covariance)
        away = u.double() - mean[rows]
        expected = -0.5 * ((away @ precision) * away).sum(1) + 0.5 * u.double().square().sum(1)
        constant = value.double() - expected
        torch.testing.assert_close(constant[0::2], constant[1::2], rtol=1e-4, atol=1e-3)
        expected = -(away @ precision) + u.double()
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=1e-2)


def test_nothing_seen_is_the_prior() -> None:
    exact = model()
    everything = build_all(["missing:random:1"], SHAPE, 0)
    measurement = Measurement(everything, torch.zeros(2, *SHAPE))
    assert measurement.says_nothing
    target = Target(exact, measurement)
    found = drawn(target, Hamiltonian(target, 20), Schedule(20, 50, 100))
    z = found.z.flatten(0, 2)
    assert z.mean(0).abs().max() < 0.1 and (z.var(0) - 1).abs().max() < 0.15


def test_chains_repeat_and_one_image_does_not_depend_on_the_others() -> None:
    exact, measurement = seen("missing")
    target = Target(exact, measurement)
    schedule = Schedule(4, 20, 20)
    first = drawn(target, EllipticalSlice(target, 4), schedule)
    again = drawn(target, EllipticalSlice(target, 4), schedule)
    assert torch.equal(first.z, again.z)


def test_stopping_keeps_what_there_is() -> None:
    exact, measurement = seen("scale")
    target = Target(exact, measurement)
    for most in (5, 25):
        count = iter(range(1000))
        begin = torch.zeros(3 * 4, 4)
        found = draw_posterior(
            target,
            Hamiltonian(target, 4),
            begin,
            Schedule(4, 10, 50),
            stop=lambda count=count, most=most: next(count) >= most,  # type: ignore[misc]
        )
        assert not found.complete and found.z.shape[2] == max(1, most + 1 - 10)


SIZES = {"repetitions": 1000, "draws": 39, "warmup": 150}


def ranks(
    make: Callable[[Target, int], Kernel], operator: str, thin: int = 10, seed: int = 0
) -> Ranks:
    names, noise = OPERATORS[operator]
    return calibrate(
        model(), build_all(names, SHAPE, 0), noise, make, thin=thin, seed=seed, **SIZES
    )


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "operator"), CASES)
def test_ranks_are_uniform(sampler: str, operator: str) -> None:
    found = ranks(SAMPLERS[sampler], operator, thin=6 if sampler == "hmc" else 15)
    assert found.p_value > 0.01, found.histogram()


class Hot(Target):
    """The planted fault: a likelihood of another temperature."""

    def log_likelihood(self, u: Tensor, rows: Tensor, labels: Tensor | None = None) -> Tensor:
        return 0.7 * super().log_likelihood(u, rows, labels)


class FlatHamiltonian(Hamiltonian):
    """The planted fault: the prior is missing from the energy."""

    @staticmethod
    def _energy(u: Tensor, value: Tensor, p: Tensor) -> Tensor:
        return 0.5 * p.square().sum(1) - value


class Forgetful(Kernel):
    """The planted fault: draws of the prior, whatever was seen."""

    name = "forgetful"

    def step(self, state: Chains, noise: Noise) -> Tensor:
        state.u = noise.normal("u", tuple(state.u.shape))
        state.value = self.target.log_likelihood(state.u, state.rows)
        return torch.ones(len(state.u))


class Greedy(MetropolisWithinGibbs):
    """The planted fault: proposals of the prior are always taken."""

    def step(self, state: Chains, noise: Noise) -> Tensor:
        accept = super().step(state, noise)
        fresh = noise.uniform("fault", (len(state.u),)) < 0.3
        u = noise.normal("fault/u", tuple(state.u.shape))
        state.where(fresh, u, self.target.log_likelihood(u, state.rows))
        return accept


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["hmc", "slice"])
def test_a_wrong_temperature_is_caught(sampler: str) -> None:
    def make(target: Target, chains: int) -> Kernel:
        target.__class__ = Hot
        return SAMPLERS[sampler](target, chains)

    assert ranks(make, "measure").p_value < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "operator"),
    [(FlatHamiltonian, "chain"), (Forgetful, "measure"), (Greedy, "missing")],
)
def test_a_planted_fault_is_caught(fault: type[Kernel], operator: str) -> None:
    assert ranks(fault, operator).p_value < 1e-6


def test_only_the_likelihood_tells_who_forgets_what_was_seen() -> None:
    names, noise = OPERATORS["measure"]
    a = build_all(names, SHAPE, 0)
    found = calibrate(model(), a, noise, Forgetful, repetitions=1000, draws=39, thin=1, warmup=1)
    p = found.p_values()
    assert p[:-1].min() > 0.001 and p[-1] < 1e-10
