"""What a plugin hands over: torch-free descriptions of models, data sources, metrics, exporters.

A plugin package holds a small module whose hook implementations (see `hookspecs.py`) return or
register these. Nothing here imports torch, so `gentool --help` stays instant; whatever computes
is named as ``"package.module:function"`` and imported when it is used.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

from gentool.errors import UserError

API_VERSION = 1
"""The version of the plugin interface; it changes only when an old plugin would break."""


@dataclass(frozen=True)
class Option:
    """Help and bounds of one config field, written where the field is declared::

        latent_dim: Annotated[int, Option("size of z", min=1)] = 20

    Attributes:
        help: one line for ``--help``; units and ranges belong in it.
        min, max: inclusive bounds for numbers (each element of a tuple).
        above, below: exclusive bounds.
        flag: the option's name without dashes, where the field's name will not do.
    """

    help: str
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    flag: str | None = None


@dataclass(frozen=True)
class Attribute:
    """What one column of `Batch.attributes` says of an example, such as "smile" or "age".

    Attributes:
        name: what people call it; safe to print.
        kind: "binary", the column is 0 or 1; or "continuous", it is (value − mean) / scale.
        mean, scale: of a continuous attribute, in its own units.
    """

    name: str
    kind: Literal["binary", "continuous"] = "binary"
    mean: float = 0.0
    scale: float = 1.0

    def to_json(self) -> dict[str, Any]:
        if self.kind == "binary":
            return {"name": self.name, "kind": self.kind}
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Attribute:
        """The inverse of `to_json`; raises ValueError on anything else."""
        try:
            found = cls(**value)
            numbers = [float(found.mean), float(found.scale)]
            sound = isinstance(found.name, str) and found.kind in ("binary", "continuous")
            if not (sound and all(map(math.isfinite, numbers)) and numbers[1] > 0):
                raise ValueError
        except (TypeError, ValueError) as error:
            raise ValueError(f"the attribute {value!r:.80} is not one") from error
        return found


@dataclass(frozen=True)
class DataSpec:
    """The shape of one example; everything a model may know about data when it is built.

    Attributes:
        kind: ``"image"`` (uint8 in the data set, float in [0, 1] in a batch) or ``"points"``.
        shape: (C, H, W) of an image, (D,) of a point.
        classes: names of the labels 0 … len-1; empty where there are none.
        attributes: what is known of each example beside its label; empty where nothing is.
    """

    kind: Literal["image", "points"]
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @property
    def size(self) -> int:
        """The number of values in one example: C·H·W or D."""
        return math.prod(self.shape)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "kind": self.kind,
            "shape": list(self.shape),
            "classes": list(self.classes),
        }
        if self.attributes:  # files of data without any stay as they were, byte for byte
            found["attributes"] = [attribute.to_json() for attribute in self.attributes]
        return found

    @classmethod
    def from_json(cls, value: Any) -> DataSpec:
        """The inverse of `to_json`; raises ValueError on anything else."""
        if not isinstance(value, dict) or value.get("kind") not in ("image", "points"):
            raise ValueError("the data spec has no kind 'image' or 'points'")
        shape, classes = value.get("shape"), value.get("classes", [])
        rank = 3 if value["kind"] == "image" else 1
        if not (
            isinstance(shape, list)
            and len(shape) == rank
            and all(type(n) is int and 0 < n < 2**31 for n in shape)
        ):
            raise ValueError(f"the data spec's shape {shape!r:.80} is not {rank} positive integers")
        if not (isinstance(classes, list) and all(isinstance(c, str) for c in classes)):
            raise ValueError("the data spec's classes are not a list of names")
        attributes = value.get("attributes", [])
        if not isinstance(attributes, list):
            raise ValueError("the data spec's attributes are not a list")
        known = tuple(Attribute.from_json(one) for one in attributes)
        return cls(value["kind"], tuple(shape), tuple(classes), known)


Capability = Literal["sample", "reconstruct", "likelihood", "score"]
"""What a model can do beside training; each is a protocol in `gentool.model`."""


@dataclass(frozen=True)
class ModelSpec:
    """One model, as its plugin presents it.

    Attributes:
        summary: one line for ``gentool models``.
        config: a frozen dataclass whose annotated fields become the options of
            ``gentool train MODEL``; every field has a default.
        factory: ``"package.module:function"``, imported only when the model is built; called as
            ``function(config, data_spec)`` and returns a `gentool.model.Model`.
        data: kinds of data the model can learn.
        capabilities: what the model can do; the conformance kit holds it to them.
        defaults: the model's own defaults for core options, e.g. ``{"batch_size": 64}``.
        best: the scalar of the test split by which ``best.safetensors`` is kept, lowest wins;
            empty where none of them ranks models, as for a game of two.
        drop_last: leave out the ragged last batch of an epoch (for batch statistics).
        paper: where the model comes from.
        api_version: the plugin interface it was written for.
    """

    summary: str
    config: type
    factory: str
    data: tuple[Literal["image", "points"], ...] = ("image", "points")
    capabilities: frozenset[Capability] = frozenset({"sample"})
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    best: str = ""
    drop_last: bool = False
    paper: str = ""
    api_version: int = API_VERSION

    def load_factory(self) -> Callable[[Any, DataSpec], Any]:
        """Import the model's code (this is where torch comes in) and return its builder."""
        try:
            factory: Callable[[Any, DataSpec], Any] = resolve_name(self.factory)
            return factory
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"the model's code {self.factory} cannot be imported ({error}); "
                "reinstall the package it comes from"
            ) from error


