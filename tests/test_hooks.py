"""Plugins beyond models: found when needed, harmless when broken; their doctor; run events."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool import hooks, hookspecs, plugins
from gentool.data import registry
from gentool.errors import UserError

Cli = Callable[..., Result]
Announce = Callable[..., None]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--batch-size", "32")

MODEL = """
from dataclasses import dataclass
from typing import Annotated
from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option

{before}

@dataclass(frozen=True)
class Config:
    depth: {annotation} = 3

@hookimpl
def gentool_model():
    return ModelSpec(summary="a test", config=Config, factory="nowhere:Model"{more})
"""
DEPTH = 'Annotated[int, Option("how deep", min=1)]'

EARS = """
from gentool.hookspecs import hookimpl

heard = []

@hookimpl
def gentool_run_started(run, config):
    heard.append(("started", config["model"]))

@hookimpl
def gentool_run_logged(row):
    heard.append(("logged", row["split"], row["step"]))

@hookimpl
def gentool_run_epoch_ended(epoch, step):
    heard.append(("epoch", epoch, step))

@hookimpl
def gentool_run_finished(run):
    heard.append(("finished", run.path.name))

@hookimpl
def gentool_run_failed(error):
    heard.append(("failed", type(error).__name__))
"""


def model(before: str = "", annotation: str = DEPTH, more: str = "") -> str:
    return MODEL.format(before=before, annotation=annotation, more=more)


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Announce:
    """Install made-up packages, of acme or bolt: announce(distribution, name, source, group)."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("GENTOOL_PLUGINS", "acme,bolt")
    monkeypatch.setattr(plugins, "_manager", plugins._manager.__wrapped__)
    monkeypatch.setattr(hooks, "_called", set())
    monkeypatch.setattr(registry, "_SOURCES", list(registry._SOURCES))

    def add(distribution: str, name: str, source: str, group: str = hookspecs.HOOKS_GROUP) -> None:
        module = f"made_up_{distribution}_{name}"
        (folder / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        info = folder / f"{distribution}-2.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n"
        )
        with (info / "entry_points.txt").open("a") as points:
            points.write(f"[{group}]\n{name} = {module}\n")

    return add


def test_every_hook_has_a_test_and_a_page() -> None:
    """A policy: a new hook comes with both."""
    here = Path(__file__).resolve()
    tests = "".join(p.read_text() for p in here.parent.glob("test_*.py"))
    page = (here.parents[1] / "docs" / "plugins.md").read_text()
    names = [n for n, v in vars(hookspecs).items() if hasattr(v, "gentool_spec")]
    assert len(names) >= 9
    for name in names:
        assert re.search(rf"def {name}\(", tests) and name in page, name


BAD = {
    "raises": (model("raise RuntimeError('boom')"), "RuntimeError: boom"),
    "exits": (model("import os; os._exit(3)"), "ends Python with status 3"),
    "newer": (model("GENTOOL_API = 99"), "interface 99, this gentool has 1; upgrade gentool"),
    "older": (model(more=", api_version=0"), "interface 0, this gentool has 1; upgrade acme"),
    "typed": (model(annotation="dict"), "Config.depth has the unsupported type"),
    "slow": (model("import time; time.sleep(0.7)"), "s to import"),
    "heavy": (model("import torch"), "it imports torch"),
    "vae": (model(), "the built-in 'vae' wins; this one is 'acme:vae'"),
}


@pytest.mark.slow
def test_bad_plugins_harm_nobody_and_the_doctor_names_each(
    announce: Announce, cli: Cli, tmp_path: Path
) -> None:
    for name, (source, _) in BAD.items():
        announce("acme", name, source, hookspecs.GROUP)
    announce("acme", "typo", "from gentool.hookspecs import hookimpl\n@hookimpl\n"
             "def gentool_metric(register): ...\n")  # fmt: skip
    announce("acme", "pause", "import time; time.sleep(2)")
    announce("acme", "folder", "")
    (tmp_path / "site" / "made_up_acme_folder.py").unlink()
    (tmp_path / "site" / "made_up_acme_folder").mkdir()
    announce("acme", "other", "def gentool_metrics(register): ...\n")
    assert cli("--help").code == 0
    trained = cli("train", "vae", *SMALL, "--steps", "1", "--out", "run")
    assert trained.code == 0 and "also claimed by acme:vae" in trained.err, trained.err
    assert not {f"made_up_acme_{n}" for n in (*BAD, "pause")} & sys.modules.keys()
    helped = cli("train", "--help")  # which tells what each model is, and of which it cannot
    assert helped.code == 0 and "does not load: `gentool models`" in " ".join(helped.out.split())
    assert not {"made_up_acme_raises", "made_up_acme_exits"} & sys.modules.keys()
    listed = cli("plugins", "list")
    assert listed.code == 0 and "made_up_acme_pause" in listed.out
    found = cli("plugins", "doctor", "--json")
    by_name = {(f["distribution"], f["name"]): f for f in json.loads(found.out)}
    assert found.code == 1 and by_name["gentool", "vae"]["problem"] == ""
    for name, (_, words) in BAD.items():
        finding = by_name["acme", name]
        told = [finding["problem"], *finding["advice"]]
        assert any(words in line for line in told), (name, told)
        assert finding["version"] == "2.5" and "\n" not in finding["problem"]
    assert "boom" in by_name["acme", "raises"]["traceback"]
    assert by_name["acme", "pause"]["seconds"] > 2
    assert "a folder of that name" in by_name["acme", "folder"]["problem"]
    assert by_name["acme", "other"]["problem"] == "it implements no hook"
    assert "did you mean 'gentool_metrics'" in by_name["acme", "typo"]["advice"][0]


