"""How each operation of core ATen is said in the few that the page's interpreter knows.

linear conv deconv bmm      matrix products
affine                      s·x + t a channel: batch norm
map zip where               element by element, with broadcasting
reshape strided take concat where the numbers lie: strides over what lies in order,
                            take is a table of places
rows reduce                 embeddings; sums, largest values and their places
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gentool_page.program import Program, UnknownError, Value

Lowering = Callable[..., Any]
_TABLE: dict[str, Lowering] = {}


def lower(
    program: Program, node: torch.fx.Node, arguments: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Append a node's steps; returns its `Value`, or several of them.

    Raises:
        UnknownError: for an operation that has no steps.
    """
    name = str(node.target).removeprefix("aten.")
    call = Call(program, node, name)
    function = _TABLE.get(name) or _TABLE.get(name.partition(".")[0])
    if function is None:
        raise UnknownError(f"the operation aten.{name}" if "." in name else f"{name}")
    return function(call, *arguments, **options)


class Call:
    """The node that is being lowered."""

    def __init__(self, program: Program, node: torch.fx.Node, name: str) -> None:
        self.program, self.node, self.name = program, node, name

    @property
    def result(self) -> Any:
        """What torch says of the result: a tensor without numbers, or several."""
        return self.node.meta["val"]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.result.shape)

    def unknown(self, why: str) -> UnknownError:
        return UnknownError(f"aten.{self.name} {why}")


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    def register(function: Lowering) -> Lowering:
        _TABLE.update(dict.fromkeys(names, function))
        return function

    return register


def _maps(names: Sequence[str]) -> None:
    for name in names:
        _TABLE[name] = lambda call, x, *, f=name: call.program.add("map", [x], call.shape, f=f)


MAPS = """
    relu tanh sigmoid sin cos exp log sqrt rsqrt neg abs reciprocal log1p expm1 floor ceil
    round trunc sign erf logical_not
"""
_maps(MAPS.split())


@lowers("leaky_relu")
def leaky_relu(call: Call, x: Value, slope: float = 0.01) -> Value:
    return call.program.add("map", [x], call.shape, f="leaky_relu", a=slope)


@lowers("elu")
def elu(call: Call, x: Value, alpha: float = 1.0, scale: float = 1, inner: float = 1) -> Value:
    if scale != 1 or inner != 1:
        raise call.unknown("with a scale")
    return call.program.add("map", [x], call.shape, f="elu", a=alpha)


@lowers("gelu")
def gelu(call: Call, x: Value, approximate: str = "none") -> Value:
    if approximate != "none":
        raise call.unknown(f"with approximate={approximate}")
    return call.program.add("map", [x], call.shape, f="gelu")


@lowers("clamp", "hardtanh")
def clamp(call: Call, x: Value, low: Any = None, high: Any = None) -> Value:
    if call.name.startswith("hardtanh"):
        low, high = -1 if low is None else low, 1 if high is None else high
    if any(isinstance(side, Value | Tensor) for side in (low, high)):
        raise call.unknown("between tensors")
    sides = {"a": low, "b": high}
    return call.program.add("map", [x], call.shape, f="clamp", **sides)


ZIPS = """
    add sub mul div maximum minimum pow eq ne lt le gt ge logical_and logical_or fmod
"""


def _zip(call: Call, x: Any, y: Any, alpha: float = 1, rounding_mode: str | None = None) -> Value:
    """x (op) y; either may be a number, a constant or a value."""
    name, program = call.name.partition(".")[0], call.program
    if alpha != 1:
        y = y * alpha if not isinstance(y, Value) else _times(program, y, alpha)
    if name == "div" and _whole(call, x) and _whole(call, y) and rounding_mode is not None:
        raise call.unknown("of whole numbers")
    if isinstance(x, Value) and (number := _number(y)) is not None:
        found = program.add("map", [x], call.shape, f=name, a=number)
    elif isinstance(y, Value) and (number := _number(x)) is not None:
        found = program.add("map", [y], call.shape, f=f"r{name}", a=number)
    else:
        found = program.add("zip", [program.value(x), program.value(y)], call.shape, f=name)
    if rounding_mode is not None:
        return program.add("map", [found], call.shape, f=rounding_mode)
    return found


for _name in ZIPS.split():
    _TABLE[_name] = _zip


@lowers("rsub")
def rsub(call: Call, x: Value, y: float, alpha: float = 1) -> Value:
    if alpha != 1 or _number(y) is None:
        raise call.unknown("with alpha")
    return call.program.add("map", [x], call.shape, f="rsub", a=_number(y))


def _times(program: Program, x: Value, factor: float) -> Value:
    return program.add("map", [x], x.shape, f="mul", a=factor)


def _number(x: Any) -> float | None:
    """The number that x is, be it a constant of one element that changes no shape."""
    if isinstance(x, bool | int | float):
        return float(x)
    if isinstance(x, Tensor) and x.dim() == 0:
        return float(x)
    return None


