"""``gentool plugins doctor``: every plugin imported in a process of its own, timed and explained.

A plugin that hangs, exits or crashes does so there, and one's imports do not hide another's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass

from gentool import hookspecs, plugins, subprocesses
from gentool.errors import UserError, described, nearest

SLOW = 0.5
"""Seconds; a slower door makes every verb that opens it feel slow."""

PATIENCE = 60.0
MARK = "gentool-finding:"


@dataclass(frozen=True)
class Finding:
    """What the doctor knows of one plugin.

    Attributes:
        seconds: to import the module and ask it what it brings.
        hooks: that it implements.
        problem: one line, or empty where all is well.
        advice: further lines: slow, shadowed, a hook that does not exist.
    """

    name: str
    distribution: str
    version: str
    group: str
    module: str
    seconds: float = 0.0
    hooks: tuple[str, ...] = ()
    problem: str = ""
    traceback: str = ""
    advice: tuple[str, ...] = ()


def examine_all() -> list[Finding]:
    """A finding for each announced plugin, models first."""
    groups = (hookspecs.GROUP, hookspecs.HOOKS_GROUP)
    return [examine(p, group) for group in groups for p in plugins.installed(group)]


def examine(plugin: plugins.Plugin, group: str) -> Finding:
    """Import one plugin in a fresh process, and say how that went."""
    facts = (plugin.name, plugin.distribution, plugin.version, group, plugin.entry_point.value)
    try:
        done = subprocess.run(
            subprocesses.python("-m", "gentool.checkup", group, plugin.full_name),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=subprocesses.environment(GENTOOL_TRACE="0"),
        )
    except subprocess.TimeoutExpired:
        return Finding(*facts, PATIENCE, problem=f"it is not imported after {PATIENCE:.0f} s")
    lines = [x for x in done.stdout.splitlines() if x.startswith(MARK)]
    if not lines:
        problem = f"importing it ends Python with status {done.returncode}"
        return Finding(*facts, problem=problem, traceback=done.stderr)
    found = json.loads(lines[-1].removeprefix(MARK))
    advice = [*found.pop("advice"), *_clash(plugin, group)]
    return Finding(
        *facts,
        seconds=found["seconds"],
        hooks=tuple(found["hooks"]),
        problem=found["problem"],
        traceback=found["traceback"],
        advice=tuple(advice),
    )


def _clash(plugin: plugins.Plugin, group: str) -> list[str]:
    """What happens to this plugin where another has its name."""
    same = [p for p in plugins.installed(group) if p.name == plugin.name and p != plugin]
    if not same or plugin.distribution == plugins.OWN:
        return []
    if same[0].distribution == plugins.OWN:
        return [f"the built-in {plugin.name!r} wins; this one is {plugin.full_name!r}"]
    others = ", ".join(p.full_name for p in same)
    return [f"the name is also claimed by {others}; say {plugin.full_name!r}"]


def probe(plugin: plugins.Plugin, group: str) -> Finding:
    """Import a plugin here and now, and ask it what it brings."""
    from gentool.train.settings import check_spec_options  # its import is not the plugin's time

    hooks: list[str] = []
    advice: list[str] = []
    problem = trace = ""
    torch_was_there = "torch" in sys.modules
    began = time.perf_counter()
    try:
        module = plugins.register(plugin)
        if group == hookspecs.GROUP:
            check_spec_options(plugins.spec_of(plugin))
        hooks, unknown = implemented(module)
        advice += [f"{n} is no hook{nearest(n, known_hooks())}" for n in unknown]
        if getattr(module, "__file__", "") is None:
            problem = "what is imported is a folder of that name, not the module; go elsewhere"
        elif not hooks:
            problem = "it implements no hook"
    except (Exception, SystemExit) as error:
        cause = error.__cause__ if isinstance(error, UserError) and error.__cause__ else error
        problem = described(cause)
        trace = "".join(traceback.format_exception(cause))
    seconds = time.perf_counter() - began
    if "torch" in sys.modules and not torch_was_there:
        advice.append("it imports torch; move that into the module that does the work")
    if seconds > SLOW:
        advice.append(f"it takes {seconds:.1f} s to import")
    return Finding(
        plugin.name,
        plugin.distribution,
        plugin.version,
        group,
        plugin.entry_point.value,
        seconds,
        tuple(hooks),
        problem,
        trace,
        tuple(advice),
    )


def known_hooks() -> list[str]:
    """The name of every hook there is."""
    return [name for name, value in vars(hookspecs).items() if hasattr(value, "gentool_spec")]


def implemented(module: object) -> tuple[list[str], list[str]]:
    """The hooks that a module implements, and marked functions that are none."""
    marked = [name for name in dir(module) if hasattr(getattr(module, name, None), "gentool_impl")]
    known = set(known_hooks())
    return [n for n in marked if n in known], [n for n in marked if n not in known]


def main() -> None:
    """``python -m gentool.checkup GROUP DIST:NAME`` prints a finding as JSON."""
    group, full_name = sys.argv[1:]
    plugin = next(p for p in plugins.installed(group) if p.full_name == full_name)
    finding = probe(plugin, group)
    print("\n" + MARK + json.dumps(asdict(finding)), flush=True)


if __name__ == "__main__":
    main()