@pytest.mark.slow
def test_the_doctor_speaks_to_people(announce: Announce, cli: Cli) -> None:
    announce("acme", "raises", BAD["raises"][0], hookspecs.GROUP)
    plain, full = cli("plugins", "doctor"), cli("plugins", "doctor", "--traceback")
    assert "acme:raises: RuntimeError: boom" in plain.out and "Traceback" not in plain.out
    assert "Traceback" in full.out and "made_up_acme_raises.py" in full.out


@pytest.mark.slow
def test_the_environment_restricts_and_traces(
    announce: Announce, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce("acme", "deep", model(), hookspecs.GROUP)
    announce("bolt", "flat", model(), hookspecs.GROUP)

    def names() -> set[str]:
        return {r["name"] for r in json.loads(cli("models", "--json").out)}

    built_in = names() - {"deep", "flat"}
    assert {"vae", "gan"} <= built_in
    for value, expected in (("acme", {"deep"}), ("flat", {"flat"}), ("", set()), ("x", set())):
        monkeypatch.setenv("GENTOOL_PLUGINS", value)
        assert names() == built_in | expected, value
    assert "names 'x'" in cli("plugins", "doctor").err
    monkeypatch.setenv("GENTOOL_PLUGINS", "acme")
    monkeypatch.setenv("GENTOOL_TRACE", "1")
    assert "trace: acme:deep gentool_model()" in cli("models").err
    monkeypatch.setenv("GENTOOL_TRACE", "0")
    assert "trace" not in cli("models").err


SOURCES = """
from gentool.spec import SourceInfo
from gentool.hookspecs import hookimpl

@hookimpl
def gentool_data_sources(register):
    register(SourceInfo("{name}", "built-in", "a test", "{module}_work:load", argument="WORD"))
"""
WORK = """
import numpy as np
from gentool.data.dataset import Loaded, Split

def load(request):
    x = np.full((40, 2), float(len(request.argument)), np.float32)
    return Loaded(Split(x), None, content=request.argument)
"""


def test_data_sources_come_when_no_built_in_has_the_name(
    announce: Announce, cli: Cli, tmp_path: Path
) -> None:
    announce("acme", "words", SOURCES.format(name="words", module="words"))
    (tmp_path / "site" / "words_work.py").write_text(WORK)
    announce("bolt", "broken", "raise RuntimeError('boom')")
    found = cli("data", "inspect", "words:hello", "--json")
    assert found.code == 0 and "boom" not in found.err, found.err  # found first, by its name
    assert registry.resolve("words:hello", registry.DataOptions(), print).argument == "hello"
    listed = cli("data", "list")
    assert "words" in listed.out and "bolt:broken does not load (RuntimeError: boom" in listed.err
    assert "boom" not in cli("data", "inspect", "glyphs:50").err


def test_a_name_that_is_taken_stays_whose_it_was(announce: Announce) -> None:
    announce("acme", "ring", SOURCES.format(name="ring", module="ring"))
    with pytest.warns(UserWarning, match="'ring' is registered already"):
        sources = registry.sources()
    assert [s.loader for s in sources if s.name == "ring"] == ["gentool.data.sources.points:load"]


METRICS = """
from gentool.hookspecs import hookimpl
from gentool.spec import MetricInfo

@hookimpl
def gentool_metrics(register):
    register(MetricInfo("size", "a test", "size_work:size", compares="examples", default=False))
"""


def test_metrics_come_when_they_are_named(
    announce: Announce, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gentool.metrics import registry as metrics

    monkeypatch.setattr(metrics, "_METRICS", list(metrics._METRICS))
    announce("acme", "size", METRICS)
    (tmp_path / "site" / "size_work.py").write_text(
        "def size(real, other):\n    return {'size': float(other.shape[1])}\n"
    )
    cli("train", "vae", "--data", "ring:200", "--hidden", "8", "--steps", "2", "--out", "run")
    found = cli("evaluate", "run", "--metrics", "size", "--n", "20", "--json")
    assert found.code == 0, found.err
    assert re.search(r'"size"', found.out) and "2.0" in found.out


DOWNLOADS = """
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published
from gentool.hookspecs import hookimpl
from gentool.spec import DownloadInfo

NET = Published("net", ("http://127.0.0.1:9/",), (Download("net.bin", 3, sha256="0" * 64),))

@hookimpl
def gentool_downloads(register):
    register(DownloadInfo("net", "a network", "made_up_acme_net:NET"))
"""


def test_downloads_come_when_they_are_named(
    announce: Announce, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_DOWNLOADS", [])
    announce("acme", "net", DOWNLOADS)
    told = cli("data", "fetch", "net")
    assert told.code == 2 and "net.bin" in told.err and "downloads/net" in told.err, told.err


DEAF = """
from gentool.errors import UserError
from gentool.hookspecs import hookimpl

@hookimpl
def gentool_logger_ready():
    raise UserError("deaf needs ears")
"""


def test_a_logger_refuses_before_anything_is_written(announce: Announce, cli: Cli) -> None:
    announce("acme", "deaf", DEAF)
    told = cli("train", "vae", *SMALL, "--steps", "2", "--log", "deaf")
    assert told.code == 2 and "deaf needs ears" in told.err and not Path("runs").exists()


def test_run_events_reach_the_loggers_that_are_named(announce: Announce, cli: Cli) -> None:
    announce("acme", "ears", EARS)
    done = cli("train", "vae", *SMALL, "--epochs", "2", "--log", "ears", "--out", "run")
    assert done.code == 0, done.err
    heard = sys.modules["made_up_acme_ears"].heard
    assert heard[0] == ("started", "vae") and heard[-1] == ("finished", "run")
    assert [h for h in heard if h[0] == "epoch"] == [("epoch", 1, 2), ("epoch", 2, 4)]
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    logged = [h for h in heard if h[0] == "logged"]
    assert logged == [("logged", r["split"], r["step"]) for r in rows]
    heard.clear()
    assert cli("resume", "run", "--epochs", "3").code == 0
    assert heard[0][0] == "started" and ("epoch", 3, 6) in heard
    heard.clear()
    assert cli("train", "vae", *SMALL, "--steps", "2", "--out", "quiet").code == 0
    assert not heard, "an installed logger hears only what it is asked to"


def test_a_failed_run_is_told_of(announce: Announce, cli: Cli) -> None:
    announce("acme", "ears", EARS)
    failed = cli("train", "vae", *SMALL, "--lr", "1e30", "--log", "ears", "--out", "run")
    assert failed.code == 2 and "finite" in failed.err
    assert sys.modules["made_up_acme_ears"].heard[-1] == ("failed", "UserError")
    stopped = cli("train", "vae", *SMALL, "--max-time", "0", "--log", "ears", "--out", "other")
    assert "gentool resume" in stopped.err
    assert sys.modules["made_up_acme_ears"].heard[-1] == ("failed", "Stopped")


def test_a_logger_that_fails_is_silenced_and_training_goes_on(announce: Announce, cli: Cli) -> None:
    announce("acme", "ears", EARS.replace('heard.append(("logged"', 'raise OSError(("full"'))
    done = cli("train", "vae", *SMALL, "--epochs", "2", "--log", "ears", "--out", "run")
    assert done.code == 0 and done.err.count("acme:ears failed and hears nothing more (OSErr") == 1
    assert sys.modules["made_up_acme_ears"].heard == [("started", "vae")]
    announce("bolt", "deaf", EARS.replace('heard.append(("started"', 'raise OSError(("no"'))
    refused = cli("train", "vae", *SMALL, "--log", "deaf", "--out", "other")
    assert refused.code == 2 and "bolt:deaf" in refused.err
    unknown = cli("train", "vae", *SMALL, "--log", "eras", "--out", "third")
    assert unknown.code == 2 and "did you mean 'ears'" in unknown.err
    assert not Path("third").exists()


def test_listeners_are_looked_up_by_full_name_too(announce: Announce) -> None:
    announce("acme", "ears", EARS)
    assert hooks.Events(["acme:ears"]).listeners[0].distribution == "acme"
    with pytest.raises(UserError, match="no installed plugin"):
        hooks.Events(["bolt:ears"])


def test_damaged_metadata_hides_one_package_only(announce: Announce, tmp_path: Path) -> None:
    announce("acme", "deep", model(), hookspecs.GROUP)
    (tmp_path / "site" / "acme-2.5.dist-info" / "METADATA").unlink()
    names = {p.name for p in plugins.installed()}
    assert "vae" in names and "deep" not in names


def test_listing_plugins_is_quick() -> None:
    code = "import sys; from gentool.cli.main import app; from gentool import hooks, plugins; "
    code += "plugins.installed('gentool.hooks'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