def _whole(call: Call, x: Any) -> bool:
    return not call.result.is_floating_point() and x is not None


@lowers("where")
def where(call: Call, condition: Any, x: Any, y: Any) -> Value:
    parts = [
        one if isinstance(one, Value) else call.program.value(torch.as_tensor(one).float())
        for one in (condition, x, y)
    ]
    return call.program.add("where", parts, call.shape)


@lowers("addmm")
def addmm(call: Call, bias: Any, x: Any, weight: Any, beta: float = 1, alpha: float = 1) -> Value:
    if beta != 1 or alpha != 1:
        raise call.unknown("with factors")
    if isinstance(bias, Tensor) and isinstance(weight, Tensor) and bias.dim() == 1:
        return call.program.add("linear", [x], call.shape, w=weight.T.contiguous(), b=bias)
    product: Value = mm(call, x, weight)
    return call.program.add("zip", [product, call.program.value(bias)], call.shape, f="add")


@lowers("mm")
def mm(call: Call, x: Any, weight: Any) -> Value:
    if isinstance(weight, Tensor):
        return call.program.add("linear", [x], call.shape, w=weight.T.contiguous())
    product: Value = bmm(call, x, weight)
    return product


@lowers("bmm")
def bmm(call: Call, x: Any, y: Any) -> Value:
    return call.program.add("bmm", [call.program.value(x), call.program.value(y)], call.shape)


