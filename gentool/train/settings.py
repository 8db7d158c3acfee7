"""The options that every model shares: how to train, whatever is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.options import Field, SpecError, fields_of
from gentool.plugins import Plugin, explanation, spec_of
from gentool.spec import DataSpec, ModelSpec, Option
from gentool.train.stopping import parse_duration

MOST_COMPILED_PARTS = 4
"""A part's first row is a constant of its graph, and torch makes eight graphs of one function."""


@dataclass(frozen=True)
class TrainSettings:
    """Core options of ``gentool train``; a plugin may set its own defaults for them."""

    epochs: Annotated[
        int | None,
        Option(
            "passes over the training data; 10 unless the model says otherwise", min=1, max=10**9
        ),
    ] = None
    steps: Annotated[
        int | None, Option("batches to train on, instead of --epochs", min=1, max=10**12)
    ] = None
    batch_size: Annotated[int, Option("examples a batch", min=1)] = 128
    seed: Annotated[int, Option("seed of everything random", min=0, max=2**63 - 1)] = 0
    device: Annotated[str, Option("auto (cuda, else cpu), cpu, cuda, cuda:1 or mps")] = "auto"
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Option("of the forward pass; weights stay fp32")
    ] = "fp32"
    accumulate: Annotated[
        int, Option("split each batch into this many parts to save memory", min=1)
    ] = 1
    clip_grad: Annotated[float | None, Option("largest gradient norm of a player", above=0)] = None
    ema: Annotated[
        float | None,
        Option(
            "decay of an average of the weights, which is what samples; none: the last weights",
            min=0,
            below=1,
        ),
    ] = None
    ema_warmup: Annotated[
        bool, Option("let the average begin short: a decay of (1 + t)/(10 + t) at most")
    ] = True
    lr_schedule: Annotated[
        Literal["constant", "linear", "cosine"], Option("how learning rates fall, to 0 at the end")
    ] = "constant"
    lr_warmup: Annotated[int, Option("updates over which learning rates rise from 0", min=0)] = 0
    lr_milestones: Annotated[
        tuple[int, ...] | None,
        Option("epochs after which learning rates are multiplied by --lr-gamma", min=1),
    ] = None
    lr_gamma: Annotated[float, Option("see --lr-milestones", above=0)] = 0.1
    flip: Annotated[bool, Option("mirror training images left-right at random")] = False
    deterministic: Annotated[
        bool, Option("only algorithms that repeat bit for bit (slower on CUDA)")
    ] = False
    threads: Annotated[
        int | None, Option("CPU threads; by default as many as help", min=1, max=4096)
    ] = None
    compile: Annotated[
        bool, Option("compile each player's objective with torch.compile, where it can be")
    ] = False
    log_every: Annotated[
        int, Option("batches between lines of metrics.jsonl within an epoch", min=1)
    ] = 500
    sample_every: Annotated[int, Option("epochs between sample pictures; 0: never", min=0)] = 1
    save_every: Annotated[int, Option("epochs between checkpoints", min=1)] = 1
    best: Annotated[
        str | None,
        Option(
            "scalar by which best.safetensors is kept, lowest wins; default: the model's own on "
            "the test split, or where it has none the distance of samples from data"
        ),
    ] = None
    judge_samples: Annotated[
        int, Option("samples compared with data after an epoch; 0: never", min=0, max=100_000)
    ] = 2000
    keep: Annotated[int, Option("newest checkpoints to keep", min=1)] = 2
    keep_history: Annotated[
        int,
        Option("about so many small snapshots to keep, for gentool explore", min=0, max=100_000),
    ] = 0
    log: Annotated[
        tuple[str, ...] | None, Option("plugins that follow the run, such as tensorboard")
    ] = None
    profile: Annotated[
        bool, Option("trace steps 11 to 30 into profile.json, and say where the time goes")
    ] = False
    max_time: Annotated[
        str | None, Option("save and stop after this long, e.g. 90s, 30m or 2h")
    ] = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("--epochs and --steps both say how long to train; give one of them")
        if self.compile and self.accumulate > MOST_COMPILED_PARTS:
            raise ValueError(
                f"--compile writes code for every part of a batch; with it, --accumulate can be "
                f"{MOST_COMPILED_PARTS} at most"
            )
        parse_duration(self.max_time)

    def without_effect(self, data: DataSpec) -> dict[str, str]:
        """See `gentool.options.without_effect`."""
        found = {"flip": "on points"} if data.kind == "points" else {}
        return found | ({} if self.lr_milestones else {"lr_gamma": "without --lr-milestones"})


def core_fields() -> tuple[Field, ...]:
    """Every option of ``gentool train`` that is not a model's own."""
    return (*fields_of(DataOptions), *fields_of(TrainSettings))


def trainable(plugin: Plugin) -> ModelSpec:
    """The spec of a plugin whose options fit ``gentool train``; UserError otherwise."""
    spec = spec_of(plugin)
    try:
        check_spec_options(spec)
    except SpecError as error:
        raise UserError(explanation(plugin, error)) from error
    return spec


def check_spec_options(spec: ModelSpec) -> None:
    """Hold a model's options to those of ``gentool train``; raises SpecError.

    Only who trains asks for this: a model whose options clash can still be sampled.
    """
    ours = core_fields()
    taken = {f.flag for f in ours} | {f.name for f in ours}
    for field in fields_of(spec.config):
        if field.flag in taken or field.name in taken:
            raise SpecError(f"its option {field.flag} clashes with an option of gentool train")
    names = {f.name for f in ours}
    for name in spec.defaults:
        if name not in names:
            raise SpecError(f"its default for {name!r} is no option of gentool train")
