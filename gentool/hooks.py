"""Beyond models: data sources, metrics, exporters and loggers that other packages bring.

Their modules are announced in the entry-point group `gentool.hooks`, and are imported when a verb
needs something that the toolkit itself does not have. See `gentool.hookspecs` for the hooks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gentool import plugins, quarantine
from gentool.errors import UserError, described, nearest, printable
from gentool.hookspecs import HOOKS_GROUP

if TYPE_CHECKING:
    from gentool.runs import Run

_called: set[tuple[str, str]] = set()


def collect(
    hook: str,
    register: Callable[[Any], None],
    wanted: str = "",
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Let plugins register what they bring, each in its own try and once a process.

    Args:
        hook: a hook that takes `register`, such as ``gentool_metrics``.
        wanted: the name that is looked for; plugins whose entry point is called so come first.
        enough: asked before each plugin is imported; True ends the search.
    """
    found = sorted(plugins.installed(HOOKS_GROUP), key=lambda p: p.name != wanted)
    found = [p for p in found if (p.full_name, hook) not in _called]
    # Of many that nobody asked for by name, none may take the verb with it.
    bad = {} if wanted else quarantine.problems(found)
    for plugin in found:
        if enough():
            return
        _called.add((plugin.full_name, hook))
        try:
            if plugin.full_name in bad:
                warnings.warn(plugins.does_not_load(plugin, bad[plugin.full_name]), stacklevel=2)
                continue
            plugins.call(plugin, hook, register=register)
        except (Exception, SystemExit) as error:
            warnings.warn(plugins.explanation(plugin, error), stacklevel=2)


class Events:
    """Tells the plugins that ``--log`` names how a run goes. Without any it does nothing.

    Training is worth more than its logs: a listener that fails after the start is dropped.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Raises UserError for a name that no installed plugin has, or one that cannot work."""
        self.listeners = [_listener(name) for name in names]
        self._require("gentool_logger_ready")

    def started(self, run: Run) -> None:
        """Raises UserError where a listener cannot work, before time is spent on training."""
        if self.listeners:
            self._require("gentool_run_started", run=run, config=run.read_config())

    def _require(self, hook: str, **facts: Any) -> None:
        for plugin in self.listeners:
            try:
                plugins.call(plugin, hook, **facts)
            except UserError:
                raise
            except (Exception, SystemExit) as error:
                raise UserError(plugins.explanation(plugin, error)) from error

    def logged(self, run: Run, row: dict[str, Any]) -> None:
        self._tell("gentool_run_logged", run=run, row=row)

    def epoch_ended(self, run: Run, epoch: int, step: int) -> None:
        self._tell("gentool_run_epoch_ended", run=run, epoch=epoch, step=step)

    def finished(self, run: Run) -> None:
        self._tell("gentool_run_finished", run=run)

    def failed(self, run: Run, error: BaseException) -> None:
        self._tell("gentool_run_failed", run=run, error=error)

    def _tell(self, hook: str, **facts: Any) -> None:
        for plugin in list(self.listeners):
            try:
                plugins.call(plugin, hook, **facts)
            except (Exception, SystemExit) as error:
                self.listeners.remove(plugin)
                reason = described(error)
                warnings.warn(
                    f"the logger {plugin.full_name} failed and hears nothing more ({reason})",
                    stacklevel=2,
                )


def _listener(name: str) -> plugins.Plugin:
    """The hooks plugin called NAME or DIST:NAME; the toolkit's own comes first in the list."""
    found = plugins.installed(HOOKS_GROUP)
    for plugin in found:
        if name in (plugin.name, plugin.full_name):
            return plugin
    raise UserError(
        f"--log {printable(name)!r} is no installed plugin"
        f"{nearest(name, [p.name for p in found])}; `gentool plugins list` shows them"
    )
