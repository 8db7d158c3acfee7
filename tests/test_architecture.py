"""The house rules, read off the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "gentool").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
PRODUCT = [*CORE, *PLUGINS]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports, anywhere or where it is merely imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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


MODEL_NAMES = re.compile(r"\b(vae|gan|dcgan|wgan)\b", re.IGNORECASE)


@pytest.mark.parametrize("path", CORE, ids=names)
def test_the_core_knows_no_plugin(path: Path) -> None:
    """No import of a plugin, and no string that is a model's name, outside prose and examples."""
    assert not [m for m in imports(path) if m.startswith("gentool_")]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            assert not MODEL_NAMES.fullmatch(node.value.strip()), f"line {node.lineno}"
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            assert not MODEL_NAMES.fullmatch(name), f"line {node.lineno}"


@pytest.mark.parametrize("path", PLUGINS, ids=names)
def test_a_plugin_knows_no_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[0]
    foreign = [m for m in imports(path) if m.startswith("gentool_") and m.split(".")[0] != own]
    assert not foreign


@pytest.mark.parametrize("path", [p for p in PLUGINS if p.name == "__init__.py"], ids=names)
def test_a_plugins_door_is_torch_free(path: Path) -> None:
    assert not under(imports(path), "torch")


def test_import_directions() -> None:
    def of(name: str) -> set[str]:
        return imports(ROOT / "gentool" / name)

    assert not under(of("spec.py"), "torch") and not under(of("hookspecs.py"), "torch")
    for path in (ROOT / "gentool" / "ops").glob("*.py"):
        outside = under(imports(path), "gentool") - under(imports(path), "gentool.ops")
        outside -= {"gentool", "gentool.errors", "gentool.errors.UserError"}
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


@pytest.mark.parametrize("path", PRODUCT, ids=names)
def test_nothing_is_unpickled_or_executed(path: Path) -> None:
    """No pickle, torch.load, yaml.load, builtin eval or exec, no shell."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not imports(path) & {"pickle", "cloudpickle", "dill", "shelve", "marshal", "yaml"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("yaml", "load")}
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile"}, f"line {node.lineno}"
        for keyword in node.keywords:
            value = getattr(keyword.value, "value", None)
            assert not (keyword.arg in {"shell", "allow_pickle"} and value is True)


def test_files_are_rooms_not_halls() -> None:
    long = {names(p): n for p in PRODUCT if (n := len(p.read_text().splitlines())) > 400}
    assert not long
