"""Export: ONNX graphs that equal torch, hub folders that sample, formats of other packages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import Result

import gentool
from gentool import exporters, hooks
from gentool.hookspecs import hookimpl

Cli = Callable[..., Result]
HERE = [p for p in ("onnx", "onnxscript", "onnxruntime") if find_spec(p) is None]
needs_onnx = pytest.mark.skipif(bool(HERE), reason=f"not installed: {', '.join(HERE)}")

IMAGES = ("--data", "glyphs:64", "--steps", "2")
MODELS = {
    "vae": (*IMAGES, "--hidden", "16", "--conditional"),
    "gan": ("--data", "ring:64", "--steps", "2", "--hidden", "16"),
    "dcgan": (*IMAGES, "--width", "4", "--batch-size", "16"),
    "wgan": (*IMAGES, "--width", "4", "--net", "conv", "--batch-size", "16"),
}


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize("model", MODELS)
def test_onnxruntime_draws_what_torch_draws(model: str, cli: Cli) -> None:
    """From the files alone, on a batch size that the exporter has not seen."""
    import onnx
    import onnxruntime

    assert cli("train", model, *MODELS[model], "--out", "run").code == 0
    done = cli("export", "run", "m.onnx")
    assert done.code == 0 and done.out == "m.onnx\n" and "equal to torch within" in done.err
    loaded = gentool.load("run")
    n = 5
    z = torch.randn(n, *loaded.model.latent_shape, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(n) % 10 if getattr(loaded.model, "classes", 0) else None
    feeds = {"z": z.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    (x,) = onnxruntime.InferenceSession("m.onnx").run(None, feeds)
    expected = loaded.sample(n, z=z, labels=labels).numpy()
    assert expected.std() > 0 and np.abs(x - expected).max() <= 1e-4
    kept = {p.key: p.value for p in onnx.load("m.onnx").metadata_props}
    assert json.loads(kept["gentool"])["model"] == model
    if "reconstruct" in loaded.spec.capabilities:
        (found,) = onnxruntime.InferenceSession("m.encoder.onnx").run(
            None, {"x": x} | ({} if labels is None else {"labels": labels.numpy()})
        )
        with torch.no_grad():
            wanted = loaded.model.encode(torch.from_numpy(x), labels).numpy()
        assert np.abs(found - wanted).max() <= 1e-4
    assert not [p.name for p in Path().iterdir() if p.name.startswith(".m")]


@pytest.mark.slow
@needs_onnx
def test_a_graph_that_differs_is_not_kept(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from gentool_onnx import export

    assert export.difference(np.ones((2, 3)), np.ones((3, 2))) == float("inf")
    assert export.difference(np.array([np.nan]), np.array([1.0])) == float("inf")
    assert export.difference(np.array([101.0]), np.array([100.0])) == pytest.approx(0.01)
    cli("train", "vae", *IMAGES, "--hidden", "8", "--out", "run")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    refused = cli("export", "run", "m.onnx")
    assert refused.code == 2 and "differs from torch" in refused.err
    assert not Path("m.onnx").exists()


def test_without_the_packages_it_says_which(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from gentool_onnx import export

    cli("train", "vae", *IMAGES, "--hidden", "8", "--out", "run")
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    refused = cli("export", "run", "m.onnx")
    assert refused.code == 2 and "pip install 'gentool[onnx]'" in refused.err


def test_a_hub_folder_is_whole_and_samples(cli: Cli) -> None:
    cli("train", "vae", *IMAGES, "--hidden", "8", "--out", "run")
    assert cli("export", "run", "folder").code == 0
    weights = Path("folder/model.safetensors")
    assert weights.read_bytes() == Path("run/model.safetensors").read_bytes()
    config = json.loads(Path("folder/config.json").read_text())
    assert config["library_name"] == "gentool" and config["config"]["hidden"] == [8]
    card = Path("folder/README.md").read_text()
    front = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert json.loads(front["tags"])[1] == "vae" and "![samples](samples.png)" in card
    assert "| hidden | [8] |" in card and "| test neg_elbo |" in card
    same = [gentool.load(p).sample(3) for p in ("run", "folder", weights)]
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2])
    for arguments in (("run",), ("run", "run"), ("folder", "run", "--force")):
        refused = cli("export", *arguments)
        assert refused.code == 2 and "run is a run; say where to" in refused.err
    again = cli("export", "run", "folder")
    assert again.code == 2 and "--force" in again.err
    assert cli("export", "folder/model.safetensors", "folder", "--force").code == 0


def test_a_folder_of_a_hub_is_no_run_and_keeps_what_it_holds(cli: Cli) -> None:
    cli("train", "vae", *IMAGES, "--hidden", "8", "--out", "run")
    assert cli("export", "run", "folder", "--license", "CC-BY-4.0").code == 0
    before = sorted(Path("folder").rglob("*"))
    done = cli("sample", "folder", "--n", 4)
    assert done.code == 0 and done.out == "folder-n4-seed0.png\n"
    assert sorted(Path("folder").rglob("*")) == before
    assert '\nlicense: "cc-by-4.0"\n' in Path("folder/README.md").read_text()
    assert "no identifier" in cli("export", "run", "other", "--licence", "mine: yes").err
    assert "name the data" in cli("evaluate", "folder").err
    step = cli("export", "run/state/step-000000002", "early")
    assert step.code == 0, step.err
    assert torch.equal(gentool.load("early").sample(3), gentool.load("run").sample(3))


class Address(str):
    """What the hub calls a repository; the name is whole there."""

    repo_id = ""


class Hub:
    """huggingface_hub's HfApi, as far as it is used, with the signatures of release 2.4."""

    calls: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, *, library_name: str) -> None:
        assert library_name == "gentool"

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        self.calls.append(("create", (repo_id, private, exist_ok)))

        address = Address(f"https://hub.example/me/{repo_id}")
        address.repo_id = repo_id if "/" in repo_id else f"me/{repo_id}"
        return address

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        if repo_id == "some/body":
            raise OSError("403 Forbidden: you are not somebody")
        sent = [p.name for p in folder_path.iterdir() if p.name in allow_patterns]
        self.calls.append(("upload", (repo_id, sorted(sent))))