SourceKind = Literal["built-in", "download", "path"]


@dataclass(frozen=True)
class SourceInfo:
    """One line of `gentool data list`.

    Attributes:
        name: what ``--data`` takes; for kind "path" the name of the format.
        kind: "built-in", "download" or "path".
        help: one line.
        loader: ``"package.module:function"``, called as function(request), returns `Loaded`.
        accepts: for kind "path": ``"package.module:function"``, called as function(path: Path)
            on an existing path, says whether the format is this one. The first that accepts wins.
        counted: whether ``name:N`` asks for N training examples.
        argument: what ``name:…`` may hold, in a word such as ``FOLDER``; empty for nothing.
        published: for kind "download": ``"package.module:NAME"``, a
            `gentool.data.sources.published.Published`, what ``gentool data fetch`` fetches.
    """

    name: str
    kind: SourceKind
    help: str
    loader: str
    accepts: str = ""
    counted: bool = False
    argument: str = ""
    published: str = ""


@dataclass(frozen=True)
class DownloadInfo:
    """A file that ``gentool data fetch`` fetches and that is no data set, such as a network.

    Attributes:
        name: what ``gentool data fetch`` takes.
        help: one line.
        published: as of `SourceInfo`; it lands in ``CACHE/downloads/NAME``.
    """

    name: str
    help: str
    published: str


@dataclass(frozen=True)
class Control:
    """One thing that can be set in a panel of ``gentool explore``.

    Attributes:
        name: its label, and the key under which the panel's function finds its value.
        kind: "number" or "whole" within `low` and `high`; "choice" of `choices`; "point", of which
            the function is given the latent, float32 (1, *latent_shape).
        default: at first; a point begins at seed 0.
    """

    name: str
    kind: Literal["number", "whole", "choice", "point"] = "number"
    low: float = 0.0
    high: float = 1.0
    default: float | str = 0.0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PanelInfo:
    """One panel of ``gentool explore``; it needs no JavaScript.

    Attributes:
        name: lower-case letters, digits and dashes.
        title: of its tab.
        function: ``"package.module:function"``, called as function(model, values) with a
            `gentool.PlayableModel` and what its controls say, by name. It returns a dict: a number
            or text by its name, or pictures, (C, H, W) or (N, C, H, W) in [0, 1].
        help: a line above the controls.
        controls: what can be set.
        needs: the capability without which it does not appear.
        data: kinds of data for which it appears.
    """

    name: str
    title: str
    function: str
    help: str = ""
    controls: tuple[Control, ...] = ()
    needs: Capability = "sample"
    data: tuple[Literal["image", "points"], ...] = ("image", "points")


Better = Literal["lower", "higher", "near"]

Compares = Literal["features", "examples", "samples", "model"]


@dataclass(frozen=True)
class Value:
    """One number that a metric gives.

    Attributes:
        better: which way is better; "near": near `ideal`, or near the floor where that is None.
        ideal: what a perfect model would get, where that is known.
    """

    name: str
    better: Better
    ideal: float | None = None


@dataclass(frozen=True)
class MetricInfo:
    """One line of ``gentool evaluate --list``.

    Attributes:
        name: what ``--metrics`` takes.
        help: one line.
        function: ``"package.module:function"``; it returns a dict of floats and is called as
            its `compares` says.
        compares: what the function sees:
            "features": function(real, other), float32 (n, d), in the chosen feature space;
            "examples": function(real, other), uint8 (n, C, H, W) or float32 points (n, d);
            "samples": function(trial, other), with `other` as for "examples";
            "model": function(trial).
            The first three are called once with samples for `other`, and once with real test
            examples: that is the floor. See `gentool.metrics.trial.Trial`.
        needs: facts that must hold, from `NEEDS`.
        values: the numbers in the order of the table; numbers not named here are shown after.
        arguments: fields of `gentool.metrics.trial.Plan` that the function takes as keywords.
        default: computed without being asked for.
        check: ``"package.module:function"``, called as function(bench) before anything is
            measured; raises `UserError` where the metric cannot be had, such as without a file.
    """

    name: str
    help: str
    function: str
    compares: Compares
    needs: frozenset[str] = frozenset()
    values: tuple[Value, ...] = ()
    arguments: tuple[str, ...] = ()
    default: bool = True
    check: str = ""


@dataclass(frozen=True)
class ExporterInfo:
    """One format, as its plugin registers it.

    Attributes:
        name: what ``--format`` takes.
        suffix: of the output's name, e.g. ``".onnx"``; empty for a folder.
        help: one line.
        function: ``"package.module:function"``, called as function(job: Export).
        push: the same, called as function(job: Export, place: str), for ``--push PLACE``: sends
            what was written to where others find it, and returns its address; empty where the
            format is not sent anywhere.
    """

    name: str
    suffix: str
    help: str
    function: str
    push: str = ""


@dataclass(frozen=True)
class OperatorInfo:
    """One way in which an image can be spoiled, for ``gentool restore --operator``.

    Attributes:
        name: what ``--operator`` takes.
        help: one line.
        function: ``"package.module:function"``, called as function(argument, shape, seed), with
            the text after ``NAME:``, the shape of one x and the seed of what is random; returns a
            `gentool.restore.operators.base.Operator`, and raises `UserError` for what is wrong.
        argument: what ``NAME:…`` must hold, in a word such as ``RADIUS``; empty for nothing.
    """

    name: str
    help: str
    function: str
    argument: str = ""
