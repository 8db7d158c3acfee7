"""The house rules, read off the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "gentool").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
PRODUCT = [*CORE, *PLUGINS]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports, anywhere or where it is merely imported."""
    tree = parsed(path)
    found: set[str] = set()
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def under(found: set[str], package: str) -> set[str]:
    return {m for m in found if m == package or m.startswith(package + ".")}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in CORE}


def arrows(path: Path) -> set[str]:
    """The core's modules that a file imports: anywhere, under TYPE_CHECKING too."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return (found & MODULES.keys()) - {module_name(path)}


FLOORS = [
    {"version", "errors", "files", "folder", "litter", "streams", "subprocesses", "cachefolder"}
    | {"ops"},
    {"torch_internals", "nn", "likeness", "spec", "noise", "console", "devices", "matmul"}
    | {"recipefiles", "checkpoints", "rows"},
    {"model", "options", "weights", "index", "runs", "scoring"},
    {
        "plugins",
        "quarantine",
        "hookspecs",
        "hooks",
        "loading",
        "sampling",
        "mixture",
        "data",
        "render",
        "exporters",
    },
    {"scaffold"},
    {"train"},
    {"metrics", "testing", "checkup", "sweep"},
    {"latent", "compare"},
    {"restore", "report"},
    {"explore"},
    {"verify"},
    {"api"},
    {"cli", "__main__"},
]
"""From the ground up: who stands on a floor imports from the same one or from below."""


def test_no_arrow_runs_up() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    assert rooms == floor.keys(), "a new room needs its floor here, and its line in docs"
    up = [
        f"{name} -> {other}"
        for name, path in MODULES.items()
        for other in arrows(path)
        if "." in name and "." in other
        if floor[name.split(".")[1]] < floor[other.split(".")[1]]
    ]
    assert not up


def test_the_page_has_the_floors_and_the_rooms() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, len(FLOORS) + 1))
    for (number, text), rooms in zip(lines, FLOORS, strict=True):
        missing = {room for room in rooms if not re.search(rf"`{room}/?`", text)}
        assert not missing, f"floor {number} of docs/architecture.md lacks {missing}"


def test_the_main_path_is_a_short_read() -> None:
    """From ``gentool train vae`` to the kernel: at most 6 files and 1,200 lines."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    path = re.findall(r"^\| \[`([\w/]+\.py)`\]", page, re.MULTILINE)
    lines = [len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in path]
    assert 1 < len(path) <= 6 and sum(lines) <= 1200, dict(zip(path, lines, strict=True))


def test_no_import_cycle() -> None:
    try:
        list(TopologicalSorter({m: arrows(path) for m, path in MODULES.items()}).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from None


def test_what_a_plugin_hands_over_needs_nothing_else() -> None:
    assert arrows(ROOT / "gentool" / "spec.py") <= {"gentool.errors"}
    # The hooks of a logger are told of the run; nothing else of the toolkit is named there.
    assert arrows(ROOT / "gentool" / "hookspecs.py") <= {"gentool.spec", "gentool.runs"}


def test_sampling_imports_nothing_of_training(run: Path) -> None:
    script = (
        "import sys, gentool; x = gentool.load(sys.argv[1]).sample(2); assert len(x) == 2;"
        "print([m for m in sys.modules if m.startswith('gentool.train')])"
    )
    command = [sys.executable, "-c", script, str(run)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "[]"


MODEL_NAMES = re.compile(r"\b(vae|gan|dcgan|wgan)\b", re.IGNORECASE)


def test_the_core_knows_no_plugin() -> None:
    """No import of a plugin, and no string that is a model's name, outside prose and examples."""
    for path in CORE:
        assert not [m for m in imports(path) if m.startswith("gentool_")], names(path)
        tree = parsed(path)
        prose = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in prose
            ):
                assert not MODEL_NAMES.fullmatch(node.value.strip()), f"{names(path)}:{node.lineno}"
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                assert not MODEL_NAMES.fullmatch(name), f"{names(path)}:{node.lineno}"


@pytest.mark.parametrize("path", PLUGINS, ids=names)
def test_a_plugin_knows_no_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[0]
    foreign = [m for m in imports(path) if m.startswith("gentool_") and m.split(".")[0] != own]
    assert not foreign


@pytest.mark.parametrize("path", [p for p in PLUGINS if p.name == "__init__.py"], ids=names)
def test_a_plugins_door_is_torch_free(path: Path) -> None:
    assert not under(imports(path), "torch")


def test_ops_and_specs_import_nothing_from_above() -> None:
    def of(name: str) -> set[str]:
        return imports(ROOT / "gentool" / name)

    assert not under(of("spec.py"), "torch") and not under(of("hookspecs.py"), "torch")
    for path in (ROOT / "gentool" / "ops").glob("*.py"):
        outside = under(imports(path), "gentool") - under(imports(path), "gentool.ops")
        outside -= {"gentool", "gentool.errors", "gentool.errors.UserError"}
        outside = {module for module in outside if not module.startswith("gentool.cachefolder")}
        if path.name != "build.py":
            assert not outside, f"{path.name} imports {outside}"
    reference = of("ops/reference.py")
    assert not under(reference, "gentool.ops.native") and not under(
        reference, "gentool.ops.library"
    )
    for path in CORE:
        if "cli" not in path.parts and path.name != "__main__.py":
            assert not under(imports(path), "gentool.cli"), path


@pytest.mark.parametrize("path", sorted((ROOT / "gentool" / "cli").glob("*.py")), ids=names)
def test_verbs_import_torch_in_their_bodies_only(path: Path) -> None:
    assert not under(imports(path, top_level_only=True), "torch")


VERIFIED = 'torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)'


def test_nothing_is_unpickled_or_executed() -> None:
    """No pickle, torch.load, yaml.load, builtin eval or exec, no shell.

    But for one published file, which is held to its SHA-256 first and read by torch's reader that
    calls no code (docs/evaluate.md).
    """
    for path in PRODUCT:
        tree = parsed(path)
        if names(path) == "plugins/gentool_fid/weights.py":
            tree = ast.parse(path.read_text().replace(VERIFIED, "read(content)", 1))
        unsafe = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "yaml"}
        assert not imports(path) & unsafe, names(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in {"torch.load", "yaml.load"}, f"{names(path)}:{node.lineno}"
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name):
                called = node.func.id
                assert called not in {"eval", "exec", "compile"}, f"{names(path)}:{node.lineno}"
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                allowed = keyword.arg not in {"shell", "allow_pickle"} or value is not True
                assert allowed, f"{names(path)}:{node.lineno}"


def test_files_are_rooms_not_halls() -> None:
    long = {names(p): n for p in PRODUCT if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_torchs_internals_are_used_in_one_place() -> None:
    """What torch does not promise is called by `gentool.torch_internals`, which has another way."""
    for path in PRODUCT:
        if "ops" in path.parts or path.stem == "torch_internals":
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                assert not (node.value.id == "torch" and private), f"{names(path)}:{node.lineno}"
        assert not [m for m in imports(path) if m.startswith("torch._")], names(path)
