"""Times the operations against eager PyTorch and `torch.compile`, in alternation, in one run.

Bandwidth is counted in the bytes an operation cannot avoid: each input read once and each output
written once. It is compared with a copy of as many elements, timed in the same run.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._autograd import DeviceType

from gentool.ops import functional, native
from gentool.ops.cpu import cpu_facts

Phase = Literal["forward", "backward", "both"]
Function = Callable[..., Any]

SMALL = {"bce_with_logits": (128, 784), "reparam_kl": (128, 20)}
HEAD_START = 1_000_000
"""Clock cycles, half a millisecond and more, in which the host queues what is timed."""
WIDTHS = {"bce_with_logits": 1024, "reparam_kl": 64}  # of the large cases, given in elements


@dataclass(frozen=True)
class Row:
    """One line of the result: one implementation of one operation in one size."""

    op: str
    shape: tuple[int, int]
    dtype: str
    target: str
    phase: Phase
    implementation: str
    us_20: float
    us_50: float
    us_80: float
    bytes: int
    gb_per_s: float
    of_copy: float
    speedup_over_eager: float
    peak_mib: float | None = None
    launches: int | None = None


@dataclass(frozen=True)
class Case:
    """An operation, its inputs' size and dtypes."""

    op: str
    shape: tuple[int, int]
    dtype: torch.dtype = torch.float32
    target: torch.dtype = torch.float32

    def bytes(self, phase: Phase) -> int:
        n, size = self.shape[0] * self.shape[1], self.dtype.itemsize
        if self.op == "bce_with_logits":
            forward, backward = size + self.target.itemsize, 2 * size + self.target.itemsize
        else:
            forward, backward = 3 * size, 5 * size  # ε is drawn, not read
        return n * {"forward": forward, "backward": backward, "both": forward + backward}[phase]


def eager_bce(logits: Tensor, target: Tensor) -> Tensor:
    t = target.to(logits.dtype) / 255 if target.dtype == torch.uint8 else target.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, t, reduction="none").sum(1)


def eager_reparam(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    return z, -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)


