"""``gentool verify``: recipes are sound, and a number out of its band is a failure."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool import options, plugins, recipefiles
from gentool.data.registry import sources
from gentool.metrics import judge, registry
from gentool.train.job import from_options
from gentool.verify import anchors, recipes

Cli = Callable[..., Result]

SHIPPED = recipes.shipped()


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda r: r.name)
def test_a_shipped_recipe_is_sound(recipe: recipes.Recipe) -> None:
    assert recipe.source and recipe.setting and recipe.minutes
    for check in recipe.checks:
        assert check.holds(check.expected), "the published number itself must pass"
    if recipe.anchor:
        assert recipe.anchor in anchors.ANCHORS
        return
    job = from_options(recipe.model, {"device": "cpu"}, recipe.path)
    assert job.data_options.data in {source.name for source in sources()}
    for check in recipe.checks:
        metric = registry.find(check.metric)
        known = {v.name for v in metric.values}
        assert check.value in known or metric.name == "elbo"


def test_quick_recipes_fit_ten_minutes() -> None:
    quick = [r for r in SHIPPED if r.quick]
    assert quick and sum(r.minutes or 0 for r in quick) <= 10


def test_every_recipe_file_is_a_config_of_train() -> None:
    for path in recipefiles.shipped():
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        if "model" in content:
            spec = plugins.spec_of(plugins.find(content["model"]))
            assert options.fields_of(spec.config)
            from_options(content["model"], {}, path)


RECIPE = """
model = "vae"
data = "ring:2000"
steps = 20
hidden = [8]
sample-every = 0

[recipe]
source = "a test"

[[recipe.check]]
metric = "modes"
value = "modes"
expected = 8
band = {band}
n = 100
"""


@pytest.mark.parametrize(("band", "code"), [("[0, 8]", 0), ("[9, 10]", 1)])
def test_a_number_is_held_to_its_band(cli: Cli, band: str, code: int) -> None:
    Path("mine.toml").write_text(RECIPE.format(band=band))
    Path("runs").mkdir()
    Path("runs/.latest").write_text("/the/latest\n")
    result = cli("verify", "mine.toml", "--device", "cpu")
    assert result.code == code, result.err
    assert ("FAIL" in result.out) == bool(code)
    assert "a test" in result.out and band.strip("[]").split(",")[1].strip() in result.out
    assert Path("runs/.latest").read_text() == "/the/latest\n"
    assert [p.name for p in Path("runs").iterdir()] == [".latest"]


def test_a_stopped_verification_keeps_what_is_in_and_names_no_deleted_folder(cli: Cli) -> None:
    Path("mine.toml").write_text(RECIPE.format(band="[0, 8]"))
    longer = RECIPE.format(band="[0, 8]").replace("steps = 20", 'steps = 10000\nmax-time = "0s"')
    Path("longer.toml").write_text(longer)
    result = cli("verify", "mine.toml", "longer.toml")
    assert "mine" in result.out and "pass" in result.out
    assert "stopped by --max-time while longer was trained; one number is in" in result.err
    assert "resume" not in result.err
    kept = cli("verify", "longer.toml", "--out", "kept")
    assert "gentool resume kept/longer" in kept.err and Path("kept/longer/state").is_dir()


def test_runs_are_kept_on_request(cli: Cli) -> None:
    Path("mine.toml").write_text(RECIPE.format(band="[0, 8]"))
    result = cli("verify", "mine.toml", "--out", "kept", "--json")
    outcome = json.loads(result.out)[0]
    assert outcome["verdict"] == "pass" and outcome["recipe"] == "mine"
    assert Path("kept/mine/model.safetensors").is_file()
    assert not Path("runs").exists()


def test_numbers_are_taken_on_the_device_that_was_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = judge.evaluate

    def evaluate(*args: object, **named: object) -> object:
        asked.append(named["device"])
        return real(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "evaluate", evaluate)
    Path("mine.toml").write_text(RECIPE.format(band="[0, 8]"))
    assert cli("verify", "mine.toml", "--device", "cpu").code == 0
    assert asked == ["cpu"]


def test_what_could_not_run_is_no_pass(cli: Cli) -> None:
    text = RECIPE.format(band="[0, 8]").replace('"ring:2000"', '"no-such-data"')
    Path("mine.toml").write_text(text)
    result = cli("verify", "mine.toml")
    assert result.code == 1 and "not run" in result.out and "no-such-data" in result.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("band = [0, 8]", "band = [8, 0]"), "is empty"),
        (("n = 100", "m = 100"), "unknown option 'm' in a check"),
        (("n = 100", 'n = "100"'), "--n is '100', but it takes a whole number"),
        (("metric =", "metrik ="), "unknown option 'metrik' in a check"),
        (("n = 100", "n = 5"), "--n is 5, but it must be at least 10"),
        (('model = "vae"', ""), "either a model or an anchor"),
        (("hidden = [8]", "hiden = [8]"), "did you mean 'hidden'"),
        (("[[recipe.check]]", "[[recipe.check"), "is no recipe"),
    ],
)
def test_mistakes_in_a_recipe_are_one_sentence(
    cli: Cli, change: tuple[str, str], words: str
) -> None:
    Path("mine.toml").write_text(RECIPE.format(band="[0, 8]").replace(*change))
    result = cli("verify", "mine.toml")
    assert result.code == 2 and words in result.err, result.err


def test_names_are_checked(cli: Cli) -> None:
    assert "did you mean" in cli("verify", "pytorch-vea").err
    assert cli("verify").code == 2
    assert cli("verify", "../../etc/passwd").code == 2
    listed = json.loads(cli("verify", "--list", "--json").out)
    assert {r["name"] for r in listed} >= {"pytorch-vae", "iwae-1", "prdc-of-normals"}


def test_the_distances_of_normals(cli: Cli) -> None:
    """One anchor runs here; the others take longer."""
    result = cli("verify", "distances-of-normals")
    assert result.code == 0 and result.out.count("pass") == 2


def test_the_plan_is_told_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gentool.verify.plan import announce

    monkeypatch.chdir(tmp_path)
    cache, names = str(tmp_path / "cache"), ("pytorch-vae", "stacked-mnist", "prdc-of-normals")
    chosen = [recipes.find(name) for name in names]
    first, second, last = announce(chosen, cache, None)
    assert first.startswith("3 recipes, about ") and "2 CPU cores" in first
    assert "pytorch-vae, stacked-mnist need it" in second and "--data" in second
    assert all(place in second for place in (f"data{os.sep}mnist", f"{cache}/downloads/mnist"))
    assert last == "1 of 3 can run here without a download"
    there = tmp_path / "elsewhere"
    there.mkdir()
    for part in ("train", "t10k"):
        for what in ("images-idx3", "labels-idx1"):
            (there / f"{part}-{what}-ubyte.gz").write_bytes(b"")
    lines = list(announce(chosen, cache, there))
    assert "stacked-mnist need it" in lines[1] and "pytorch-vae" not in lines[1]
    there.rename(tmp_path / "mnist")
    assert len(list(announce(chosen, cache, None))) == 1


def test_verify_takes_the_folder_of_mnist(cli: Cli, tmp_path: Path) -> None:
    result = cli("verify", "pytorch-vae", "--data", tmp_path / "nowhere")
    assert result.code == 2 and "is no folder" in result.err
