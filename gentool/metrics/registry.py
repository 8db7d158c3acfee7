"""The one table of metrics. Each entry is a string until it is used: listing imports no torch.

A new metric is one function and a line here; another package adds its own with `register`,
through the hook ``gentool_metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pkgutil import resolve_name

from gentool import hooks
from gentool.errors import UserError, nearest, printable
from gentool.spec import MetricInfo, Value

__all__ = ["MetricInfo", "Value", "choose", "find", "function_of", "metrics", "register"]

NEEDS = {
    "likelihood": "a model with a likelihood",
    "reconstruct": "a model that encodes",
    "scalars": "a model that evaluates itself on test data",
    "images": "images",
    "labels": "images with labels",
    "mixture": "the toy data ring, grid or gauss1d, whose modes are known",
}

_HERE = "gentool.metrics"

_METRICS: list[MetricInfo] = [
    MetricInfo(
        "elbo",
        "the model's own test scalars: loss, negative ELBO and its parts, nats an example",
        f"{_HERE}.models:elbo",
        "model",
        frozenset({"scalars"}),
        (Value("loss", "lower"), Value("neg_elbo", "lower")),
    ),
    MetricInfo(
        "nll",
        "importance-weighted -log p(x) with --k latents, nats; bits a pixel where continuous",
        f"{_HERE}.models:nll",
        "model",
        frozenset({"likelihood"}),
        (Value("nll", "lower"), Value("nll_error", "near"), Value("nll_bound", "lower")),
    ),
    MetricInfo(
        "active",
        "latent units that depend on x; warns when the posterior has collapsed",
        f"{_HERE}.models:active",
        "model",
        frozenset({"reconstruct", "likelihood"}),
        (Value("active_units", "higher"),),
    ),
    MetricInfo(
        "frechet",
        "Fréchet distance of Gaussians fitted to the features (not FID)",
        f"{_HERE}.frechet:frechet",
        "features",
        values=(Value("frechet", "lower", 0.0),),
    ),
    MetricInfo(
        "kid",
        "kernel MMD², unbiased, with the cubic kernel of the KID, on the features",
        f"{_HERE}.mmd:kid",
        "features",
        values=(Value("kid", "lower", 0.0),),
    ),
    MetricInfo(
        "prdc",
        "precision, recall, density and coverage by k-NN balls (--neighbours)",
        f"{_HERE}.prdc:prdc",
        "features",
        values=tuple(Value(v, "higher") for v in ("precision", "recall", "density", "coverage")),
        arguments=("neighbours",),
    ),
    MetricInfo(
        "1nn",
        "accuracy of a 1-nearest-neighbour test between reals and fakes, the halves apart",
        f"{_HERE}.two_sample:nearest_neighbour",
        "features",
        values=tuple(Value(v, "near", 0.5) for v in ("1nn", "1nn_real", "1nn_fake")),
    ),
    MetricInfo(
        "ndb",
        "share of statistically different bins, and Jensen-Shannon divergence over the bins",
        f"{_HERE}.ndb:ndb",
        "features",
        values=(Value("ndb", "lower", 0.05), Value("js", "lower", 0.0)),
    ),
    MetricInfo(
        "swd",
        "sliced Wasserstein distance: of points, or of patches of Laplacian pyramids times 1000",
        f"{_HERE}.swd:swd",
        "examples",
        values=(Value("swd", "lower", 0.0),),
    ),
    MetricInfo(
        "ms-ssim",
        "similarity of random pairs of samples; above the data's own means less diversity",
        f"{_HERE}.ssim:diversity",
        "examples",
        frozenset({"images"}),
        (Value("ms_ssim", "near"),),
    ),
    MetricInfo(
        "classes",
        "classes that samples reach, and KL over classes to the data and to even shares",
        f"{_HERE}.models:classes",
        "samples",
        frozenset({"labels"}),
        (
            Value("classes", "higher"),
            Value("class_kl", "lower", 0.0),
            Value("uniform_kl", "lower", 0.0),
        ),
    ),
    MetricInfo(
        "modes",
        "modes of a toy mixture that samples reach, and share within 3 sigma of one",
        f"{_HERE}.models:modes",
        "samples",
        frozenset({"mixture"}),
        (Value("modes", "higher"), Value("high_quality", "higher")),
    ),
    MetricInfo(
        "memorisation",
        "are samples nearer to the training data than test data is? With a picture in the run",
        f"{_HERE}.models:memorisation",
        "model",
        values=(Value("closer", "near", 0.5), Value("distance_ratio", "near", 1.0)),
    ),
    MetricInfo(
        "recovery",
        "errors of 100 test images from --measurements random projections, beside Lasso's",
        "gentool.restore.recovery:recovery",
        "model",
        frozenset({"images"}),
        (
            Value("blank", "near"),
            *(Value(f"recovery_{m}", "lower", 0.0) for m in (25, 75, 100, 300, 500)),
        ),
        arguments=("measurements",),
        default=False,
    ),
]


def metrics() -> list[MetricInfo]:
    """Every metric, the built-in ones first, those of other packages after them."""
    hooks.collect("gentool_metrics", register)
    return list(_METRICS)


def register(metric: MetricInfo) -> None:
    """Add a metric, for packages that bring their own; a taken name raises ValueError."""
    if any(metric.name == known.name for known in _METRICS):
        raise ValueError(f"a metric named {metric.name!r} is registered already")
    if unknown := metric.needs - NEEDS.keys():
        raise ValueError(f"the metric {metric.name!r} needs {sorted(unknown)}, which is no fact")
    _METRICS.append(metric)


def choose(wanted: Iterable[str] | None, facts: frozenset[str]) -> list[MetricInfo]:
    """The metrics of those names, or every default one that the facts allow.

    Raises:
        UserError: for an unknown name, or one whose needs are not met.
    """
    if wanted is None:
        return [m for m in _METRICS if m.default and m.needs <= facts]
    chosen = [find(name) for name in dict.fromkeys(wanted)]
    for metric in chosen:
        for need in sorted(metric.needs - facts):
            raise UserError(
                f"the metric {metric.name} needs {NEEDS[need]}, which is not given here; leave it "
                "out of --metrics (`gentool evaluate --list` shows what each needs)"
            )
    return chosen


def find(name: str) -> MetricInfo:
    """The metric of that name; packages are asked for names that are not built in."""

    def known() -> list[MetricInfo]:
        return [m for m in _METRICS if m.name == name]

    if not known():
        hooks.collect("gentool_metrics", register, wanted=name, enough=lambda: bool(known()))
    if not known():
        names = [m.name for m in _METRICS]
        raise UserError(
            f"there is no metric {printable(name)!r}{nearest(name, names)}; "
            "`gentool evaluate --list` shows them"
        )
    return known()[0]


def check(metric: MetricInfo, bench: object) -> None:
    """Let a metric refuse before time is spent; raises UserError."""
    if metric.check:
        resolve_name(metric.check)(bench)


def function_of(metric: MetricInfo) -> Callable[..., dict[str, float]]:
    """Import what computes the metric (this is where torch comes in)."""
    function: Callable[..., dict[str, float]] = resolve_name(metric.function)
    return function