def cases(device: str, quick: bool) -> list[Case]:
    """The sizes: a small batch, larger ones, and on a GPU up to 2²⁸ elements."""
    found = []
    for op, small in SMALL.items():
        medium = (1024, 784 if op == "bce_with_logits" else 64)
        shapes = [small, medium] if quick else [small, medium, (8192, medium[1])]
        if device == "cuda":
            width = WIDTHS[op]
            shapes += [(2**k // width, width) for k in ((26,) if quick else (20, 24, 26, 28))]
        found += [Case(op, shape) for shape in shapes]
        large = shapes[-1] if quick or device == "cpu" else shapes[-2]
        if op == "bce_with_logits":
            found += [Case(op, shape, target=torch.uint8) for shape in (medium, large)]
        found.append(Case(op, large, torch.bfloat16))
    return list(dict.fromkeys(found))


def run(
    device: str,
    quick: bool = True,
    compiled: bool = True,
    seconds: float = 0.5,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Row]:
    """Time every case; yields rows as they are measured.

    Args:
        device: "cpu" or "cuda".
        quick: fewer sizes.
        compiled: time `torch.compile` too, which takes some seconds a case.
        seconds: time spent on each measurement.
    """
    for case in cases(device, quick):
        progress(f"{case.op} {case.shape[0]}×{case.shape[1]} {case.dtype}, {case.target}")
        try:
            yield from _run_case(case, device, compiled, seconds, progress)
        except torch.OutOfMemoryError:
            progress("  skipped: out of memory")
            torch.cuda.empty_cache()


def _run_case(
    case: Case, device: str, compiled: bool, seconds: float, progress: Callable[[str], None]
) -> Iterator[Row]:
    inputs, functions = _prepare(case, device)
    if compiled:
        torch.compiler.reset()
        functions["compile"] = torch.compile(functions["eager"], dynamic=False)
        try:
            _call(functions["compile"], inputs, "both")
        except Exception as e:  # inductor's errors have no common type
            progress(f"  torch.compile failed and is left out: {str(e).splitlines()[0]:.100}")
            del functions["compile"]
    elements = case.shape[0] * case.shape[1]
    source = torch.zeros(elements, device=device)
    destination = torch.empty_like(source)
    for phase in ("forward", "backward", "both"):
        calls = {"copy": Call(lambda: None, lambda _: destination.copy_(source))}
        calls |= {name: _call(f, inputs, phase) for name, f in functions.items()}
        times = alternate(calls, device, seconds)
        copy_rate = 8 * elements / times["copy"][1]
        for name in functions:
            low, middle, high = times[name]
            rate = case.bytes(phase) / middle
            peak, launches = _memory_and_launches(calls[name], device)
            yield Row(
                op=case.op,
                shape=case.shape,
                dtype=_name(case.dtype),
                target=_name(case.target),
                phase=phase,
                implementation=name,
                us_20=round(1e6 * low, 2),
                us_50=round(1e6 * middle, 2),
                us_80=round(1e6 * high, 2),
                bytes=case.bytes(phase),
                gb_per_s=round(rate / 1e9, 2),
                of_copy=round(rate / copy_rate, 3),
                speedup_over_eager=round(times["eager"][1] / middle, 3),
                peak_mib=peak,
                launches=launches,
            )


def _prepare(case: Case, device: str) -> tuple[tuple[Tensor, ...], dict[str, Function]]:
    generator = torch.Generator(device).manual_seed(0)
    first, second = (
        torch.randn(case.shape, generator=generator, device=device, dtype=case.dtype)
        for _ in range(2)
    )
    if case.op == "bce_with_logits":
        target = torch.sigmoid(second)
        target = (target * 255).to(torch.uint8) if case.target == torch.uint8 else target
        return (first.requires_grad_(), target), {
            "eager": eager_bce,
            "gentool": functional.bce_with_logits,
        }
    step = torch.zeros((), dtype=torch.int64, device=device)
    return (first.requires_grad_(), second.requires_grad_()), {
        "eager": eager_reparam,
        "gentool": lambda m, v: functional.reparam_kl(m, v, 0, 1, step),
    }


def run_ours_once(case: Case, device: str) -> None:
    """One forward and one backward pass of ours, for a profiler to look at."""
    inputs, functions = _prepare(case, device)
    call = _call(functions["gentool"], inputs, "both")
    call.timed(call.before())


@dataclass(frozen=True)
class Call:
    """Something to time: `timed` is given what `before`, which is not timed, returned."""

    before: Callable[[], Any]
    timed: Callable[[Any], Any]


def _call(f: Function, inputs: tuple[Tensor, ...], phase: Phase) -> Call:
    """A call of one phase; the upstream gradients are ready beforehand."""
    learned = [x for x in inputs if x.requires_grad]

    def forward(_: Any = None) -> tuple[Tensor, ...]:
        y = f(*inputs)
        return y if isinstance(y, tuple) else (y,)

    grads = [torch.ones_like(y) for y in forward()]

    def backward(outputs: tuple[Tensor, ...]) -> Any:
        return torch.autograd.grad(outputs, learned, grads)

    backward(forward())  # what is compiled or allocated once is so before anything is timed
    if phase == "forward":
        return Call(lambda: None, forward)
    if phase == "backward":
        return Call(forward, backward)
    return Call(lambda: None, lambda _: backward(forward()))


def alternate(
    calls: dict[str, Call], device: str, seconds: float
) -> dict[str, tuple[float, float, float]]:
    """The 20, 50 and 80 % quantiles of each call's time in seconds, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call.timed(call.before())
    timed = _timed_cuda if device == "cuda" else _timed
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or len(times[next(iter(calls))]) < 5:
        for name, call in calls.items():
            timed(call)  # each finds its own memory and cache as its last call left them
            times[name] += [timed(call) for _ in range(4)]
    return {name: _quantiles(t) for name, t in times.items()}


def _quantiles(times: Sequence[float]) -> tuple[float, float, float]:
    fifths = statistics.quantiles(times, n=5, method="inclusive")
    return fifths[0], statistics.median(times), fifths[3]


def _timed(call: Call) -> float:
    given = call.before()
    begin = time.perf_counter()
    call.timed(given)
    return time.perf_counter() - begin


def _timed_cuda(call: Call) -> float:
    """Seconds that the device works on a call.

    The device is first kept waiting, so that everything is queued when it begins: small operations
    take it less time than they take the host to launch.
    """
    given = call.before()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(HEAD_START)
    begin.record()
    call.timed(given)
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def _memory_and_launches(call: Call, device: str) -> tuple[float | None, int | None]:
    """Peak memory beyond what was there, in MiB, and the number of kernels launched."""
    if device != "cuda":
        return None, None
    given = call.before()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call.timed(given)
    torch.cuda.synchronize()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    given = call.before()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call.timed(given)
        torch.cuda.synchronize()
    kernels = [e for e in profile.events() if e.device_type == DeviceType.CUDA]
    return round(peak, 2), len(kernels)


def environment(device: str) -> dict[str, Any]:
    """What the numbers were measured on and with."""
    facts = native.status()
    cpu = cpu_facts().get("model name", "cpu")
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device == "cuda" else None,
        "native": device in facts.devices,
        "compiler": facts.facts.get("compiler"),
        "commit": _commit(),
        "load": os.getloadavg()[0],
    }


def as_dict(row: Row) -> dict[str, Any]:
    return {**dataclasses.asdict(row), "shape": f"{row.shape[0]}x{row.shape[1]}"}


def write_csv(path: Path, rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> None:
    """One line a row, with the environment repeated in each, so that files can be joined."""
    with path.open("w", newline="") as file:
        names = [*(f.name for f in dataclasses.fields(Row)), *facts]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({**row, **facts} for row in rows)


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
