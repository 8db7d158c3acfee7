"""Times the kernels and writes a CSV: ``python benchmarks/kernels.py [--quick] [--device cuda]``.

The same measurements as ``gentool kernels bench``, kept in benchmarks/results/DEVICE/kernels.csv.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gentool.ops import bench


def at_real_time_priority(measure: Callable[..., Any]) -> Callable[..., Any]:
    """`measure`, with all threads of this process ahead of every other process (Linux, root).

    On a busy machine the threads of one operation otherwise wait for each other's turn.
    """

    def set_for_all(policy: int, priority: int) -> None:
        for task in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))

    def measured(*args: Any) -> Any:
        set_for_all(os.SCHED_FIFO, 10)
        try:
            return measure(*args)
        finally:
            set_for_all(os.SCHED_OTHER, 0)

    return measured


LARGE = 2**26
"""Elements of the cases that a profiler looks at: beyond every cache."""


def run_once(device: str) -> None:
    """Both passes of our operations on large inputs, in the dtypes that the pages speak of."""
    u8, f32, bf16 = torch.uint8, torch.float32, torch.bfloat16
    for op, dtype, target in (
        ("bce_with_logits", f32, f32),
        ("bce_with_logits", f32, u8),
        ("bce_with_logits", bf16, bf16),
        ("bce_with_logits", bf16, u8),
        ("reparam_kl", f32, f32),
        ("reparam_kl", bf16, bf16),
    ):
        width = bench.WIDTHS[op]
        bench.run_ours_once(bench.Case(op, (LARGE // width, width), dtype, target), device)
        print(op, dtype, target, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    parser.add_argument("--out", type=Path, help="folder for kernels.csv")
    parser.add_argument(
        "--once", action="store_true", help="run the large cases once each, for a profiler"
    )
    parser.add_argument("--realtime", action="store_true", help="ahead of all other processes")
    options = parser.parse_args()
    if options.realtime:
        bench.alternate = at_real_time_priority(bench.alternate)

    if options.once:
        run_once(options.device)
        return
    facts = bench.environment(options.device)
    slug = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    out = options.out or Path(__file__).resolve().parent / "results" / slug
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in bench.run(
        options.device,
        options.quick,
        not options.no_compile,
        options.seconds,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    ):
        rows.append(bench.as_dict(row))
        print(
            f"{row.op:16} {row.shape[0]:>8}x{row.shape[1]:<5} {row.dtype:9} {row.target:8} "
            f"{row.phase:9} {row.implementation:8} {row.us_50:>12.2f} us {row.gb_per_s:>9.2f} GB/s "
            f"{row.of_copy:6.3f} of copy {row.speedup_over_eager:6.2f}x eager",
            flush=True,
        )
        bench.write_csv(out / "kernels.csv", rows, facts)  # as they come: a run may be cut short
    print(out / "kernels.csv")


if __name__ == "__main__":
    main()
