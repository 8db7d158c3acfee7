"""One description of an option serves the command line, TOML and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentool.errors import UserError
from gentool.options import SpecError, build, fields_of, parse, to_json
from gentool.spec import Option
from gentool.train.settings import core_fields


@dataclass(frozen=True)
class Config:
    count: Annotated[int, Option("a count", min=1, max=10)] = 3
    rate: Annotated[float, Option("a rate", above=0, below=1)] = 0.5
    mode: Annotated[Literal["slow", "fast"], Option("a mode")] = "slow"
    widths: Annotated[tuple[int, ...], Option("widths", min=1)] = (4, 4)
    name: Annotated[str | None, Option("a name")] = None
    loud: Annotated[bool, Option("noise", flag="shout")] = False
    width: Annotated[float | Literal["each", "all"] | None, Option("a width", above=0)] = None


BY_NAME = {f.name: f for f in fields_of(Config)}

configs = st.builds(
    Config,
    count=st.integers(1, 10),
    rate=st.floats(0, 1, exclude_min=True, exclude_max=True),
    mode=st.sampled_from(["slow", "fast"]),
    widths=st.lists(st.integers(1, 2**40), min_size=1).map(tuple),
    name=st.none() | st.text(),
    loud=st.booleans(),
    width=st.none() | st.sampled_from(["each", "all"]) | st.floats(1e-3, 10),
)


@given(configs)
def test_json_round_trip(config: Config) -> None:
    import json

    assert build(Config, json.loads(json.dumps(to_json(config)))) == config


@given(st.text(max_size=30), st.sampled_from(sorted(BY_NAME)))
def test_any_text_is_a_value_or_one_sentence(text: str, name: str) -> None:
    try:
        value = parse(BY_NAME[name], text)
    except UserError as error:
        assert "\n" not in str(error) and BY_NAME[name].flag in str(error)
    else:
        assert build(Config, {name: value})


@given(
    st.dictionaries(
        st.sampled_from(sorted(BY_NAME)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_any_json_is_a_config_or_one_sentence(values: dict[str, object]) -> None:
    try:
        config = build(Config, values)
    except UserError as error:
        assert "--" in str(error)
    else:
        assert 1 <= config.count <= 10 and 0 < config.rate < 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "1e1", 10),
        ("widths", "8, 16", (8, 16)),
        ("widths", "8", (8,)),
        ("name", "none", None),
        ("rate", "1e-3", 1e-3),
        ("width", "0.1", 0.1),
        ("width", "each", "each"),
        ("width", "none", None),
    ],
)
def test_what_people_write(name: str, text: str, value: object) -> None:
    assert parse(BY_NAME[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("count", "11", "at most 10"),
        ("rate", "0", "more than 0 and less than 1"),
        ("rate", "nan", "more than 0"),
        ("mode", "fats", "did you mean 'fast'"),
        ("widths", "", "at least one"),
        ("loud", "maybe", "--shout"),
        ("width", "ech", "a number or each or all"),
        ("width", "-1", "more than 0"),
    ],
)
def test_a_value_out_of_bounds_names_the_bound(name: str, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse(BY_NAME[name], text)


def test_a_boolean_is_no_number() -> None:
    with pytest.raises(UserError):
        build(Config, {"count": True})
    with pytest.raises(UserError):
        build(Config, {"rate": True})


@dataclass(frozen=True)
class Unsupported:
    table: dict[str, int] | None = None


@dataclass(frozen=True)
class NoDefault:
    count: int


@pytest.mark.parametrize("config", [Unsupported, NoDefault, int])
def test_an_unsupported_config_is_its_authors_error(config: type) -> None:
    with pytest.raises(SpecError):
        fields_of(config)


def test_core_options_have_help_and_distinct_flags() -> None:
    fields = core_fields()
    assert all(f.option.help for f in fields)
    assert len({f.flag for f in fields}) == len(fields)


def test_numbers_of_numpy_and_paths_are_plain_values() -> None:
    @dataclass(frozen=True)
    class Scripted:
        count: int = 1
        rate: float = 0.5
        sizes: tuple[int, ...] = (1,)
        data: str = ""

    built = build(
        Scripted,
        {
            "count": np.int64(3),
            "rate": np.float32(0.25),
            "sizes": [np.int32(4), 5],
            "data": Path("a") / "b",
        },
    )
    assert built == Scripted(3, 0.25, (4, 5), str(Path("a") / "b"))
    assert [type(v) for v in (built.count, built.rate, *built.sizes)] == [int, float, int, int]
    for wrong in (np.bool_(True), np.float64(1.0)):
        with pytest.raises(UserError, match="a whole number"):
            build(Scripted, {"count": wrong})
