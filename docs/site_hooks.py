"""What the documentation site has beyond the pages of this folder; MkDocs calls these functions.

The front page is README.md, the API is taken from the docstrings, equations become MathML when
the site is built, so that a reader's browser needs no script and no other host for them.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LOG = logging.getLogger("mkdocs.gentool")

FROM_THE_ROOT = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Pages that lie beside this folder, by their names on the site."""

GROUPS = {
    "Use": ["cli", "training", "python", "data", "runs", "sweeps", "evaluate"],
    "Play": ["latent", "restore", "explore", "page", "gallery", "export"],
    "Models": ["models/vae", "models/gan", "models/dcgan", "models/wgan"],
    "Kernels": ["ops", "kernels", "performance"],
    "Extend": ["plugins", "architecture", "reliability"],
}
"""The order of the pages; those that are not here follow by name."""

API = {
    "Models": ("gentool.spec", "gentool.model", "gentool.noise", "gentool.nn"),
    "Hooks": ("gentool.hookspecs", "gentool.errors"),
    "Operations": ("gentool.ops.functional",),
    "Data": ("gentool.data.registry", "gentool.data.dataset"),
    "Metrics": ("gentool.metrics.registry",),
    "Exporters and runs": ("gentool.exporters", "gentool.runs"),
    "Loading and sampling": ("gentool", "gentool.loading"),
    "Conformance kit": ("gentool.testing",),
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
MATH = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the root, those of the API, and files that pages show or link to."""
    docs = Path(config.docs_dir)
    for page, source in FROM_THE_ROOT.items():
        if (ROOT / source).exists():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=text))
    for title, modules in API.items():
        body = "\n\n".join(f"::: {module}" for module in modules)
        files.append(File.generated(config, _api_page(title), content=f"# {title}\n\n{body}\n"))
    for path in sorted(docs.rglob("*.md")):
        for _, _, target, _ in LINK.findall(path.read_text(encoding="utf-8")):
            outside = (path.parent / target).resolve()
            name = _copied(outside)
            if name and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(outside)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Order the pages, so that a new page needs no entry anywhere."""
    docs = Path(config.docs_dir)
    here = {p.relative_to(docs).with_suffix("").as_posix() for p in docs.rglob("*.md")}
    grouped = {g: [f"{n}.md" for n in names if n in here] for g, names in GROUPS.items()}
    rest = sorted(here - {n for names in GROUPS.values() for n in names})
    config.nav = [
        {"gentool": "index.md"},
        *({group: pages} for group, pages in grouped.items()),
        *([{"More": [f"{n}.md" for n in rest]}] if rest else []),
        {"Python API": [_api_page(title) for title in API]},
        {"Contributing": ["contributing.md", "security.md"]},
        {"Changes": "changelog.md"},
    ]
    return config


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links as they are meant in the repository, made to lead somewhere on the site."""
    source = page.file.src_uri
    folder = posixpath.dirname(f"docs/{source}") if source not in FROM_THE_ROOT else ""

    def replaced(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        copied = _copied(ROOT / path)
        known = {v: k for k, v in FROM_THE_ROOT.items()}
        if path.startswith("docs/"):
            place = path.removeprefix("docs/")
        elif path in known or copied:
            place = known.get(path) or copied
        else:  # code, which the site does not hold
            return text if text.strip("`/") == path else f"{text} (`{path}`)"
        place = posixpath.relpath(place, posixpath.dirname(source) or ".")
        return f"{mark}[{text}]({place}{anchor or ''})"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Equations as MathML; and the `::` before a docstring's example is a colon here."""

    def replaced(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        latex = match[3].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        try:
            return mathml(latex, display)
        except Exception as error:  # the converter raises whatever its parser meets
            LOG.warning("%s: cannot convert %r: %r", page.file.src_uri, latex, error)
            return match[0]

    return MATH.sub(replaced, html.replace("::</p>", ":</p>"))


def mathml(latex: str, display: str) -> str:
    r"""LaTeX as MathML that a browser shows by itself.

    The converter takes letters such as 𝔼 and 𝒩 only from braces, and MathML sets no space between
    a function such as \log and its argument.
    """
    braced = re.sub(r"(\\math(?:bb|cal))\s*(\w)", r"\1{\2}", latex)
    return re.sub(
        "(<mi>(?:log|exp)</mi>)",
        r'\1<mspace width="0.17em"/>',
        convert(braced, display=display),
    )


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """The site loads nothing from another host; a theme that starts to is noticed here."""
    for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*https?://[^>]*>", output):
        LOG.warning("%s loads something from another host: %s", page.file.src_uri, tag)
    return output


def _api_page(title: str) -> str:
    return f"api/{title.lower().replace(' ', '-')}.md"


def _copied(path: Path) -> str:
    """The name on the site of a result or picture outside this folder; empty for anything else."""
    if path.suffix not in (".csv", ".png") or not path.is_file():
        return ""
    name = path.resolve().relative_to(ROOT).as_posix()
    return "" if name.startswith("docs/") else name