@lowers("convolution")
def convolution(
    call: Call,
    x: Value,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    if not isinstance(weight, Tensor) or isinstance(bias, Value):
        raise call.unknown("whose weights are computed")
    if weight.dim() != 4:
        raise call.unknown(f"in {weight.dim() - 2} dimensions")
    if transposed:  # as the matrix that its product is: (groups · Cout · kh · kw, Cin)
        grouped = weight.unflatten(0, (groups, -1)).permute(0, 2, 3, 4, 1)
        matrix = grouped.flatten(0, 3)
    else:
        matrix = weight.flatten(1)
    # How much the output grew beyond what the kernel needs is in the result's shape.
    return call.program.add(
        "deconv" if transposed else "conv",
        [x],
        call.shape,
        w=matrix,
        b=bias,
        kernel=list(weight.shape[2:]),
        stride=_pair(stride),
        pad=_pair(padding),
        dilation=_pair(dilation),
        groups=groups,
    )


def _pair(values: Sequence[int]) -> list[int]:
    return list(values) if len(values) == 2 else [values[0], values[0]]


@lowers("_native_batch_norm_legit_no_training")
def batch_norm(
    call: Call,
    x: Value,
    weight: Any,
    bias: Any,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Value, None, None]:
    """γ (x − μ)/√(σ² + ε) + β = s·x + t, in double precision until it is stored; into the weights
    of the product before it, where there is one that nobody else reads."""
    scale = (variance.double() + eps).rsqrt()
    scale = scale if weight is None else scale * weight.double()
    shift = -mean.double() * scale + (0 if bias is None else bias.double())
    before = call.program.maker(x)
    alone = len(call.node.args[0].users) == 1  # type: ignore[union-attr]
    if before is not None and alone and before["op"] in ("linear", "conv", "deconv"):
        _fold(before, scale, shift)
        return x, None, None
    details = {"s": scale.float(), "t": shift.float()}
    return call.program.add("affine", [x], x.shape, **details), None, None


def _fold(step: dict[str, Any], scale: Tensor, shift: Tensor) -> None:
    """W x + b becomes (s W) x + (s b + t); rows of W are of one channel, in order."""
    weight, bias = step["w"].double(), step.get("b")
    rows = scale.repeat_interleave(len(weight) // len(scale))
    step["w"] = (weight * rows[:, None]).float()
    step["b"] = (shift if bias is None else bias.double() * scale + shift).float()


VIEWS = """
    permute transpose t expand slice select narrow squeeze unsqueeze split split_with_sizes
    unbind alias detach diagonal unfold as_strided
"""


def _view(call: Call, x: Value, *arguments: Any, **options: Any) -> Any:
    """Strides over x as it lies in order, as torch itself says them."""
    seen = call.node.target(torch.empty(x.shape, device="meta"), *arguments, **options)  # type: ignore[operator]
    if isinstance(seen, list | tuple):
        return [_strided(call, x, one) for one in seen]
    return _strided(call, x, seen)


for _name in VIEWS.split():
    _TABLE[_name] = _view


def _strided(call: Call, x: Value, seen: Tensor) -> Value:
    if seen.is_contiguous() and seen.numel() == math.prod(x.shape):
        return call.program.add("reshape", [x], seen.shape)
    details = {"strides": list(seen.stride()), "offset": seen.storage_offset()}
    return call.program.add("strided", [x], seen.shape, **details)


@lowers("view", "_unsafe_view", "reshape", "clone")
def reshape(call: Call, x: Value, *arguments: Any, **options: Any) -> Value:
    return call.program.add("reshape", [x], call.shape)


@lowers("_to_copy", "to")
def to_copy(call: Call, x: Value, *arguments: Any, **options: Any) -> Value:
    before = call.node.args[0].meta["val"].dtype  # type: ignore[union-attr]
    after = call.result.dtype
    if after == torch.bool and before != torch.bool:
        return call.program.add("map", [x], call.shape, f="ne", a=0)
    if before.is_floating_point and not after.is_floating_point:
        return call.program.add("map", [x], call.shape, f="trunc")
    return call.program.add("reshape", [x], call.shape)


MOVES = """
    repeat flip roll index_select index constant_pad_nd upsample_nearest2d pixel_shuffle
    pixel_unshuffle reflection_pad2d replication_pad2d
"""


def _take(call: Call, x: Any, *arguments: Any, **options: Any) -> Value:
    """Done to the places 0, 1, 2, …, which come out as a table; padding is the place −1."""
    if not isinstance(x, Value) or any(isinstance(a, Value) for a in _inside(arguments)):
        raise call.unknown("at places that are computed")
    fill = None
    places = torch.arange(math.prod(x.shape), dtype=torch.float64).view(x.shape)
    if call.name.startswith("constant_pad_nd"):
        fill = float(arguments[1]) if len(arguments) > 1 else 0.0
        arguments = (arguments[0], -1.0)
    moved = call.node.target(places, *arguments, **options)  # type: ignore[operator]
    return call.program.add("take", [x], call.shape, at=moved.to(torch.int32), fill=fill)


for _name in MOVES.split():
    _TABLE[_name] = _take


def _inside(arguments: Sequence[Any]) -> list[Any]:
    return [i for a in arguments for i in (a if isinstance(a, list | tuple) else [a])]


@lowers("cat")
def cat(call: Call, parts: Sequence[Any], dim: int = 0) -> Value:
    values = [call.program.value(one) for one in parts]
    return call.program.add("concat", values, call.shape, dim=dim % len(call.shape))


@lowers("embedding")
def embedding(call: Call, weight: Any, indices: Value, *unused: Any) -> Value:
    if not isinstance(weight, Tensor):
        raise call.unknown("of computed weights")
    return call.program.add("rows", [indices], call.shape, w=weight)


@lowers("sum", "mean", "amax", "amin", "argmax", "argmin", "prod", "any")
def reduce(call: Call, x: Value, dim: Any = None, keepdim: bool = False, **unused: Any) -> Value:
    chosen = range(len(x.shape)) if dim is None or dim == [] else _inside([dim])
    dims = sorted({d % len(x.shape) for d in chosen})
    f = call.name.partition(".")[0]
    return call.program.add("reduce", [x], call.shape, f=f, dims=dims)


@lowers("_softmax")
def softmax(call: Call, x: Value, dim: int, half: bool) -> Value:
    dims = [dim % len(x.shape)]
    short = [1 if d in dims else n for d, n in enumerate(x.shape)]
    add = call.program.add
    away = add("zip", [x, add("reduce", [x], short, f="amax", dims=dims)], x.shape, f="sub")
    up = add("map", [away], x.shape, f="exp")
    return add("zip", [up, add("reduce", [up], short, f="sum", dims=dims)], x.shape, f="div")


def _moments(call: Call, x: Value, dims: list[int], eps: float) -> Value:
    """(x − mean) / √(variance + ε) over some dimensions."""
    add = call.program.add
    short = [1 if d in dims else n for d, n in enumerate(x.shape)]
    away = add("zip", [x, add("reduce", [x], short, f="mean", dims=dims)], x.shape, f="sub")
    squares = add("zip", [away, away], x.shape, f="mul")
    variance = add("reduce", [squares], short, f="mean", dims=dims)
    spread = add("map", [add("map", [variance], short, f="add", a=eps)], short, f="rsqrt")
    return add("zip", [away, spread], x.shape, f="mul")


def _scaled(call: Call, x: Value, weight: Any, bias: Any, shape: Sequence[int]) -> Value:
    for factor, f in ((weight, "mul"), (bias, "add")):
        if factor is not None:
            other = call.program.value(factor.reshape(tuple(shape)))
            x = call.program.add("zip", [x, other], x.shape, f=f)
    return x


@lowers("native_layer_norm")
def layer_norm(
    call: Call, x: Value, shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[Value, None, None]:
    dims = list(range(len(x.shape) - len(shape), len(x.shape)))
    return _scaled(call, _moments(call, x, dims, eps), weight, bias, shape), None, None


@lowers("native_group_norm")
def group_norm(
    call: Call, x: Value, weight: Any, bias: Any, n: int, c: int, hw: int, groups: int, eps: float
) -> tuple[Value, None, None]:
    grouped = call.program.add("reshape", [x], [n, groups, c // groups * hw])
    even = call.program.add("reshape", [_moments(call, grouped, [2], eps)], x.shape)
    return _scaled(call, even, weight, bias, [1, c, *[1] * (len(x.shape) - 2)]), None, None
