"""A function of torch as the list of steps that the page's interpreter runs.

torch.export gives the graph in the core ATen operations, with every shape fixed to a batch of one.
What depends on weights alone is computed here; the rest is lowered by the table in `lowering.py`.
"""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from gentool.errors import UserError, printable
from gentool_page.tensors import Tensors


@dataclass(frozen=True)
class Value:
    """A tensor that is known only when the page runs.

    Attributes:
        id: its place among the inputs and steps.
        shape: of one example; integers and booleans are float32 too in the page.
    """

    id: int
    shape: tuple[int, ...]


@dataclass
class Program:
    """Steps in order; input i is value i, and step k is value len(inputs) + k.

    Attributes:
        inputs: shapes.
        steps: each {"op", "in": ids, "shape", …} with what the operation needs.
        output: the value that is the result.
    """

    inputs: list[tuple[int, ...]]
    steps: list[dict[str, Any]] = field(default_factory=list)
    output: int = 0

    def add(
        self, op: str, inputs: Sequence[Value], shape: Sequence[int], /, **details: Any
    ) -> Value:
        """Append a step; tensors among the details are its weights."""
        kept = {name: value for name, value in details.items() if value is not None}
        step = {"op": op, "in": [one.id for one in inputs], "shape": list(shape), **kept}
        self.steps.append(step)
        return Value(len(self.inputs) + len(self.steps) - 1, tuple(shape))

    def value(self, x: Value | Tensor) -> Value:
        """A constant as a value; a value as it is."""
        return x if isinstance(x, Value) else self.add("const", [], x.shape, data=x)

    def maker(self, value: Value) -> dict[str, Any] | None:
        """The step that makes a value; None for an input."""
        place = value.id - len(self.inputs)
        return self.steps[place] if place >= 0 else None

    def to_json(self, tensors: Tensors) -> dict[str, Any]:
        """The program with its tensors stored, and named by their numbers."""
        steps = [
            {k: tensors.add(v) if isinstance(v, Tensor) else v for k, v in step.items()}
            for step in self.steps
        ]
        return {"inputs": [list(s) for s in self.inputs], "steps": steps, "out": self.output}


class UnknownError(Exception):
    """An operation that the interpreter lacks; the text is its name."""


def trace(network: nn.Module, arguments: tuple[Tensor, ...], what: str) -> Program:
    """The steps of `network` on arguments of one example.

    Args:
        what: the function's name, for a person.

    Raises:
        UserError: where torch cannot trace it, or where it needs what the interpreter lacks.
    """
    exported = _exported(network, arguments, what)
    program = Program([tuple(a.shape) for a in arguments])
    known: dict[str, Any] = {}
    place = 0
    constants = {**exported.state_dict, **exported.constants}
    for spec in exported.graph_signature.input_specs:
        name = getattr(spec.arg, "name", "")
        if spec.kind == InputKind.USER_INPUT:
            known[name] = Value(place, tuple(arguments[place].shape))
            place += 1
        else:
            known[name] = constants[str(spec.target)].detach()
    try:
        return _lowered(exported.graph, known, program)
    except UnknownError as error:
        raise UserError(
            f"the page's interpreter lacks {printable(str(error), 80)}, which the {what} of this "
            "model uses; `gentool export RUN model.onnx` writes any model"
        ) from error


def _exported(
    network: nn.Module, arguments: tuple[Tensor, ...], what: str
) -> torch.export.ExportedProgram:
    problem: Exception | None = None
    for strict in (False, True):
        try:
            with torch.no_grad(), _quiet():
                traced = torch.export.export(network.eval(), arguments, strict=strict)
                lowered: torch.export.ExportedProgram = traced.run_decompositions()
                return lowered
        except Exception as error:
            problem = problem or error
    reason = printable(str(problem).strip().partition("\n")[0], 200)
    raise UserError(
        f"torch cannot trace the {what} of this model ({reason}); `gentool --debug export` shows "
        "why"
    ) from problem


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's tracer warns about its own inside."""
    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _lowered(graph: torch.fx.Graph, known: dict[str, Any], program: Program) -> Program:
    from gentool_page.lowering import lower

    wanted = _needed(graph)
    for node in graph.nodes:
        if node.op != "call_function" or node not in wanted:
            continue
        arguments = torch.fx.map_arg(node.args, lambda n: known[n.name])
        options = torch.fx.map_arg(node.kwargs, lambda n: known[n.name])
        if node.target is operator.getitem:
            known[node.name] = arguments[0][arguments[1]]
        elif not any(isinstance(one, Value) for one in _flat((arguments, options))):
            known[node.name] = _computed(node.target, arguments, options)
        else:
            known[node.name] = lower(program, node, arguments, options)
    (result,) = _output(graph)
    program.output = program.value(known[result.name]).id
    return program


def _needed(graph: torch.fx.Graph) -> set[torch.fx.Node]:
    """What the output depends on; checks of the arguments are not among it."""
    found: set[torch.fx.Node] = set()
    waiting = list(_output(graph))
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _output(graph: torch.fx.Graph) -> list[torch.fx.Node]:
    (end,) = [node for node in graph.nodes if node.op == "output"]
    return list(end.all_input_nodes)


def _computed(function: Callable[..., Any], arguments: Any, options: Any) -> Any:
    if torch.Tag.nondeterministic_seeded in getattr(function, "tags", ()):
        raise UnknownError(f"the random operation {function}")
    with torch.no_grad():
        return function(*arguments, **options)


def _flat(nested: Any) -> Iterator[Any]:
    if isinstance(nested, dict):
        nested = tuple(nested.values())
    if isinstance(nested, list | tuple):
        for one in nested:
            yield from _flat(one)
    else:
        yield nested
