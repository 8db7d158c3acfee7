"""Metrics that look at the model itself, or at more than two sets of examples."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.data.sources import points
from gentool.errors import UserError
from gentool.likeness import count_modes
from gentool.metrics import likelihood
from gentool.metrics import memorisation as copies
from gentool.metrics import modes as counting
from gentool.metrics.trial import Trial


def elbo(trial: Trial) -> dict[str, float]:
    """See `gentool.metrics.likelihood.elbo`; over the whole test split.

    A loss that is no likelihood is left out: it would stand beside others' nats.
    """
    bench, model = trial.bench, trial.loaded.model
    test = bench.dataset.test
    with torch.no_grad():
        found = likelihood.elbo(model, test, n=len(test), seed=trial.seed, device=bench.device)
    if getattr(model, "support", "") is None and len(found) > 1:
        del found["loss"]
    return found


def nll(trial: Trial) -> dict[str, float]:
    """See `gentool.metrics.likelihood.nll`."""
    bench, model = trial.bench, trial.loaded.model
    if getattr(model, "support", "") is None:
        raise UserError(
            f"this {trial.loaded.header.model} was trained with a likelihood that is no density, "
            "so it gives no probability to an example; leave nll out of --metrics"
        )
    with torch.no_grad():
        return likelihood.nll(
            model,
            bench.dataset.test,
            n=trial.plan.nll_n,
            k=trial.plan.k,
            seed=trial.seed,
            device=bench.device,
            progress=bench.progress,
        )


def active(trial: Trial) -> dict[str, float]:
    """See `gentool.metrics.likelihood.active_units`; over the n test examples."""
    bench = trial.bench
    with torch.no_grad():
        return likelihood.active_units(
            trial.loaded.model, bench.dataset.test, n=bench.n, device=bench.device
        )


def modes(trial: Trial, samples: Tensor) -> dict[str, float]:
    """See `gentool.metrics.modes.count_modes`."""
    centres, sigma = points.modes(trial.bench.source)
    return count_modes(samples.cpu().numpy(), centres, sigma)


def classes(trial: Trial, samples: Tensor) -> dict[str, float]:
    """See `gentool.metrics.modes.count_classes`."""
    dataset = trial.bench.dataset
    labels = dataset.train.labels
    assert labels is not None
    network, _ = trial.bench.classifier
    found = network.labels(samples)
    counts = counting.class_counts(labels, len(dataset.spec.classes))
    return counting.count_classes(found, counts)


def memorisation(trial: Trial) -> dict[str, float]:
    """See `gentool.metrics.memorisation.compare`; distances between features.

    Draws the nearest training images of some samples into the run, by pixels.
    """
    bench = trial.bench
    if trial.results is not None and bench.images and trial.seed == trial.plan.seed:
        from gentool.render.grid import save_grid

        sheet = copies.neighbours_sheet(trial.samples.cpu().numpy(), bench.dataset.train.x)
        with trial.results.written("neighbours.png") as file:
            save_grid(sheet, file, copies.ACROSS)
    ours = copies.to_nearest(trial.sample_features, bench.train_features)
    return copies.compare(ours, bench.test_to_train(trial.seed))
