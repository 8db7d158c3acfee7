"""Panels that other packages bring, the page in a notebook, and an hour's enemies in a minute."""

from __future__ import annotations

import http.client
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer import exploring

import gentool
from gentool import hooks
from gentool.explore import panels

VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 2, "--epochs", 1)

PLUGIN = """
from gentool.hookspecs import hookimpl
from gentool.spec import Control, PanelInfo

@hookimpl
def gentool_panels(register):
    controls = (Control("at", "point"), Control("times", "number", 0, 4, 1),
                Control("many", "whole", 1, 5, 2),
                Control("how", "choice", default="a", choices=("a", "b")))
    register(PanelInfo("contrast", "Contrast", "acme_contrast:show", "more of it", controls))
    register(PanelInfo("scores", "Scores", "acme_contrast:show", needs="score"))
    register(PanelInfo("broken", "Broken", "acme_contrast:broken"))
    register(PanelInfo("gone", "Gone", "acme_contrast:nothing"))
"""


def show(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    x = model.sample(1, z=values["at"])[0] * values["times"]
    return {"how": values["how"], "mean": float(x.mean()), "all": np.stack([x] * values["many"])}


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with panels is installed."""
    code = types.ModuleType("acme_contrast")
    code.show = show  # type: ignore[attr-defined]
    code.broken = lambda model, values: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_contrast", code)
    module = types.ModuleType("acme_panels")
    exec(PLUGIN, module.__dict__)
    monkeypatch.setattr(panels, "_PANELS", {})

    def collect(hook: str, register: Callable[..., None], *_: object) -> None:
        assert hook == "gentool_panels"
        module.gentool_panels(register)

    monkeypatch.setattr(hooks, "collect", collect)


@pytest.mark.usefixtures("announced")
def test_a_panel_of_another_package(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    with exploring("run") as client:
        known = client.ask("panel/known").facts["panels"]
        assert [one["name"] for one in known] == ["contrast", "broken", "gone"]
        values = {"at": {"seed": 3}, "times": 0.5, "many": 3, "how": "b"}
        found = client.ask("panel/show", panel="contrast", values=values)
        x = gentool.load("run").sample(1, seed=3)[0].numpy() * 0.5
        assert [one["name"] for one in found.facts["shown"]] == ["how", "mean", "all"]
        assert found.facts["shown"][0]["value"] == "b"
        assert found.facts["shown"][1]["value"] == pytest.approx(float(x.mean()))
        assert found.facts["shown"][2]["pictures"] == 3 and len(found.parts) == 3
        assert (found.parts[2][..., 0] == np.rint(x[0] * 255)).all()
        for panel, wrong, words in [
            ("contrast", {"times": 5}, "between"),
            ("contrast", {"how": "c"}, "none of"),
            ("contrast", {"at": {"example": "/etc/passwd"}}, "no example"),
            ("broken", {}, "ZeroDivisionError"),
            ("gone", {}, "cannot be imported"),
            ("scores", {}, "does not fit"),
            ("nothing", {}, "no panel"),
        ]:
            assert words in client.failure("panel/show", panel=panel, values=wrong)


def test_a_notebook_shows_the_page(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    page = gentool.load("run").explore(height=700)
    try:
        shown = page._repr_html_()
        assert page.url in shown and "700px" in shown and shown.startswith("<iframe")
        for _ in range(200):
            if page.explorer.started:
                break
            time.sleep(0.05)
        one = http.client.HTTPConnection("127.0.0.1", page.explorer.port, timeout=30)
        one.request("GET", "/")
        answer = one.getresponse()
        assert answer.status == 200 and b"gentool" in answer.read()
        assert "frame-ancestors" not in answer.headers["content-security-policy"]
    finally:
        page.stop()
    assert page.explorer.token not in repr(page)


@pytest.mark.slow
def test_hostile_requests_leave_it_standing(
    trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A few of those of tests/torture/explore.py, which sends ten thousand."""
    path = Path(__file__).parent / "torture" / "explore.py"
    spec = importlib.util.spec_from_file_location("torture_explore", path)
    assert spec is not None and spec.loader is not None
    torture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torture)
    trained("run", *VAE)
    with exploring("run") as client:
        answers = torture.hammer(client.explorer.port, client.explorer.token, 240, floods=4)
        assert sum(answers.values()) == 240 and not any("taken" in kind for kind in answers)
        assert not any(kind.endswith(" 500") for kind in answers), answers
        assert any(kind == "question 200" for kind in answers), answers
        assert len(client.ask("samples/grid", n=4).parts) == 1
    assert "Traceback" not in capsys.readouterr().err
