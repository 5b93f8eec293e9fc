"""The facts of a request, read from its header lines."""

import pytest

from noai_guard.core.model import HeaderField
from noai_guard.core.request import MAX_HEADERS, PlainRequest, header_value, lower_case_names, read_user_agent
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES

FILLER = [(b"x-filler", b"")] * MAX_HEADERS


@pytest.mark.parametrize(
    ("headers", "user_agent"),
    [
        ([], b""),
        ([(b"accept", b"*/*")], b""),
        ([(b"accept", b"*/*"), (b"user-agent", b"GPTBot/1.2")], b"GPTBot/1.2"),
        ([(b"user-agent", b"Firefox"), (b"user-agent", b"GPTBot/1.2")], b"Firefox\nGPTBot/1.2"),
        ([*FILLER, (b"user-agent", b"GPTBot/1.2")], b"GPTBot/1.2"),
    ],
    ids=["no header", "no user agent", "one line", "two lines", "behind many other lines"],
)
def test_the_user_agent_is_every_line_that_is_read(headers: list[HeaderField], user_agent: bytes) -> None:
    assert read_user_agent(headers) == user_agent
    assert PlainRequest("/", headers).user_agent == user_agent


def test_a_long_user_agent_is_cut_to_its_head_and_its_tail() -> None:
    user_agent = read_user_agent([(b"user-agent", b"a" * 5000 + b"z")])
    assert user_agent == b"a" * HEAD_BYTES + b"__" + b"a" * (TAIL_BYTES - 1) + b"z"


def test_many_long_user_agents_together_are_cut_too() -> None:
    user_agent = read_user_agent([(b"user-agent", b"a" * 5000)] * 300)
    assert len(user_agent) == HEAD_BYTES + len(b"__") + TAIL_BYTES


def test_the_first_value_of_a_header_is_read_among_the_lines_that_count() -> None:
    headers = [(b"accept", b"text/html"), (b"range", b"bytes=0-"), (b"accept", b"*/*")]
    assert header_value(headers, b"accept") == b"text/html"
    assert header_value(headers, b"cookie") == b""
    assert header_value([*FILLER, *headers], b"accept") == b""


def test_names_become_lower_case_and_are_cut_at_64_bytes() -> None:
    headers = lower_case_names([(b"User-Agent", b"GPTBot"), (b"X" * 100, b"Value")])
    assert headers == [(b"user-agent", b"GPTBot"), (b"x" * 64, b"Value")]


def test_lines_above_the_limit_are_left_out() -> None:
    assert lower_case_names([*FILLER, (b"Accept", b"*/*")]) == FILLER


def test_a_plain_request_is_a_get_without_headers_unless_it_says_otherwise() -> None:
    request = PlainRequest("/tracks/1.mp3")
    assert (request.method, request.headers, request.peer, request.root_path) == ("GET", (), None, "")
