"""The mistakes a newcomer makes: each is one sentence, exit code 2, no traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from PIL import Image

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--epochs", "1", "--threads", "1")


def expect(result: Result, *words: str) -> None:
    """One sentence on stderr that holds the words, nothing on stdout, exit code 2."""
    assert result.code == 2, result
    assert result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("gentool: ")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, f"{word!r} is not in {result.err!r}"


def test_unknown_model_names_the_nearest(cli: Cli) -> None:
    expect(cli("train", "vea"), "unknown model 'vea'", "did you mean 'vae'")


def test_unknown_command(cli: Cli) -> None:
    expect(cli("trian", "vae"), "trian")


def test_unknown_option_names_the_nearest(cli: Cli) -> None:
    expect(cli("train", "vae", "--latent-dims", "3"), "--latent-dims", "--latent-dim")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--latent-dim", "0"), ("--latent-dim is 0", "at least 1")),
        (("--latent-dim", "ten"), ("--latent-dim", "'ten'", "whole number")),
        (("--epochs", "-1"), ("--epochs is -1", "at least 1")),
        (("--epochs", "1", "--steps", "5"), ("--epochs", "--steps")),
        (("--lr", "nan"), ("--lr is nan",)),
        (("--hidden", "8,0"), ("--hidden is 0", "at least 1")),
        (("--likelihood", "bernouli"), ("--likelihood", "did you mean 'bernoulli'")),
        (("--device", "cuda:99"), ("cuda:99", "not available")),
        (("--device", "tpu9"), ("--device", "tpu9")),
        (("--precision", "fp8"), ("--precision", "fp32")),
        (("--max-time", "soon"), ("--max-time", "soon")),
        (("--data", "ring", "--likelihood", "bernoulli"), ("bernoulli", "gaussian")),
        (("--data", "ring", "--net", "conv"), ("conv", "images")),
        (("--data", "swissroll", "--conditional"), ("--conditional", "labels")),
        (("--config", "absent.toml"), ("absent.toml",)),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else None,
)
def test_bad_values_are_refused_before_a_run_begins(
    cli: Cli, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    expect(cli("train", "vae", *options), *words)
    assert not Path("runs").exists(), "a run was begun before its options were checked"


def test_missing_data_path(cli: Cli) -> None:
    expect(cli("train", "vae", "--data", "no/such/folder"), "no/such/folder")


def test_misspelt_data_source_names_the_nearest(cli: Cli) -> None:
    expect(cli("train", "vae", "--data", "glyfs"), "glyfs", "glyphs")


def test_empty_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    expect(cli("train", "vae", "--data", "nothing"), "nothing", "image")


def test_text_file_as_an_image(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("L", (16, 16)).save(folder / "good.png")
    (folder / "bad.png").write_text("this is no picture")
    expect(cli("train", "vae", "--data", "pictures"), "bad.png", "--on-bad-file")


def test_an_existing_run_directory(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    expect(cli("train", "vae", *SMALL, "--out", "mine"), "mine", "already exists")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_an_output_folder_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("train", "vae", *SMALL, "--out", "file/run")
    expect(result, "cannot write", "file/run", "--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    expect(cli("train", "vae", *SMALL, "--out", "closed/run"), "closed/run", "ermission")


def test_sampling_with_no_run(cli: Cli) -> None:
    expect(cli("sample"), "no run here yet", "gentool train")


def test_sampling_a_run_that_is_not_there(cli: Cli) -> None:
    expect(cli("sample", "runs/none"), "runs/none")


def test_a_truncated_model_file(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    for size in (0, 5, 100, len(whole) - 7):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        expect(cli("sample", "cut.safetensors"), "cut.safetensors")


def test_a_safetensors_file_of_somebody_else(cli: Cli, tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "other.safetensors").write_bytes(content)
    expect(cli("sample", "other.safetensors"), "other.safetensors", "not one that gentool wrote")


def test_bad_options_of_sample_are_one_sentence(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    expect(cli("sample", "run", "--n", "0"), "--n is 0")
    expect(cli("sample", "run", "--class", "7"), "not class-conditional")
    expect(cli("sample", "run", "--z", "none.npy"), "none.npy")
    expect(cli("sample", "run", "--out", "grid.gif"), "grid.gif")
    (tmp_path / "mine.png").write_bytes(b"precious")
    expect(cli("sample", "run", "--out", "mine.png"), "already exists", "--force")
    assert (tmp_path / "mine.png").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "options",
    [
        ("--latent-dim", "1" + "0" * 400),
        ("--latent-dim", "1e19"),
        ("--hidden", "1e18"),
        ("--steps", "1e30"),
        ("--threads", "1e11"),
        ("--out", "x" * 5000),
    ],
    ids=["400 digits", "1e19", "1e18 units", "1e30 steps", "1e11 threads", "long name"],
)
def test_absurd_sizes(cli: Cli, options: tuple[str, str]) -> None:
    expect(cli("train", "vae", "--data", "glyphs:64", *options), "")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_escape_sequences_are_shown_not_sent(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["model"] = "v\x1b[31mEVIL\x07"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    (tmp_path / "run" / "metrics.jsonl").write_bytes(b'[1]\n{"step": 1, "loss": "x"}\n\xff\n')
    for command in (("runs", "show", "run"), ("resume", "run"), ("runs", "list")):
        result = cli(*command)
        assert "\x1b" not in result.out + result.err and "\x07" not in result.out + result.err
        assert "Traceback" not in result.err
    expect(cli("train", "vae", "--out", "a\x1b[31mb", "--epochs", "-1"), "--epochs")


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "{}"),
        ("sample", "{}.safetensors"),
        ("sample", "--out", "{}.png"),
        ("evaluate", "{}"),
        ("export", "{}"),
        ("export", "{}", "out.onnx"),
        ("export", "{}.onnx"),
        ("verify", "{}"),
        ("verify", "{}.toml"),
        ("resume", "{}"),
        ("runs", "show", "{}"),
        ("train", "vae", "--config", "{}"),
        ("train", "vae", "--out", "{}"),
        ("train", "vae", "--data", "{}"),
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_system_takes(cli: Cli, command: tuple[str, ...]) -> None:
    expect(cli(*(word.format("a" * 5000) for word in command)))
