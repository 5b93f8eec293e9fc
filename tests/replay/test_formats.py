"""Formats are found by their lines, and a replay comes to what the judge says of each request."""

import gzip
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.replay.blocks import Block
from noai_guard.replay.formats import FORMAT_NAMES, FORMATS, format_named, found_format
from noai_guard.replay.judge import NOT_LOGGED
from noai_guard.replay.log_format import FIELDS
from noai_guard.replay.parsing import _matched, _split, parsed
from noai_guard.replay.run import Replay, UnknownFormat
from noai_guard.replay.sources import Source
from noai_guard.replay.text_formats import COMBINED
from tests.replay.lines import DOCUMENTED, WRITERS, as_logged, combined, log
from tests.replay.requests import GPTBOT, OTHER_POLICY, REQUESTS, Sent, compiled, counted, judged, works

NOW = 1_795_000_000.0


def replayed(tmp_path: Path, text: bytes, log_format: str = "", **options: Any) -> Replay:
    file = tmp_path / "access.log"
    file.write_bytes(text)
    replay = Replay([compiled(), compiled(OTHER_POLICY)], ["noai.yaml", "other.yaml"], NOW)
    replay.read(Source(str(file)), log_format, **options)
    return replay


def texts_of(block: Block) -> pl.DataFrame:
    """Return the rows of a block with their texts."""
    tables = (("agent", block.agents), ("path", block.paths), ("client", block.clients))
    texts = [table.select(pl.all().gather(block.rows[column])) for column, table in tables]
    rows = pl.concat([block.rows.drop("agent", "path", "client"), *texts], how="horizontal")
    return rows.select(sorted(rows.columns))


@pytest.mark.parametrize("name", WRITERS)
def test_counts_are_those_of_the_judge_line_by_line_and_by_both_policies(name: str, tmp_path: Path) -> None:
    replay = replayed(tmp_path, log(name, REQUESTS))
    requests = as_logged(name, REQUESTS)
    assert counted(replay.tally) == judged(compiled(), requests, NOW)
    assert counted(replay.tally, 1) == judged(compiled(OTHER_POLICY), requests, NOW)
    assert replay.logs[0].lines == len(REQUESTS)
    assert replay.logs[0].bad == 0
    assert sum(each.bytes for each in replay.tally.sums) == 2326 * len(REQUESTS)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "events"])
def test_ranges_segments_and_repeats_of_a_work_count_once(name: str, tmp_path: Path) -> None:
    replay = replayed(tmp_path, log(name, [each for each in REQUESTS if each.user_agent == GPTBOT]))
    [of_gptbot] = [group for group in replay.summary().refused if group.agent == "GPTBot"]
    refused = [each for each in REQUESTS if each.user_agent == GPTBOT and not each.target.startswith(b"/press")]
    assert of_gptbot.works == works(refused, compiled())


@pytest.mark.parametrize("name", WRITERS)
def test_small_blocks_give_the_same_counts(name: str, tmp_path: Path) -> None:
    replay = replayed(tmp_path, log(name, REQUESTS), block_bytes=4096)
    assert counted(replay.tally) == judged(compiled(), as_logged(name, REQUESTS), NOW)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_sample_of_a_format_is_found_and_read(name: str, tmp_path: Path) -> None:
    replay = replayed(tmp_path, DOCUMENTED[name].encode())
    facts = replay.logs[0]
    assert facts.format.startswith(next(each.title for each in FORMATS if each.name == name))
    assert sum(each.requests for each in replay.tally.sums) == 1
    assert facts.bad == 0
    assert facts.first is not None


def test_every_format_has_a_sample() -> None:
    assert set(FORMAT_NAMES) == set(WRITERS) | set(DOCUMENTED)


@pytest.mark.parametrize("name", WRITERS)
def test_a_block_is_read_as_its_lines_are(name: str) -> None:
    text = log(name, REQUESTS)
    lines = text.decode("utf-8" if name in ("cloudflare", "events") else "latin-1").split("\n")[:-1]
    form = format_named(name, lines)
    rows = texts_of(parsed(text, form))
    each = [dict(zip(FIELDS, form.read(line) or (), strict=True)) for line in lines]
    assert rows["user_agent"].to_list() == [fields["user_agent"] for fields in each]
    assert rows["address"].to_list() == [fields["address"] for fields in each]
    assert rows["target"].to_list() == [str(fields["target"]).partition("?")[0] for fields in each]


def test_what_is_no_log_is_refused_with_the_formats_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match=r"known format; --log-format names one: .*combined.*"):
        replayed(tmp_path, b"once\nupon\na time\n")


def test_an_empty_log_is_no_mistake(tmp_path: Path) -> None:
    assert replayed(tmp_path, b"").summary().requests == 0


def test_a_named_format_is_used_whatever_the_lines_look_like(tmp_path: Path) -> None:
    replay = replayed(tmp_path, b"nonsense\n" * 3, "combined")
    assert (replay.logs[0].bad, replay.logs[0].samples) == (3, ["nonsense"] * 3)


def test_a_log_without_user_agents_is_not_judged(tmp_path: Path) -> None:
    replay = replayed(tmp_path, DOCUMENTED["common"].encode())
    assert [outcome[0].rule for outcome in replay.tally.outcomes] == [NOT_LOGGED]
    assert any("without a user agent" in note for note in replay.summary().notes)


