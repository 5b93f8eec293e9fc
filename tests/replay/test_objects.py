"""What polars reads of lines of JSON is what Python reads, line by line, and it reads what servers write."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noai_guard.replay import objects
from noai_guard.replay.formats import format_named, is_comment
from noai_guard.replay.log_format import FIELDS, LogFormat, Row
from noai_guard.replay.objects import read_objects
from tests.replay.lines import DOCUMENTED, cloudflare
from tests.replay.requests import REQUESTS

NAMES = ("caddy", "cloudflare", "traefik")


def compact(line: str, **changes: Any) -> str:
    return json.dumps({**json.loads(line), **changes}, separators=(",", ":"), ensure_ascii=False)


def sample(name: str) -> str:
    return compact(DOCUMENTED[name])


def one_by_one(lines: Sequence[str], form: LogFormat) -> tuple[list[Row], list[str]]:
    """Return what Python reads of the lines, and those that it does not read."""
    rows, bad = [], []
    for line in lines:
        if is_comment(form, line):
            continue
        row = form.read(line)
        if row is None:
            bad.append(line)
        else:
            rows.append(tuple(map(objects._encodable, row)))
    return rows, bad


def at(form: LogFormat, time: str | None) -> object:
    try:
        return None if time is None else form.seconds(time)
    except (ValueError, OverflowError):
        return "?"


def with_seconds(rows: Sequence[Row], form: LogFormat) -> list[dict[str, object]]:
    made = [dict[str, object](zip(FIELDS, row, strict=True)) for row in rows]
    return [{**row, "time": at(form, row["time"])} for row in made]  # type: ignore[arg-type]


def assert_same(lines: Sequence[str], name: str) -> None:
    form = format_named(name, lines)
    table, bad = read_objects("".join(f"{line}\n" for line in lines).encode(), form)
    # CR LF ends a line, too.
    expected, expected_bad = one_by_one([line.removesuffix("\r") for line in lines], form)
    assert with_seconds(table.rows(), form) == with_seconds(expected, form)
    assert bad == expected_bad


@pytest.mark.parametrize("name", NAMES)
def test_lines_as_servers_write_them_are_read_by_polars(name: str) -> None:
    lines = pl.DataFrame({"line": [sample(name)] * 3}).with_row_index("at")
    usual = objects._usual(lines, format_named(name, [sample(name)]))
    assert usual is not None
    assert usual["at"].to_list() == [0, 1, 2]
    assert_same([sample(name)] * 3, name)


def test_requests_of_all_kinds_are_read_as_one_by_one() -> None:
    lines = [compact(cloudflare(sent)) for sent in REQUESTS]
    assert_same(lines, "cloudflare")


_TWICE = '{"ClientHost":"192.0.2.1",'


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("traefik", lambda line: compact(line, RequestMethod=True)),
        ("traefik", lambda line: compact(line, DownstreamStatus=2e2)),
        ("traefik", lambda line: line.replace("GPTBot", r"\ud800")),
        ("traefik", lambda line: line.replace("GPTBot", r"\u0041")),
        ("traefik", lambda line: _TWICE + line[1:]),
        ("traefik", lambda line: _TWICE + line[1:].replace('"ClientHost":', '"Host":')),
        ("traefik", lambda line: line.replace('"StartUTC":', '"Start":')),
        ("traefik", lambda line: '{"x":' + "[" * 1000 + "]" * 1000 + "," + line[1:]),
        ("traefik", lambda line: '{"x":NaN,' + line[1:]),
        ("traefik", lambda line: line + line),
        ("traefik", lambda line: line[:-9]),
        ("traefik", lambda line: f" {line}\r"),
        ("caddy", lambda line: line.replace('"headers":{"User-Agent":["curl/7.82.0"],"Accept":["*/*"]}', '"headers":null')),
        ("caddy", lambda line: line.replace('"User-Agent":["curl/7.82.0"]', '"User-Agent":[]')),
        ("caddy", lambda line: line.replace('"client_ip":"127.0.0.1"', '"client_ip":""')),
        ("caddy", lambda line: line.replace('"request":', '"asked":')),
        ("caddy", lambda line: line.replace('"status":200', '"resp":{"status":200}')),
        ("cloudflare", lambda line: compact(line, ClientRequestURI="", ClientRequestPath="/p")),
        ("cloudflare", lambda line: compact(line, ClientRequestUserAgent=None)),
        ("cloudflare", lambda line: compact(line, EdgeStartTimestamp=0)),
    ],
)  # fmt: skip
def test_an_unusual_line_is_read_as_python_reads_it(name: str, change: Callable[[str], str]) -> None:
    line = change(sample(name))
    assert line != sample(name)
    assert_same([sample(name), line, sample(name)], name)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["", "/a?b", '"status":200,', "\ud800", "caf\u00e9", 0, 10**20]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=400)
def test_whatever_stands_in_the_place_of_a_value_is_read_as_one_by_one(name: str, data: st.DataObject) -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, dict) and data.draw(st.integers(0, 9)):
            return {key: changed(inner) for key, inner in value.items() if data.draw(st.integers(0, 9))}
        return data.draw(_VALUES) if not data.draw(st.integers(0, 7)) else value

    line = json.dumps(
        changed(json.loads(DOCUMENTED[name])), separators=(",", ":"), ensure_ascii=data.draw(st.booleans())
    )
    line = line.encode("utf-8", "replace").decode()
    assert_same([sample(name), line, sample(name)], name)


_PIECES = st.sampled_from(
    ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\t", "null", "true", "NaN", "1", "-", ".5", "e5", "0", "\x7f", "\x01",
     '"status":200,', '"ClientIP":"192.0.2.1",', '"ClientHost":"192.0.2.1",', '"request":{', '"uri":"/x",', '"headers":null,',
     '"User-Agent":["x"],', '"User-Agent":[],', "}{", "//", "\u00e9", '"x":' + "[" * 900 + "]" * 900 + ",", "\\u0041", "\r"]
)  # fmt: skip


@given(st.sampled_from(NAMES), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), _PIECES), max_size=4))
@settings(max_examples=800)
@example("traefik", [(0.001, 0.0, '"ClientHost":"192.0.2.1",')])
@example("caddy", [(1.0, 0.0, "{}")])
def test_whatever_is_put_into_a_line_is_read_as_one_by_one(name: str, edits: list[tuple[float, float, str]]) -> None:
    line = sample(name)
    for place, cut, piece in edits:
        start = int(place * len(line))
        line = line[:start] + piece + line[start + (int(cut * len(line)) if cut > 0.1 else 0) :]
    assert_same([sample(name), line, sample(name)], name)
