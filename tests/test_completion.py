"""What the three shells are offered at a Tab, by the protocol of their scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

CASES = [
    ("gentool tr", ["train"]),
    ("gentool train ", ["dcgan", "gan", "vae", "wgan"]),
    ("gentool train vae --accum", ["--accumulate"]),
    ("gentool train vae --precision ", ["fp32", "bf16", "fp16"]),
    ("gentool train vae --data gly", ["glyphs"]),
    ("gentool train vae --config vae-", ["vae-mnist-classes"]),
    ("gentool verify pytorch-", ["pytorch-vae"]),
    ("gentool runs sto", ["stop"]),
    ("gentool runs stop m", ["mine"]),
    ("gentool sample ", ["mine"]),
    ("gentool train nothing --", []),
]


@pytest.mark.parametrize("line,expected", CASES, ids=[line for line, _ in CASES])
def test_each_shell_is_offered_the_same(
    line: str, expected: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.json").write_text("{}")
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    for shell, variables in asked.items():
        with monkeypatch.context() as patch:
            patch.setenv("_GENTOOL_COMPLETE", f"complete_{shell}")
            for name, value in variables.items():
                patch.setenv(name, value)
            result = cli()
        assert result.err == ""
        if shell == "zsh":
            found = [part.split('"')[1] for part in result.out.splitlines() if '"' in part]
        else:
            found = [part.split("\t")[0] for part in result.out.splitlines() if part]
        assert found == expected, shell


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_itself(tmp_path: Path) -> None:
    """The script that is installed, in a shell with an empty home."""
    command = tmp_path / "gentool"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'gentool'\n"
        "from gentool.cli.main import main\nmain()\n"
    )
    command.chmod(0o755)
    script = (
        'eval "$(_GENTOOL_COMPLETE=source_bash gentool)"\n'
        'COMP_WORDS=(gentool train ""); COMP_CWORD=2; _gentool_completion gentool\n'
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout.split() == ["dcgan", "gan", "vae", "wgan"], done.stderr
