"""``gentool kernels``: the compiled kernels: what is loaded, building them, timing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gentool.console import print_json, print_table, say, tell
from gentool.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Compiled kernels: what is loaded, build, time them.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(json: Json = False) -> None:
    """Say which kernels are loaded, for which device, and if none, why and how to fix it."""
    found = _status()
    if json:
        print_json(found)
        return
    rows = [
        (
            device,
            "native" if facts["native"] else "reference (plain torch)",
            facts["reason"] or "",
            facts["remedy"] or "",
        )
        for device, facts in found["devices"].items()
    ]
    print_table(("device", "kernels", "why", "fix"), rows)
    for name in ("library", "compiler", "cpu_vectors", "cuda_targets", "torch"):
        if found[name]:
            tell(f"{name:<12} {found[name]}")


@app.command()
def build() -> None:
    """Compile the kernels for this machine into the user's cache; takes a minute or so."""
    from gentool.ops import build as builder

    if builder.cuda_targets() is None:
        say(f"building for the CPU only: {builder.why_no_cuda()}")
    try:
        tell(str(builder.build()))
    except (RuntimeError, OSError) as e:
        raise UserError(f"the kernels were not built: {e}") from e


@app.command()
def bench(
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    full: Annotated[bool, typer.Option("--full", help="All sizes; takes minutes.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Time torch.compile as well.")
    ] = True,
    json: Json = False,
    out: Annotated[Path | None, typer.Option(help="Also write a CSV file.")] = None,
) -> None:
    """Time each operation against eager PyTorch and torch.compile."""
    import torch

    from gentool.ops import bench as timing

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"--device {device!r} cannot be timed here; give cpu, or cuda with a GPU")
    facts = timing.environment(device)
    if not facts["native"]:
        say(f"no native kernels for {device}: 'gentool' below is the reference")
    rows = [timing.as_dict(r) for r in timing.run(device, not full, compiled, progress=say)]
    if out is not None:
        timing.write_csv(out, rows, facts)
    if json:
        print_json({"environment": facts, "rows": rows})
        return
    columns = ("op", "shape", "dtype", "target", "phase", "implementation", "us_50",
               "gb_per_s", "of_copy", "speedup_over_eager")  # fmt: skip
    print_table(columns, [[str(row[c]) for c in columns] for row in rows])


def _status() -> dict[str, Any]:
    import torch

    from gentool.ops import build as builder
    from gentool.ops import native

    loaded = native.status()
    devices: dict[str, Any] = {}
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        reason, remedy = loaded.reason, loaded.remedy
        if loaded.path and not native.serves(device):
            # The library was built where CUDA kernels could not be.
            reason = builder.why_no_cuda() if builder.cuda_targets() is None else "built without"
            remedy = native.BUILD
        has = native.serves(device)
        devices[device] = {"native": has, "reason": reason or None, "remedy": remedy or None}
    facts = loaded.facts
    return {
        "devices": devices,
        "library": str(loaded.path) if loaded.path else None,
        "torch": torch.__version__,
        **{k: facts.get(k) for k in ("compiler", "cpu_vectors", "cuda_version", "cuda_targets",
                                     "dtypes", "threads", "source_directory")},
    }  # fmt: skip
