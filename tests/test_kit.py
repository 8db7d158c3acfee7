"""The kit passes what is right, and names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit_door
import pytest
import torch

from gentool import plugins
from gentool.testing import ONCE, RULES, ConformanceError, check_model, train_briefly

SMALL: dict[str, dict[str, Any]] = {
    "vae": {"hidden": (16,), "latent_dim": 3},
    "gan": {"hidden": (16,)},
    "dcgan": {"width": 4},
    "wgan": {"hidden": (16,), "width": 4},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("plugin", plugins.installed(), ids=lambda p: p.full_name)
def test_every_installed_model_conforms(plugin: plugins.Plugin) -> None:
    report = check_model(plugin.full_name, **SMALL.get(plugin.name, {}))
    kinds = plugins.spec_of(plugin).data
    assert len(report.kept) + len(report.skipped) == len(ONCE) + len(kinds) * len(RULES)
    allowed = ("the model has no", "the model does not", "the model is not class", "the model refu")
    assert all(reason.startswith(allowed) for reason in report.skipped.values()), report.skipped


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        {"lipschitz": "clip", "net": "conv", "width": 4},
        {"lipschitz": "spectral", "net": "conv", "width": 4},
    ],
    ids=["clip", "spectral"],
)
def test_variants_of_the_critic_conform(variant: dict[str, Any]) -> None:
    check_model("wgan", data=("image",), **variant)


def test_a_right_model_passes_every_rule() -> None:
    report = check_model(kit_door.SPEC)
    assert len(report.kept) == len(ONCE) + 2 * len(RULES) - 2
    assert set(report.skipped) == {"evaluate (points)", "evaluate (image)"}


WRONG = {
    "orphan": ("players", "'orphan.weight' belongs to no player"),
    "shared": ("players", "belongs to the players 'fit' and 'judge'"),
    "not a part": ("players", "not the model's; assign"),
    "unused": ("objectives", "never reaches its parameter 'spare'"),
    "detached": ("objectives", "it is detached"),
    "vector": ("objectives", "no scalar tensor"),
    "infinite": ("objectives", "on the first batch"),
    "half": ("objectives", "reduce in float32"),
    "number": ("objectives", "'nll' as float"),
    "no objective": ("objectives", "returns Tensor; return Objective"),
    "stands still": ("steps", "changes none of its parameters"),
    "meddles": ("steps", "which is not its own"),
    "numpy start": ("build", "draw initial weights with torch"),
    "reads values": ("build", "meta device"),
    "prior shape": ("samples", r"must be float32 \(3, 2\)"),
    "flat": ("samples", "sample of 3 latents"),
    "tanh": ("samples", r"images must lie in \[0, 1\]"),
    "ignores seed": ("seed", r"sample\(\) ignores z"),
    "global": ("seed", "not from torch's global generator"),
    "over rows": ("rows", "rows must not mix"),
    "no gradient": ("gradients", "passes no gradient to z"),
    "encodes over rows": ("reconstruct", "rows must not mix"),
    "wastes chance": ("side effects", "global generator"),
    "writes": ("side effects", "changes 'drift'"),
    "ignores labels": ("labels", "use the labels"),
    "transposed": ("likelihood", "one row a latent"),
    "no constant": ("likelihood", "integrates to 6.28 instead of 1"),
    "column": ("score", r"must be \(5,\)"),
    "not persistent": ("save and load", "persistent=True"),
    "attribute": ("save and load", "neither a parameter nor a buffer"),
    "counter": ("resume", "in parameters or buffers"),
    "one size": ("sizes", "does not train"),
    "sum": ("shares", "take means, not sums"),
    "chance": ("processes", "by gradients and after_step"),
}


@pytest.mark.parametrize("flaw", WRONG)
def test_a_wrong_model_is_told_what_is_wrong(flaw: str) -> None:
    rule, words = WRONG[flaw]
    data = ("image",) if flaw in ("flat", "tanh") else ("points",)
    with pytest.raises(ConformanceError, match=words) as caught:
        # What is left to chance breaks the resume before the second process is asked.
        skip = {"resume": "tested apart"} if flaw == "chance" else {}
        check_model(kit_door.SPEC, data=data, skip=skip, flaw=flaw)
    assert f"breaks the rule '{rule} (" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": kit_door.NoHelp}, "--depth has no help"),
        ({"config": kit_door.BadDefault}, "within its own bounds"),
        ({"config": kit_door.Forgetful}, "comes back from JSON as"),
        ({"config": kit_door.Thawed}, "frozen=True"),
        ({"summary": " "}, "summary is empty"),
        ({"capabilities": frozenset({"sample", "fly"})}, "fly"),
        ({"capabilities": frozenset({"sample"})}, "does not name 'reconstruct'"),
        ({"defaults": {"epochs": 0}}, "no valid options"),
        ({"data": ("sound",)}, "it takes 'image', 'points' or both"),
        ({"factory": "kit_models:dict"}, "kit_models"),
    ],
    ids=lambda v: next(iter(v.items()))[0] if isinstance(v, dict) else "",
)
def test_a_wrong_spec_is_told_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_model(replace(kit_door.SPEC, **changes))


@pytest.mark.slow
def test_a_door_that_imports_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(kit_door.__file__).read_text().replace("from dataclasses", "import torch\nfrom d")
    source = source.replace("from d import", "from dataclasses import")
    (tmp_path / "heavy_door.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    heavy = __import__("heavy_door")
    with pytest.raises(ConformanceError, match="imports torch"):
        check_model(heavy.SPEC)


def test_rules_can_be_skipped_by_name_only() -> None:
    spec = replace(kit_door.SPEC, data=("points",))
    report = check_model(spec, skip={"shares": "rows mix"}, flaw="sum")
    assert report.skipped["shares"] == "rows mix"
    with pytest.raises(ValueError, match="no rule"):
        check_model(spec, skip={"share": "a slip of the pen"})


def test_a_brief_training_trains_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = train_briefly("vae", source="gauss1d:2000", steps=5, hidden=(16,), latent_dim=2)
    many = train_briefly("vae", source="gauss1d:2000", steps=300, hidden=(16,), latent_dim=2)
    gap = [abs(loaded.sample(500, draw=True).mean().item() - 4) for loaded in (few, many)]
    assert gap[1] < 0.3, gap  # the data's mean is 4
    assert not list(tmp_path.iterdir())
