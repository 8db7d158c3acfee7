"""One HTML file: the explorer's page, its scripts as one classic script, the model as text."""

from __future__ import annotations

import html
import json
import re
import struct
import zlib
from graphlib import TopologicalSorter
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from gentool.explore.wire import finite
from gentool_page.seventh import to_text
from gentool_page.tensors import Tensors

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src blob: data:; media-src blob: data:"
)
"""The browser itself sees to it that the page asks nobody for anything."""

START = "start-page.js"


def document(run: dict[str, Any], content: dict[str, Any], tensors: Tensors) -> str:
    """The file's text."""
    page = files("gentool.explore").joinpath("page")
    text = page.joinpath("index.html").read_text(encoding="utf-8")
    style = page.joinpath("style.css").read_text(encoding="utf-8")
    made = run["made"]
    title = html.escape(f"{made['model']} on {made['data']}")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="generator" content="gentool">\n'
        f"<title>{title}</title>"
    )
    data = container(content, tensors)
    model = f'<script type="text/plain" id="model" data-size="{len(data)}">{to_text(data)}</script>'
    body = f"{model}\n<script>\n{bundle()}</script>\n</body>"
    for pattern, new in (
        (r"<title>.*?</title>", head),
        (r'<link rel="stylesheet"[^>]*>', f"<style>\n{style}</style>"),
        (r'<script type="module"[^>]*></script>\n', ""),
        (r"</body>", body),
    ):
        text = _replaced(text, pattern, new)
    return text


def _replaced(text: str, pattern: str, new: str) -> str:
    found = re.findall(pattern, text)
    if len(found) != 1:
        raise AssertionError(f"the explorer's page has {len(found)} times {pattern}")
    return text.replace(found[0], new)


def container(content: dict[str, Any], tensors: Tensors) -> bytes:
    """The model, zlib: uint32 length of the JSON | JSON | the tensors' bytes."""
    facts = {**finite(content), "tensors": tensors.facts}
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False).encode()
    return zlib.compress(b"".join([struct.pack("<I", len(text)), text, *tensors.bytes]), 9)


IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(
    r"^export (?=(?:async function\*?|function\*?|class|const|let) (\w+))", re.MULTILINE
)


def bundle(start: str = START) -> str:
    """The modules that `start` needs, as one script: from file:// a browser imports none.

    Each becomes a function that is called once and returns what it exports.
    """
    modules = {path.name: path for path in _scripts()}
    texts: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in texts:
            texts[name] = modules[name].read_text(encoding="utf-8")
            needs[name] = [found[1] for found in IMPORT.findall(texts[name])]
            waiting += needs[name]
    order = TopologicalSorter(needs).static_order()
    return '"use strict";\n' + "\n".join(_wrapped(name, texts[name]) for name in order)


def _scripts() -> list[Traversable]:
    """The explorer's modules and this package's; no two may be called alike."""
    places = [files("gentool.explore").joinpath("page"), files("gentool_page").joinpath("page")]
    return [path for place in places for path in place.iterdir() if path.name.endswith(".js")]


def _wrapped(name: str, text: str) -> str:
    exported = EXPORT.findall(text)
    text = IMPORT.sub(lambda m: f"const {{{renamed(m[1])}}} = {_variable(m[2])};\n", text)
    text = EXPORT.sub("", text)
    if re.search(r"^(import|export)\b", text, re.MULTILINE) or "</script" in text:
        raise AssertionError(f"{name} imports or exports in a way that cannot be bundled")
    returned = f"return {{ {', '.join(exported)} }};\n" if exported else ""
    return f"const {_variable(name)} = (() => {{\n{text}{returned}}})();\n"


def renamed(names: str) -> str:
    """``at as found`` of an import is ``at: found`` where an object is taken apart."""
    return re.sub(r"(\w+) as (\w+)", r"\1: \2", names.strip())


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