def test_traefik_writes_user_agents_only_if_it_is_told_to(tmp_path: Path) -> None:
    line = DOCUMENTED["traefik"]
    without = json.dumps({key: value for key, value in json.loads(line).items() if key != "request_User-Agent"})
    assert replayed(tmp_path, without.encode()).summary().unjudged == 1
    assert replayed(tmp_path, f"{line}\n{without}\n".encode()).summary().unjudged == 0


@pytest.mark.parametrize(
    ("captured", "user_agent"),
    [("{GPTBot/1.3}", "GPTBot/1.3"), ("{music.example|GPTBot/1.3|https://a/}", "GPTBot/1.3"), ("", None), ("{1wt.eu} {}", None)],
)  # fmt: skip
def test_haproxy_says_by_its_values_which_captured_field_is_the_user_agent(
    captured: str, user_agent: str | None
) -> None:
    line = DOCUMENTED["haproxy"].replace("{1wt.eu} {}", captured).replace("  ", " ")
    form = found_format([line])
    assert form is not None
    assert form.name == "haproxy"
    row = form.read(line)
    assert row is not None
    assert dict(zip(FIELDS, row, strict=True))["user_agent"] == user_agent


def test_times_with_a_zone_are_moved_to_utc() -> None:
    assert COMBINED.seconds("10/Oct/2000:13:55:36 -0700") == 971_211_336.0
    assert COMBINED.seconds("- - [10/Oct/2000:20:55:36 +0000] ") == 971_211_336.0


_PIECES = st.sampled_from(
    [b'"', b" ", b"\\", b'\\"', b"\\x22", b"[", b"]", b"GET / HTTP/1.1", b"200", b"-", b"1.2.3.4", b"\xc3\xa9", b"\0",
     b"\r", b"\t", b"10/Oct/2026:13:55:36 +0000", b'" 200 5 "', b'" "', b"{", b"}", b"?", b"/a", b"%2f", b"99999999999999999999"]
)  # fmt: skip
_SOUND = combined(Sent(b"/tracks/a", GPTBOT)).encode()


@given(st.lists(st.lists(_PIECES, max_size=14).map(b"".join), max_size=5))
@settings(max_examples=600)
def test_no_line_makes_reading_fail_and_each_is_counted(lines: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in [*lines, _SOUND])
    for form in FORMATS:
        block = parsed(text, form)
        assert block.lines == block.rows.height + block.bad + block.empty
        assert block.lines <= len(lines) + 1


@given(
    st.lists(
        st.lists(_PIECES | st.sampled_from([b'x="', b"203.0.113.7", b"10.0.0.1, ", b'"Mozilla/5.0"']), max_size=20)
    )
)
@settings(max_examples=300)
def test_no_lines_make_the_search_for_a_format_fail(lines: list[list[bytes]]) -> None:
    texts = [b" ".join(line).decode("latin-1").replace("\n", "") for line in lines]
    form = found_format(texts)
    if form is not None:
        block = parsed("".join(f"{text}\n" for text in texts).encode("latin-1"), form)
        assert block.lines == block.rows.height + block.bad + block.empty


@given(st.lists(st.lists(_PIECES.filter(lambda piece: b'\\"' not in piece), max_size=14).map(b"".join), max_size=5))
@settings(max_examples=600)
def test_splitting_at_quotes_reads_what_the_expression_reads(lines: list[bytes]) -> None:
    sound = [_SOUND.replace(b"Mozilla", piece) for piece in lines if b'"' not in piece and b"\\" not in piece]
    text = b"".join(line + b"\n" for line in [*sound, _SOUND]).decode("latin-1").encode()
    split, matched = _split(text), _matched(text, COMBINED)
    assert texts_of(split).drop("time").equals(texts_of(matched).drop("time"))
    assert (split.bad, split.empty) == (matched.bad, matched.empty)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["caddy", "traefik", "cloudflare"]), st.data())
@settings(max_examples=300)
def test_no_object_makes_reading_fail(name: str, data: st.DataObject) -> None:
    sample: Mapping[str, Any] = json.loads(DOCUMENTED[name])
    changed = {key: data.draw(_JSON) if data.draw(st.booleans()) else value for key, value in sample.items()}
    block = parsed(json.dumps(changed).encode() + b"\n", format_named(name, []))
    assert block.rows.height + block.bad in (0, 1)


def test_a_replay_of_a_compressed_log_is_that_of_the_log(tmp_path: Path) -> None:
    text = log("combined", REQUESTS)
    replay = replayed(tmp_path, gzip.compress(text))
    assert counted(replay.tally) == judged(compiled(), REQUESTS, NOW)


def test_requests_over_the_rate_are_those_of_the_judge(tmp_path: Path) -> None:
    policy = b"extends: no-ai\nusages: {search: throttle}\nlimits: {throttle: {requests: 3, seconds: 60}}\n"
    file = tmp_path / "access.log"
    lines = [combined(Sent(b"/", b"Googlebot/2.1")).replace(":55:36", f":55:{second:02}") for second in range(0, 50, 5)]
    lines += [line.replace(":55:", ":56:") for line in lines[:2]]
    file.write_text("\n".join(lines) + "\n")
    replay = Replay([compiled(policy)], ["noai.yaml"], time.time())
    replay.read(Source(str(file)))
    counts = {action: number for (agent, action, _), number in counted(replay.tally).items()}
    assert counts == {"allow": 5, "throttle": 7}
