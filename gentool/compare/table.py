"""A comparison as a table: for people, as CSV, and for a paper."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from gentool.compare.groups import Group

MISSING = "–"


def headers(groups: Sequence[Group], metrics: Sequence[str]) -> list[str]:
    names = list(groups[0].options) if groups else []
    return [*(names or ["run"]), "seeds", *metrics]


def rows(groups: Sequence[Group], metrics: Sequence[str]) -> list[list[str]]:
    """A row a group: its options, how many runs, and mean ± deviation of each number."""
    return [
        [*_options(one), str(len(one.members)), *(number(one.summary(m)) for m in metrics)]
        for one in groups
    ]


def _options(one: Group) -> list[str]:
    return list(one.options.values()) or [one.label]


def number(found: tuple[float, float | None, int] | None, plus_minus: str = " ± ") -> str:
    """``105.2 ± 0.3``: the mean to the deviation's second digit, or four digits of one run."""
    if found is None:
        return MISSING
    mean, spread, _ = found
    if not spread:
        text = f"{mean:.4g}"
        return text if spread is None else f"{text}{plus_minus}0"
    digits = max(0, 1 - _exponent(spread))
    if digits > 9 or abs(mean) >= 1e7:
        return f"{mean:.3e}{plus_minus}{spread:.1e}"
    return f"{mean:.{digits}f}{plus_minus}{spread:.{digits}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def to_csv(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """CSV: of each number its mean, its deviation over seeds, and of how many runs."""
    names = list(groups[0].options) if groups else []
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{m} {what}" for m in metrics for what in ("mean", "deviation", "n")]
    writer.writerow([*map(_cell, names or ["run"]), "seeds", *map(_cell, columns)])
    for one in groups:
        cells: list[object] = [*map(_cell, _options(one)), len(one.members)]
        for metric in metrics:
            found = one.summary(metric)
            cells += ["", "", 0] if found is None else ["" if v is None else v for v in found]
        writer.writerow(cells)
    return file.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@" and not _NUMBER.fullmatch(text) else text


_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)


def to_latex(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    r"""A tabular for the package booktabs; the best mean of each number that says so is bold."""
    names = headers(groups, metrics)
    left = len(names) - len(metrics)
    best = {m: _best(groups, m) for m in metrics}
    lines = [
        rf"\begin{{tabular}}{{{'l' * (left - 1)}{'r' * (len(metrics) + 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, names)) + r" \\",
        r"\midrule",
    ]
    for i, one in enumerate(groups):
        cells = [*map(_escaped, _options(one)), str(len(one.members))]
        for metric in metrics:
            text = number(one.summary(metric), r" \pm ")
            text = "--" if text == MISSING else _powers(text)
            shown = rf"\mathbf{{{text}}}" if i == best[metric] else text
            cells.append(text if text == "--" else f"${shown}$")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _best(groups: Sequence[Group], metric: str) -> int | None:
    """Which group has the best mean, where the metric says which way is better."""
    ways = {m.better[metric] for g in groups for m in g.members if metric in m.better}
    found = {i: s[0] for i, g in enumerate(groups) if (s := g.summary(metric)) is not None}
    if len(ways) != 1 or len(found) < 2:
        return None
    return (min if ways == {"lower"} else max)(found, key=lambda i: found[i])


def _powers(text: str) -> str:
    return re.sub(r"e([+-])0*(\d+)", lambda m: rf" \cdot 10^{{{m[1].lstrip('+')}{m[2]}}}", text)


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _escaped(text: str) -> str:
    """Text as LaTeX prints it, whatever it is."""
    return "".join(_SPECIAL.get(c, c) for c in text)
