"""gentool from Python: train, resume, load, evaluate. The command line stands on these as well.

>>> import gentool
>>> run = gentool.train("vae", data="glyphs", epochs=1, latent_dim=2)
>>> gentool.evaluate(run, metrics=["elbo"])["values"]["neg_elbo"]["mean"]
>>> gentool.load(run).sample(64)

Options are those of the command line, by their field names (``--latent-dim`` is ``latent_dim``),
with the same checks; what the command line tells in one sentence is raised as
`gentool.errors.UserError`.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gentool import options, recipefiles, runs
from gentool.console import Progress, loading_bar
from gentool.metrics.plan import Plan
from gentool.runs import Run

if TYPE_CHECKING:
    from gentool.restore.restorable import RestorableModel
    from gentool.train.progress import Follower

RunLike = str | os.PathLike[str]
"""A run by its path or its name below ./runs, a model file, or what `train` returns."""


@dataclass(frozen=True)
class TrainedRun(os.PathLike[str]):
    """A run's directory. It can be given wherever a path of a run can."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # text will do

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def metrics(self, split: str | None = None) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl: ``epoch``, ``step``, ``split`` and the scalars.

        Args:
            split: only rows of this one: ``train``, ``test`` or ``samples``.
        """
        rows = Run(self.path).read_metrics()
        return rows if split is None else [row for row in rows if row.get("split") == split]

    def samples(self) -> list[Path]:
        """The sample pictures that were drawn while it trained, by step."""
        return Run(self.path).pictures()

    def config(self) -> dict[str, Any]:
        """Everything that was asked for, and where it ran."""
        return Run(self.path).read_config()

    def load(self, device: str = "cpu") -> RestorableModel:
        """The trained model, as `gentool.load` gives it."""
        from gentool.restore.restorable import load

        return load(self, device)

    def _repr_png_(self) -> bytes | None:
        """The newest sample picture, for a notebook."""
        pictures = self.samples()
        return pictures[-1].read_bytes() if pictures else None

    def _repr_html_(self) -> str:
        """The newest picture and the last scalars of each split, for a notebook."""
        last: dict[str, dict[str, Any]] = {str(row.get("split")): row for row in self.metrics()}
        names = dict.fromkeys(
            name for row in last.values() for name, v in row.items() if isinstance(v, float)
        )
        rows = [["", *last]]
        rows += [[name, *(_short(row.get(name)) for row in last.values())] for name in names]
        table = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        picture = base64.b64encode(self._repr_png_() or b"").decode()
        image = f'<img alt="samples" src="data:image/png;base64,{picture}">' if picture else ""
        return f"<p><code>{html.escape(str(self.path))}</code></p>{image}<table>{table}</table>"


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else ""


def train(
    model: str | None = None,
    /,
    *,
    out: RunLike | None = None,
    config: RunLike | None = None,
    progress: Follower | None = None,
    **values: Any,
) -> TrainedRun:
    """Train a model into a new run, as ``gentool train MODEL`` does.

    Args:
        model: a name from ``gentool models``; by default the one that `config` names.
        out: the run's directory; by default the next free ``runs/MODEL-DATA-NNN``.
        config: a recipe by name, or a TOML file, with options; those given here win.
        progress: called with a `gentool.train.progress.TrainProgress` a few times a second,
            instead of a display on the terminal.
        values: options by field name: the model's own, of the data and of training.

    Raises:
        UserError: for whatever the caller can mend.
        gentool.train.stopping.Stopped: after a signal or ``max_time``, with everything saved.
    """
    if model is None and config is not None:
        model = recipefiles.model_of(config)
    if not isinstance(model, str):
        raise TypeError(f"a model is named by text, such as 'vae', not by {model!r:.80}")
    _check_follower(progress)

    from gentool.train.job import from_options
    from gentool.train.session import start

    job = from_options(model, values, None if config is None else Path(config))
    return TrainedRun(start(job, None if out is None else Path(out), progress).path)


def resume(
    run: RunLike | None = None,
    *,
    cache: RunLike | None = None,
    progress: Follower | None = None,
    **changes: Any,
) -> TrainedRun:
    """Go on where a run stopped, as ``gentool resume`` does; bit for bit where nothing changes.

    Args:
        run: default: the latest below the working directory.
        cache: the folder of data that can be made again; a run never chooses it.
        progress: as in `train`.
        changes: settings that may differ: ``epochs``, ``steps``, ``max_time``, ``device``.
    """
    _check_follower(progress)

    from gentool.train.session import resume as resume_run

    found = runs.find(None if run is None else os.fspath(run))
    folder = None if cache is None else os.fspath(cache)
    return TrainedRun(resume_run(found, changes, folder, progress).path)


def _check_follower(progress: object) -> None:
    """Refuse what cannot be called, before a run is made."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is to be a function, not {progress!r:.80}")


@overload
def evaluate(run: RunLike | None = None, **rest: Any) -> dict[str, Any]: ...
@overload
def evaluate(run: Sequence[RunLike], **rest: Any) -> list[dict[str, Any]]: ...
def evaluate(
    run: RunLike | Sequence[RunLike] | None = None,
    *,
    metrics: str | Iterable[str] | None = None,
    data: RunLike | None = None,
    cache: RunLike | None = None,
    device: str = "auto",
    prior: str | None = None,
    progress: Progress | None = None,
    **plan: Any,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Judge a trained model, as ``gentool evaluate`` does.

    Args:
        run: a run or a model file, by default the latest run; a list of them gives a list of
            records, on the same reals.
        metrics: names from ``gentool evaluate --list``; by default all that fit.
        data: judge by this data rather than the run's own.
        prior: ``mixture:10`` judges each model once more, with latents drawn from that many
            Gaussians fitted to the codes of its training data; always gives a list of records.
        progress: called as progress(what, done, total), instead of a bar on the terminal.
        plan: fields of `gentool.metrics.plan.Plan`: ``n``, ``k``, ``seeds``, ``features``, …

    Returns:
        the record, a dict: ``values`` maps each number's name to its ``mean``, ``spread`` and
        ``floor``; beside it stands whatever the numbers depend on.
    """
    asked = options.build(Plan, plan)  # before torch is imported

    from gentool.metrics.judge import evaluate as judge

    one = run is None or isinstance(run, str | os.PathLike)
    sources = [] if run is None else [run] if isinstance(run, str | os.PathLike) else list(run)
    if not one and not sources:
        return []
    with loading_bar() as bar:
        records = judge(
            [os.fspath(source) for source in sources],
            asked,
            data=None if data is None else os.fspath(data),
            metrics=[metrics] if isinstance(metrics, str) else metrics,
            cache=None if cache is None else os.fspath(cache),
            device=device,
            prior=prior,
            progress=progress or bar,
        )
    return records[0] if one and prior is None else records
