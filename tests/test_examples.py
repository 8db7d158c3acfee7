"""Packages from outside, installed by pip into an environment of their own.

The scaffold's package, the examples and the packages of docs/plugins.md live through their
whole life there: installed, listed, trained, sampled, judged, resumed, exported, removed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "plugins.md"

# By metadata: looking up the module pip switches setuptools' own distutils off in this process.
INSTALLED = {d.metadata["Name"] for d in distributions()}
MISSING = [p for p in ("pip", "setuptools") if p not in INSTALLED]
OURS = "gentool-my-flow,gentool-ppca,gentool-realnvp,gentool-moons,gentool-ddpm,acme-stairs"
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

DRIVER = """
import contextlib, io, json, sys
from gentool.cli.main import main
results = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


@dataclass(frozen=True)
class Environment:
    """A fresh environment that sees the packages of this one, and a working directory."""

    python: Path
    folder: Path

    def run(self, *arguments: object) -> str:
        variables = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GENTOOL_PLUGINS": OURS,
            "GENTOOL_CACHE": str(self.folder / "cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pip(self, *arguments: object) -> None:
        base = ["-m", "pip", "--python", str(self.python)]
        done = subprocess.run(
            [sys.executable, *base, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"

    def install(self, *arguments: object) -> None:
        """Offline: what the packages build with and need is here already."""
        self.pip("install", "--quiet", "--no-build-isolation", "--no-deps", *arguments)

    def gentool(self, *commands: str) -> list[str]:
        """What each command prints; several in one process, to import torch once."""
        split = [shlex.split(c.removeprefix("gentool ")) for c in commands]
        results = json.loads(self.run("-c", DRIVER, json.dumps(split)).splitlines()[-1])
        for command, (code, out, err) in zip(commands, results, strict=True):
            assert code == 0, f"{command}\n{out}\n{err}"
        return [out for _, out, _ in results]

    def models(self) -> dict[str, str]:
        rows = json.loads(self.gentool("gentool models --json")[0])
        return {row["name"]: row["distribution"] for row in rows}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ours = sysconfig.get_path("purelib")
    # addsitedir, so that an editable gentool there is found as well.
    Path(site, "parent.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return Environment(python, folder)


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def write_files_of_the_page(folder: Path) -> list[str]:
    """Write every block that begins with its file's name; returns the names."""
    names = []
    for block in blocks("toml") + blocks("python"):
        first, _, rest = block.partition("\n")
        name = first.removeprefix("# ")
        assert re.fullmatch(r"[\w./-]+\.(py|toml)", name), f"no file name: {first}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(rest)
        names.append(name)
    return names


@pytest.mark.slow
def test_the_scaffold_works_as_written(environment: Environment) -> None:
    """Install, train, test: with a small data set, and no edit."""
    environment.gentool("gentool plugins new my-flow")
    environment.install("-e", "my-flow")
    train, _ = environment.gentool(
        "gentool train my-flow --data glyphs:300 --epochs 1 --out flow-run",
        "gentool sample flow-run --n 4",
    )
    assert train.strip() == "flow-run"
    assert "2 passed" in environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "my-flow")
    environment.pip("uninstall", "--yes", "--quiet", "gentool-my-flow")
    assert "my-flow" not in environment.models()


@pytest.mark.slow
def test_the_examples_live_and_leave_no_trace(environment: Environment) -> None:
    before = environment.models()
    examples = ("gentool-realnvp", "gentool-moons", "gentool-ppca")
    for name in examples:  # a build writes beside the sources
        shutil.copytree(ROOT / "examples" / name, environment.folder / name)
    environment.install(*(f"./{name}" for name in examples))
    listed, doctor, sources, _, _, _, judged, _, both = environment.gentool(
        "gentool models --json",
        "gentool plugins doctor --json",
        "gentool data list",
        "gentool train realnvp --data moons:600 --epochs 1 --hidden 16 --out nvp",
        "gentool resume nvp --epochs 2",
        "gentool sample nvp --n 20 --out nvp/x.npz",
        "gentool evaluate nvp --metrics moons,nll --n 60 --nll-n 20 --k 2 --json",
        "gentool train ppca --data moons:600 --latent-dim 1 --out pca",
        "gentool evaluate nvp pca --metrics nll --nll-n 20 --k 2 --json",
    )
    realnvp = next(r for r in json.loads(listed) if r["name"] == "realnvp")
    assert realnvp["distribution"] == "gentool-realnvp"
    assert realnvp["capabilities"] == ["likelihood", "reconstruct", "sample"]
    findings = {f["name"]: f for f in json.loads(doctor)}
    assert findings["moons"]["hooks"] == ["gentool_data_sources", "gentool_metrics"]
    assert "two interleaved half circles" in sources
    assert re.search(r'"on_moons"', judged) and re.search(r'"nll"', judged)
    assert [record["model"]["name"] for record in json.loads(both)] == ["realnvp", "ppca"]
    config = json.loads((environment.folder / "nvp" / "config.json").read_text())
    assert config["plugin"] == {"distribution": "gentool-realnvp", "version": "0.1.0"}
    passed = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *examples)
    assert "15 passed" in passed
    environment.pip("uninstall", "--yes", "--quiet", *examples)
    assert environment.models() == before
    assert "moons" not in environment.gentool("gentool data list")[0]
    site = environment.python.parents[1] / "lib"
    assert not [p for p in site.rglob("*") if any(e[8:] in p.name for e in examples)]


@pytest.mark.slow
def test_the_pages_code_runs_as_printed(environment: Environment) -> None:
    """Every file of docs/plugins.md is written, and every command in its sh blocks is run."""
    names = write_files_of_the_page(environment.folder)
    assert len(names) == 7
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    packages = [c.split()[-1] for c in commands if c.startswith("pip install -e ")]
    assert packages == ["ddpm", "acme-stairs"]
    environment.install(*[part for p in packages for part in ("-e", p)])
    ours = [c for c in commands if c.startswith("gentool ")]
    assert len(ours) == 8 and len(commands) == len(ours) + len(packages) + 1
    printed = environment.gentool(*ours)
    heard = printed[4].splitlines()
    assert heard[0] == "started vae" and "epoch 1" in heard and "logged test 8" in heard
    assert (environment.folder / "stairs.csv").read_text().count("\n") == 100
    assert "2 passed" in environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "ddpm")
