"""The four metrics: torch-fidelity's own functions on the features of real images and of others."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from torch import Tensor

from gentool.errors import UserError
from gentool.metrics.kept import digest_of
from gentool.metrics.trial import Bench, Trial
from gentool_fid import weights
from gentool_fid.network import FEATURES, LOGITS, SIDE, Extractor, build, fidelity

KEY = "inception"
USUAL = 50_000
"""Samples that papers take."""

SUBSETS, SUBSET = 100, 1000
SPLITS, NEIGHBOURS, SEED = 10, 3, 2020
"""The settings of torch-fidelity, which are those of the papers."""


def check(bench: Bench) -> None:
    """Refuse before samples are drawn: packages, weights and colours; raises UserError."""
    channels = bench.dataset.spec.shape[0]
    if channels not in (1, 3):
        raise UserError(
            f"fid and its kin look at grey or RGB images, and {bench.dataset.name} has {channels} "
            "channels; use --metrics frechet"
        )
    extractor(bench)


def extractor(bench: Bench) -> Extractor:
    """The network, made once for all that is judged on the same data; notes its facts."""
    if KEY not in bench.kept:
        fidelity()
        tensors = weights.load(bench.plan.inception, bench.cache)
        bench.kept[KEY] = Extractor(build(tensors, bench.device), bench.device)
        bench.facts[KEY] = facts(bench, tensors)
        bench.warnings += warnings(bench)
    found: Extractor = bench.kept[KEY]
    return found


def facts(bench: Bench, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What these numbers depend on beside what every record says."""
    grey = bench.dataset.spec.shape[0] == 1
    return {
        "file": {"name": weights.PUBLISHED.name, "sha256": weights.PUBLISHED.sha256},
        "weights": digest_of(tensors),
        "n": bench.n,
        "split": "n training images against n samples; floor: against n test images",
        "resize": f"to {SIDE}x{SIDE} in the network, bilinear as TensorFlow 1",
        "colour": "grey widened to RGB" if grey else "RGB",
        "comparable": not grey,
        "tf32": Extractor.tf32,
        "kid": {"subsets": SUBSETS, "subset_size": min(SUBSET, bench.n)},
        "inception_score": {"splits": SPLITS},
        "neighbours": NEIGHBOURS,
        "versions": {name: version(name) for name in ("torch-fidelity", "torchvision")},
    }


def warnings(bench: Bench) -> list[str]:
    """What a reader of these numbers must know."""
    said = []
    if bench.dataset.spec.shape[0] == 1:
        said.append(
            "the images are grey and were widened to RGB for the Inception network: its numbers "
            "compare with no published FID"
        )
    if bench.n < USUAL:
        said.append(
            f"fid at n = {bench.n:,} is biased upwards; papers take {USUAL:,}, so compare it only "
            "at equal n, and with its floor"
        )
    if bench.n < SUBSET:
        said.append(f"KID's subsets hold {bench.n:,} images instead of {SUBSET:,}")
    return said


def _pair(trial: Trial, other: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features of real training images and of the others."""
    look, progress = extractor(trial.bench), trial.bench.progress
    return look(trial.bench.real("train", trial.seed), progress), look(other, progress)


def fid(trial: Trial, other: Tensor) -> dict[str, float]:
    """The Fréchet Inception distance (Heusel et al. 2017, eq. 6)."""
    from torch_fidelity import metric_fid as m

    statistics = [m.fid_features_to_statistics(f[FEATURES]) for f in _pair(trial, other)]
    found = m.fid_statistics_to_metric(*statistics, verbose=False)
    return {"fid": found[m.KEY_METRIC_FID]}


def kid_inception(trial: Trial, other: Tensor) -> dict[str, float]:
    """The kernel Inception distance (Bińkowski et al. 2018): mean and deviation over subsets."""
    from torch_fidelity import metric_kid as m

    real, fake = (f[FEATURES] for f in _pair(trial, other))
    size = min(SUBSET, trial.bench.n)
    # The samples come first, as with torch-fidelity's input1: the subsets are then the same.
    found = m.kid_features_to_metric(
        fake, real, kid_subsets=SUBSETS, kid_subset_size=size, rng_seed=SEED, verbose=False
    )
    mean, deviation = found[m.KEY_METRIC_KID_MEAN], found[m.KEY_METRIC_KID_STD]
    return {"kid_inception": mean, "kid_inception_sd": deviation}


def inception_score(trial: Trial, other: Tensor) -> dict[str, float]:
    """The Inception score (Salimans et al. 2016): exp E KL(p(y|x) ‖ p(y)), over ten splits."""
    from torch_fidelity import metric_isc as m

    logits = extractor(trial.bench)(other, trial.bench.progress)[LOGITS]
    found = m.isc_features_to_metric(logits, SPLITS, shuffle=True, rng_seed=SEED)
    mean, deviation = found[m.KEY_METRIC_ISC_MEAN], found[m.KEY_METRIC_ISC_STD]
    return {"inception_score": mean, "inception_score_sd": deviation}


def prc_inception(trial: Trial, other: Tensor) -> dict[str, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 2) with 3 neighbours."""
    from torch_fidelity import metric_prc as m

    real, fake = (f[FEATURES] for f in _pair(trial, other))
    found = m.prc_features_to_metric(fake, real, prc_neighborhood=NEIGHBOURS, verbose=False)
    return {
        "precision_inception": found[m.KEY_METRIC_PRECISION],
        "recall_inception": found[m.KEY_METRIC_RECALL],
    }
