"""The runs that were named on the command line, opened; nothing else can be reached."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from gentool import runs
from gentool.data.dataset import Dataset
from gentool.errors import UserError, printable
from gentool.explore.wire import Answer
from gentool.latent.locate import Locator
from gentool.latent.playable import PlayableModel, load
from gentool.latent.prior import Prior, measure
from gentool.model import Encodes, HasLikelihood, Scores
from gentool.runs import Run, Source


@dataclass
class Subject:
    """One run or model file.

    Attributes:
        word: how it is named on a command line.
        run: None for a lone file.
        loaded: None for a run that has no model yet; its training can be followed.
        pause: called during long work, so that others may be answered.
        report: sends an answer of long work before the last one, which it returns.
        kept: what tabs computed once, by their own keys.
        device: where models are loaded to.
        signature: which model file was loaded.
    """

    word: str
    run: Run | None
    loaded: PlayableModel | None
    pause: Callable[[], None] = lambda: None
    report: Callable[[Answer], None] = lambda answer: None
    kept: dict[Any, Any] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    signature: tuple[int, int] | None = None

    @property
    def model(self) -> PlayableModel:
        """The loaded model; raises UserError where there is none yet."""
        if self.loaded is None:
            raise UserError("this run has no model yet; reload the page when it has one")
        return self.loaded

    @cached_property
    def prior(self) -> Prior:
        return measure(self.model.model)

    @cached_property
    def locator(self) -> Locator:
        return self.model.locator(progress=self.progress)

    @property
    def dataset(self) -> Dataset:
        """The run's own data; raises UserError where it is not known or not here."""
        return self.locator.dataset(None)

    def progress(self, what: str, done: int, total: int) -> None:
        self.pause()

    def refresh(self) -> None:
        """Load the model again where training has written a newer one; in the worker's thread."""
        if self.run is None or (self.loaded is not None and self.signature is None):
            return  # a lone file, or one that was named itself
        now = _signature(self.run)
        if now == self.signature or now is None:
            return
        with contextlib.suppress(UserError):  # half there, or of a plugin that is not here
            self.loaded = load(str(self.run.path), self.device)
            self.kept.clear()
            for name in ("prior", "locator"):
                self.__dict__.pop(name, None)
        self.signature = now

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def facts(self) -> dict[str, Any]:
        """What the page needs to know of it before anything is computed."""
        named = {"word": self.word, "name": printable(self.word, 60), "run": self.run is not None}
        if self.loaded is None:
            return {**named, "kind": "none", "capabilities": []}
        header, model = self.loaded.header, self.loaded.model
        capable = {
            "encode": isinstance(model, Encodes),
            "likelihood": isinstance(model, HasLikelihood) and model.support is not None,
            "score": isinstance(model, Scores),
        }
        data = header.data
        return {
            **named,
            "model": header.model,
            "kind": data.kind,
            "shape": list(data.shape),
            "classes": list(data.classes),
            "conditional": model.classes,
            "latents": math.prod(model.latent_shape),
            "capabilities": [name for name, can in capable.items() if can],
        }


@dataclass(frozen=True)
class Session:
    """All subjects, by the number that the page calls them."""

    subjects: Sequence[Subject]

    def __getitem__(self, index: int) -> Subject:
        if not 0 <= index < len(self.subjects):
            raise UserError("there is no such run on this page; reload it")
        return self.subjects[index]


def open_all(words: Sequence[str], device: torch.device | str = "cpu") -> Session:
    """Open what the command line named, the latest run by default; raises UserError."""
    return Session([open_one(word, device) for word in (words or (None,))])


def open_one(word: str | None, device: torch.device | str = "cpu") -> Subject:
    """A run, even one that has no model yet, or a model file."""
    try:
        source = runs.locate(word)
    except UserError:
        run = _started(word)
        if run is None:
            raise
        return Subject(str(run.path), run, None, device=device)
    # A file that was named itself stays what it is while its run goes on.
    run = None if source.named_file else source.run
    signature = None if run is None else _signature(run)
    subject = Subject(_name(word, source), source.run, load(word, device), device=device)
    subject.signature = signature
    return subject


def _signature(run: Run) -> tuple[int, int] | None:
    """What changes whenever another model file takes the place of the last."""
    try:
        found = run.model.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _started(word: str | None) -> Run | None:
    """A run that has begun and has no model yet."""
    try:
        run = runs.find(word)
    except UserError:
        return None
    return run if run.config.is_file() else None


def _name(word: str | None, source: Source) -> str:
    if word is not None:
        return word
    assert source.run is not None
    return str(source.run.path)
