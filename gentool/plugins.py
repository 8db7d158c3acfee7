"""Finding plugins: entry points in, `ModelSpec`s and hook calls out.

Entry points are listed without importing anything, and a plugin is imported only when what it
brings is asked for, each in its own try. So one that is broken or slow harms nobody else.

``GENTOOL_PLUGINS=a,b`` leaves only the packages (or entry points) of those names, and the
toolkit's own; ``GENTOOL_TRACE=1`` shows every hook call on stderr.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from gentool import hookspecs
from gentool.errors import UserError, described, nearest, printable
from gentool.options import SpecError, fields_of
from gentool.spec import API_VERSION, ModelSpec

OWN = "gentool"
"""The toolkit's own distribution; it wins a clash of names."""


class VersionError(SpecError):
    """A plugin was written for another version of the interface."""


@dataclass(frozen=True)
class Plugin:
    """An entry point that promises something; nothing of it is imported yet."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def full_name(self) -> str:
        """``DIST:NAME``, which is never ambiguous."""
        return f"{self.distribution}:{self.name}"


@cache
def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("gentool")
    manager.add_hookspecs(hookspecs)
    if os.environ.get("GENTOOL_TRACE", "0") not in ("", "0"):
        manager.add_hookcall_monitoring(_trace, lambda *_: None)
    return manager


def _trace(hook: str, methods: Any, arguments: Any) -> None:
    for method in methods:
        shown = ", ".join(printable(f"{k}={v}", 60) for k, v in arguments.items())
        print(f"trace: {method.plugin_name} {hook}({shown})", file=sys.stderr, flush=True)


def canonical(name: str) -> str:
    """A package's name as packaging tools compare it: ``My_Flow`` is ``my-flow``."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _allowed(plugin: Plugin) -> bool:
    names = os.environ.get("GENTOOL_PLUGINS")
    if names is None or plugin.distribution == OWN:
        return True
    asked = {canonical(n) for n in names.split(",")}
    return bool(asked & {canonical(plugin.distribution), canonical(plugin.name)})


def unmatched() -> list[str]:
    """Names in GENTOOL_PLUGINS that nothing installed has."""
    asked = [n for n in os.environ.get("GENTOOL_PLUGINS", "").split(",") if n.strip()]
    here = installed(hookspecs.GROUP) + installed(hookspecs.HOOKS_GROUP)
    known = {canonical(n) for p in here for n in (p.name, p.distribution)}
    return [n for n in asked if canonical(n) not in known]


def installed(group: str = hookspecs.GROUP) -> list[Plugin]:
    """Every announced plugin, the toolkit's own first, then by name; none is imported."""
    found = {p for e in entry_points(group=group) if (p := _announced(e)) and _allowed(p)}
    return sorted(found, key=lambda p: (p.distribution != OWN, p.name, p.distribution))


def _announced(entry_point: EntryPoint) -> Plugin | None:
    """The plugin of an entry point; None where its package's metadata is damaged."""
    try:
        name, version = entry_point.dist.name, entry_point.dist.version  # type: ignore[union-attr]
    except (AttributeError, KeyError, OSError, ValueError):
        return None
    return Plugin(entry_point.name, name, version or "?", entry_point) if name else None


def by_short_name() -> dict[str, list[Plugin]]:
    """Plugins grouped by the name that users type."""
    groups: dict[str, list[Plugin]] = {}
    for plugin in installed():
        groups.setdefault(plugin.name, []).append(plugin)
    return groups


def find(name: str) -> Plugin:
    """Look a model up by ``NAME`` or ``DIST:NAME``; raises UserError where it is not clear."""
    if ":" in name:
        for plugin in installed():
            if plugin.full_name == name:
                return plugin
        known = [p.full_name for p in installed()]
        raise UserError(
            f"no installed plugin is called {printable(name)!r}{nearest(name, known)}; "
            "`gentool models` lists them"
        )
    groups = by_short_name()
    candidates = groups.get(name, [])
    if not candidates:
        raise UserError(
            f"unknown model {printable(name)!r}{nearest(name, groups)}; `gentool models` lists them"
        )
    if len(candidates) > 1 and candidates[0].distribution == OWN:
        others = ", ".join(p.full_name for p in candidates[1:])
        warnings.warn(
            f"the model name {name!r} is also claimed by {others}; the built-in one is used",
            stacklevel=2,
        )
    elif len(candidates) > 1:
        names = " or ".join(p.full_name for p in candidates)
        raise UserError(f"two plugins are called {name!r}; say which one: {names}")
    return candidates[0]


def spec_of(plugin: Plugin) -> ModelSpec:
    """Import a plugin and return its checked spec; whatever is wrong with it is a UserError."""
    try:
        specs = call(plugin, "gentool_model")
        if len(specs) != 1:
            raise SpecError(f"it implements gentool_model {len(specs)} times, not once")
        check_spec(plugin, specs[0])
    except (Exception, SystemExit) as error:
        raise UserError(explanation(plugin, error)) from error
    assert isinstance(specs[0], ModelSpec)
    return specs[0]


def explanation(plugin: Plugin, error: BaseException) -> str:
    """One sentence on why a plugin does not load, and what to do."""
    if isinstance(error, VersionError):
        return f"the plugin {plugin.full_name} does not load: {error}"
    return does_not_load(plugin, described(error))


def does_not_load(plugin: Plugin, reason: str) -> str:
    return (
        f"the plugin {plugin.full_name} does not load ({reason}); "
        f"reinstall or uninstall the package {plugin.distribution}"
    )


def call(plugin: Plugin, hook: str, **arguments: Any) -> list[Any]:
    """Import `plugin` where it is not yet, and call one hook on it alone."""
    manager = _manager()
    module = register(plugin, manager)
    others = [p for p in manager.get_plugins() if p is not module]
    results: list[Any] = manager.subset_hook_caller(hook, remove_plugins=others)(**arguments)
    return results


def register(plugin: Plugin, manager: pluggy.PluginManager | None = None) -> Any:
    """Import a plugin's module and let pluggy check its hooks; raises whatever is wrong."""
    manager, module = manager or _manager(), plugin.entry_point.load()
    check_version(plugin, getattr(module, "GENTOOL_API", API_VERSION))
    if not manager.is_registered(module):
        manager.register(module, name=plugin.full_name)
    return module


def check_version(plugin: Plugin, wanted: object) -> None:
    """Raise VersionError where a plugin was written for another interface than this one."""
    if wanted != API_VERSION:
        newer = isinstance(wanted, int) and wanted > API_VERSION
        raise VersionError(
            f"it was written for plugin interface {wanted}, this gentool has {API_VERSION}; "
            f"upgrade {'gentool' if newer else plugin.distribution}"
        )


def check_spec(plugin: Plugin, spec: object) -> None:
    """Hold what a plugin handed over to the contract; raises SpecError."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(f"gentool_model returned {type(spec).__name__}, not a ModelSpec")
    check_version(plugin, spec.api_version)
    fields_of(spec.config)
