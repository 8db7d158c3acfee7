"""``gentool data``: which data there is, and what is in it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import options
from gentool.cli.options import given, parameters, with_signature
from gentool.console import loading_bar, print_json, print_table, tell
from gentool.data.options import DataOptions
from gentool.data.registry import downloads, sources
from gentool.errors import UserError, printable
from gentool.spec import DownloadInfo, SourceInfo

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List data sources, download one, and look at it before training.",
)


@app.command("list")
def list_sources(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what --data takes: names, and kinds of files."""
    found = [{"name": s.name, "kind": s.kind, "help": s.help} for s in sources()]
    if json:
        print_json(found)
        return
    rows = [(f"a path ({s['name']})" if s["kind"] == "path" else s["name"], s) for s in found]
    print_table(("--data", "kind", "what"), [(name, s["kind"], s["help"]) for name, s in rows])


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A source, or inception.")],
    cache: Annotated[
        str | None,
        typer.Option("--cache", metavar="TEXT", help="As for train: where downloads go."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Download a data set ahead of its use, and check it.

    A download that broke off goes on where it was; what is there and right is not fetched again.
    """
    from gentool.data.sources.published import fetch_ahead

    with loading_bar() as progress:
        asked = DataOptions(cache=cache)
        known: list[SourceInfo | DownloadInfo] = [*sources(), *downloads(name)]
        folder, files, fetched = fetch_ahead(name, known, asked, progress)
    if json:
        print_json({"name": name, "folder": str(folder), "files": files, "fetched": fetched})
        return
    for file in files:
        state = "fetched" if file in fetched else "there already"
        tell(f"{printable(str(folder / file), 400)}  {state}, as published")


# The data options of `gentool train`, but for the source, which is an argument here, and for the
# policy on broken files, since all of them are listed.
_FIELDS = tuple(f for f in options.fields_of(DataOptions) if f.name not in ("data", "on_bad_file"))


def _inspect(src: str, json: bool, out: Path | None, **values: Any) -> None:
    from gentool.data.inspect import inspect as look
    from gentool.data.inspect import save_picture

    asked = options.build(DataOptions, {"data": src, **given(_FIELDS, values)})
    with loading_bar() as progress:
        data, facts = look(asked, progress)
    picture = out if json or out else Path(f"{data.name}-inspect.png")
    if picture is not None:
        try:
            save_picture(data, picture)
        except OSError as error:
            raise UserError(
                f"{printable(str(picture))} cannot be written: {error.strerror or error}; give "
                "another --out"
            ) from error
    facts["picture"] = str(picture) if picture else None
    if json:
        print_json(facts)
    else:
        for name, value in _lines(facts):
            tell(f"{name:<8} {printable(value, 400)}")


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts for a person: (name, value) a line."""
    shape = "x".join(str(n) for n in facts["shape"][1:])
    if facts["kind"] == "image":
        colour = "grey" if facts["shape"][0] == 1 else "RGB"
        kind = "images of different sizes" if facts["needs_size"] else f"images, {shape}"
        lines = [("data", facts["data"]), ("kind", f"{kind}, {colour}")]
    else:
        lines = [("data", facts["data"]), ("kind", f"points, {facts['shape'][0]}-dimensional")]
    lines += [(name, f"{split['count']:,}") for name, split in facts["splits"].items()]
    per_class = facts["splits"]["train"]["per_class"]
    if per_class:
        pairs = list(zip(facts["classes"], per_class, strict=True))
        shown = ", ".join(f"{name} {count:,}" for name, count in pairs[:20])
        lines.append(("classes", f"{len(pairs)}: {shown}{', …' if len(pairs) > 20 else ''}"))
    if facts["attributes"]:
        known = list(facts["attributes"].items())
        shown = ", ".join(_attribute(name, one) for name, one in known[:20])
        lines.append(("attributes", f"{len(known)}: {shown}{', …' if len(known) > 20 else ''}"))
    v = facts["values"]
    lines.append(
        ("values", f"{v['min']:g} to {v['max']:g}, mean {v['mean']:.4g}, std {v['std']:.4g}")
    )
    for name in ("sizes", "modes"):
        if facts[name]:
            pairs = list(facts[name].items())
            shown = ", ".join(f"{key} ({count:,})" for key, count in pairs[:8])
            more = f" and {len(pairs) - 8} more" if len(pairs) > 8 else ""
            lines.append((name, shown + more))
    if facts["ignored"]:
        lines.append(("ignored", f"{facts['ignored']:,} files that are no images by their name"))
    broken = facts["broken"]
    lines.append(("broken", f"{broken['count']:,} files" if broken["count"] else "none"))
    lines += [("", f"{bad['name']} {bad['reason']}") for bad in broken["files"][:10]]
    if broken["count"] > 10:
        lines.append(("", f"and {broken['count'] - 10:,} more (--json lists 100)"))
    lines += [("note", note) for note in facts["notes"]]
    if facts["needs_size"]:
        lines.append(("note", "training needs --size, for example --size 64"))
    lines.append(("picture", facts["picture"]))
    return lines


def _attribute(name: str, facts: dict[str, Any]) -> str:
    """The share that has a binary attribute; where a continuous one lies."""
    if facts["kind"] == "binary":
        return f"{name} {facts['mean']:.0%}"
    return f"{name} {facts['mean']:.4g} ± {facts['std']:.4g}"


_OWN = [
    inspect.Parameter(
        "src",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[str, typer.Argument(metavar="SRC", help="A source's name or a path.")],
    ),
    inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--json", help="Print JSON; the picture needs --out then.")
        ],
    ),
    inspect.Parameter(
        "out",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None, typer.Option("--out", help="The picture (default NAME-inspect.png).")
        ],
    ),
]
app.command("inspect", help="Show counts, sizes, classes, broken files and a picture of a source.")(
    with_signature(_inspect, [*_OWN, *parameters(_FIELDS, "Data", {})])
)
