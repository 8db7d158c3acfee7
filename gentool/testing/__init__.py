"""The conformance kit: one call in your package's tests says whether your model is right.

    from gentool.testing import check_model

    def test_the_model_conforms():
        check_model("flow", width=8)

Each rule is a function of a `Candidate` that raises `ConformanceError`, whose message says what to
change. The kit trains for a few steps on tiny made-up data: it tells whether a model keeps the
contract, not whether it learns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.random import fork_rng

from gentool.spec import ModelSpec
from gentool.testing import (
    capability_rules,
    player_rules,
    process_rules,
    sampling_rules,
    spec_rules,
    training_rules,
)
from gentool.testing.brief import train_briefly
from gentool.testing.subject import Candidate, ConformanceError, Skip, subjects

Rule = Callable[[Candidate], None]

ONCE: dict[str, Rule] = {
    "door": spec_rules.door,
    "spec": spec_rules.spec,
    "config": spec_rules.config,
}
"""Rules about the spec, which need no model."""

RULES: dict[str, Rule] = {
    "build": spec_rules.build,
    "players": player_rules.players,
    "objectives": player_rules.objectives,
    "steps": player_rules.steps,
    "samples": sampling_rules.samples,
    "seed": sampling_rules.seed,
    "rows": sampling_rules.rows,
    "gradients": sampling_rules.gradients,
    "side effects": sampling_rules.side_effects,
    "labels": sampling_rules.labels,
    "capabilities": capability_rules.capabilities,
    "evaluate": capability_rules.evaluate,
    "reconstruct": capability_rules.reconstruct,
    "likelihood": capability_rules.likelihood,
    "score": capability_rules.score,
    "save and load": training_rules.save_and_load,
    "resume": training_rules.resume,
    "precision": training_rules.precision,
    "sizes": training_rules.sizes,
    "shares": process_rules.shares,
    "processes": process_rules.processes,
}
"""Rules about the model, in the order they are checked, for each kind of data it learns."""


@dataclass(frozen=True)
class ConformanceReport:
    """What `check_model` did: rules kept, and rules that did not apply with the reason."""

    kept: list[str]
    skipped: dict[str, str]


def check_model(
    model: str | ModelSpec,
    /,
    *,
    data: Sequence[str] | None = None,
    skip: Mapping[str, str] | None = None,
    **options: object,
) -> ConformanceReport:
    """Hold a model to the whole contract.

    Args:
        model: the name of an installed model, ``"flow"`` or ``"dist:flow"``; or its spec.
        data: the kinds to check, where the options suit only some: ``("image",)``.
        skip: rules that cannot hold for this model, each with the reason, e.g.
            ``{"shares": "batch discrimination mixes examples"}``.
        options: the model's own options, to make it small: ``width=8``.

    Returns:
        the rules that were kept, and those that were not checked.

    Raises:
        ConformanceError: for the first rule that is broken, saying what to change.
    """
    skip = dict(skip or {})
    unknown = set(skip) - {*ONCE, *RULES}
    if unknown:
        raise ValueError(f"skip names no rule: {', '.join(sorted(unknown))}")
    kept: list[str] = []
    # The kit seeds torch's generator; what the caller draws afterwards is as if it had not.
    with tempfile.TemporaryDirectory(prefix="gentool-kit-") as folder, fork_rng(devices=[]):
        found = subjects(model, options, Path(folder), data)
        for name, rule in ONCE.items():
            _apply(name, rule, found[0], kept, skip)
        for subject in found:
            for name, rule in RULES.items():
                _apply(name, rule, subject, kept, skip)
    return ConformanceReport(kept, skip)


def _apply(
    name: str, rule: Rule, subject: Candidate, kept: list[str], skip: dict[str, str]
) -> None:
    label = name if name in ONCE else f"{name} ({subject.data.kind})"
    if name in skip:
        return
    try:
        rule(subject)
        kept.append(label)
    except Skip as reason:
        skip[label] = str(reason)
    except ConformanceError as error:
        raise ConformanceError(f"{subject.name} breaks the rule {label!r}: {error}") from error
    except Exception as error:
        raise ConformanceError(
            f"{subject.name} breaks the rule {label!r}: {type(error).__name__}: {error}"
        ) from error


__all__ = [
    "ONCE",
    "RULES",
    "Candidate",
    "ConformanceError",
    "ConformanceReport",
    "check_model",
    "train_briefly",
]
