"""Finding models: entry points in, `ModelSpec`s out.

Entry points are listed without importing anything, and a plugin is imported only when its model
is asked for, each in its own try. So a plugin that is broken or slow harms nobody else.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import pluggy

from gentool import hookspecs
from gentool.errors import UserError, nearest, printable
from gentool.options import SpecError, fields_of
from gentool.spec import API_VERSION, ModelSpec

OWN = "gentool"
"""The toolkit's own distribution; it wins a clash of names."""


@dataclass(frozen=True)
class Plugin:
    """An entry point that promises a model; nothing of it is imported yet."""

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
    return manager


def installed() -> list[Plugin]:
    """Every announced model, the toolkit's own first, then by name; no plugin is imported."""
    found = {
        Plugin(e.name, e.dist.name, e.dist.version, e)
        for e in entry_points(group=hookspecs.GROUP)
        if e.dist is not None
    }
    return sorted(found, key=lambda p: (p.distribution != OWN, p.name, p.distribution))


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
        spec = _load(plugin)
        check_spec(spec)
    except (Exception, SystemExit) as error:
        reason = printable(f"{type(error).__name__}: {error}", 300)
        raise UserError(
            f"the plugin {plugin.full_name} does not load ({reason}); "
            f"reinstall or uninstall the package {plugin.distribution}"
        ) from error
    return spec


def _load(plugin: Plugin) -> ModelSpec:
    manager, module = _manager(), plugin.entry_point.load()
    if not manager.is_registered(module):
        manager.register(module, name=plugin.full_name)
    others = [p for p in manager.get_plugins() if p is not module]
    specs = manager.subset_hook_caller("gentool_model", remove_plugins=others)()
    if len(specs) != 1:
        raise SpecError(f"it implements gentool_model {len(specs)} times, not once")
    return specs[0]


def check_spec(spec: object) -> None:
    """Hold what a plugin handed over to the contract; raises SpecError."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(f"gentool_model returned {type(spec).__name__}, not a ModelSpec")
    if spec.api_version != API_VERSION:
        raise SpecError(
            f"it was written for plugin interface {spec.api_version}, this is {API_VERSION}"
        )
    from gentool.train.settings import core_fields

    ours = core_fields()
    taken = {f.flag for f in ours} | {f.name for f in ours}
    for field in fields_of(spec.config):
        if field.flag in taken or field.name in taken:
            raise SpecError(f"its option {field.flag} clashes with an option of gentool train")
    names = {f.name for f in ours}
    for name in spec.defaults:
        if name not in names:
            raise SpecError(f"its default for {name!r} is no option of gentool train")
