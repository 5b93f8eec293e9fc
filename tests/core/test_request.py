"""The facts of a request, read from its header lines."""

import pytest

from noai_guard.core.model import HeaderField
from noai_guard.core.request import PlainRequest, header_value, lower_case_names, mounted_paths, read_user_agent

FILLER = [(b"x-filler", b"")] * 20_000


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


def test_of_long_user_agents_nothing_is_cut() -> None:
    assert read_user_agent([(b"user-agent", b"a" * 5000)] * 300) == b"\n".join([b"a" * 5000] * 300)


def test_the_first_value_of_a_header_is_read_however_many_lines_stand_before_it() -> None:
    headers = [(b"accept", b"text/html"), (b"range", b"bytes=0-"), (b"accept", b"*/*")]
    assert header_value(headers, b"accept") == b"text/html"
    assert header_value(headers, b"cookie") == b""
    assert header_value([*FILLER, *headers], b"accept") == b"text/html"


def test_names_of_all_lines_become_lower_case() -> None:
    headers = lower_case_names([*FILLER, (b"User-Agent", b"GPTBot")])
    assert headers == [*FILLER, (b"user-agent", b"GPTBot")]


def test_a_plain_request_is_a_get_without_headers_unless_it_says_otherwise() -> None:
    request = PlainRequest("/tracks/1.mp3")
    assert (request.method, request.headers, request.peer, request.root_path) == ("GET", (), None, "")


def test_a_path_under_a_mount_is_itself_and_what_is_below() -> None:
    assert mounted_paths("/press/songs/ä", "/songs/ä") == (b"/press/songs/%C3%A4", b"/songs/%C3%A4")