def test_a_folder_is_pushed_and_refusals_are_one_sentence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gentool_hub.push", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    cli("train", "vae", *IMAGES, "--hidden", "8", "--out", "run")
    refused = cli("export", "run", "folder", "--push", "me/vae")
    assert refused.code == 2 and "pip install 'gentool[hub]'" in refused.err
    assert not Path("folder").exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Hub))
    monkeypatch.delitem(sys.modules, "gentool_hub.push", raising=False)
    done = cli("export", "run", "folder", "--push", "vae")
    assert done.code == 0, done.err
    assert done.out == "folder\nhttps://hub.example/me/vae\n" and "private" in done.err
    files = ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert Hub.calls == [("create", ("vae", True, True)), ("upload", ("me/vae", files))]
    refused = cli("export", "run", "folder", "--force", "--push", "some/body")
    assert refused.code == 2 and "403 Forbidden" in refused.err and "hf auth login" in refused.err
    assert "no USER/NAME" in cli("export", "run", "f2", "--push", "a/b/c").err
    assert "not pushed anywhere" in cli("export", "run", "m.onnx", "--push", "me/vae").err


class Csv:
    """A plugin that is an object rather than a module."""

    @hookimpl
    def gentool_exporters(self, register: Callable[[exporters.ExporterInfo], None]) -> None:
        register(exporters.ExporterInfo("csv", ".csv", "a test", "test_hooks_export:write_csv"))


def write_csv(job: exporters.Export) -> None:
    np.savetxt(job.out, job.loaded.sample(3).flatten(1).numpy(), delimiter=",")
    job.notes.append(f"from {job.file.name}")


def test_formats_of_other_packages(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "_EXPORTERS", {})
    monkeypatch.setattr(hooks, "_called", set())
    Csv().gentool_exporters(exporters.register)
    monkeypatch.setitem(sys.modules, "test_hooks_export", sys.modules[__name__])
    cli("train", "vae", "--data", "ring:64", "--hidden", "8", "--steps", "2", "--out", "run")
    done = cli("export", "out.csv")  # the latest run
    assert done.code == 0 and "from model.safetensors" in done.err
    assert np.loadtxt("out.csv", delimiter=",").shape == (3, 2)
    assert np.loadtxt("out.csv", delimiter=",").std() > 0
    unknown = cli("export", "run", "x.onx")
    assert unknown.code == 2 and "onnx (.onnx)" in unknown.err and "hub (a folder)" in unknown.err
    named = cli("export", "run", "x.txt", "--format", "onx")
    assert named.code == 2 and "did you mean 'onnx'" in named.err
    with pytest.raises(ValueError, match="already"):
        Csv().gentool_exporters(exporters.register)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_reads_what_was_logged(cli: Cli) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = ("--data", "glyphs:64", "--hidden", "8", "--batch-size", "32")
    done = cli("train", "vae", *small, "--epochs", "2", "--log", "tensorboard", "--out", "run")
    assert done.code == 0, done.err
    assert cli("resume", "run", "--epochs", "3").code == 0
    events = EventAccumulator("run/tensorboard")
    events.Reload()
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    wanted = [(r["step"], r["neg_elbo"]) for r in rows if r["split"] == "test"]
    found = [(e.step, e.value) for e in events.Scalars("test/neg_elbo")]
    assert [s for s, _ in found] == [s for s, _ in wanted] == [2, 4, 6]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in wanted], rtol=1e-6)
    assert [e.step for e in events.Images("samples")] == [2, 4, 6]
