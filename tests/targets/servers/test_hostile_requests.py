"""No form of a request lets a refused agent in, and none has a listener refused, on any server.

What a server passes on to the origin is judged, because some resolve a path before they do.
"""

import os
from collections.abc import Iterator

import pytest

from tests.targets.conformance import (
    BROWSER,
    CERTIFICATE_CHECKS,
    GPTBOT,
    LETTERS,
    MEMBERS,
    NAMED_NOWHERE,
    NAMED_SOMEWHERE,
    NO_AI,
    ODD_PATHS,
    SECTIONS,
    ask,
    judged_target,
    odd_paths,
    policy,
    refusal,
    user_agent_lines,
)
from tests.targets.web_servers import SERVERS, SLOW, RunningServer, recording_origin, started

Recorded = tuple[RunningServer, list[bytes]]

FIRST_LINE_ONLY = {
    "the last of two lines",
    "the third of five lines",
    "inside of a word, in several lines that are long together",
}
"""What nginx does not see below 1.23."""

LINE_BY_LINE = {"inside of a word, in several lines that are long together"}
"""What Traefik does not see, whose conditions are about single lines."""

MALFORMED = frozenset({0, 400, 404, 405, 501})
"""Responses of a server itself to what it does not take, or of an origin that does not have it."""


@pytest.fixture(scope="module", params=SERVERS)
def plain(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with recording_origin() as (origin_port, heads):
        for server in started(request.param, NO_AI, origin_port):
            yield server, heads


@pytest.fixture(scope="module", params=SERVERS)
def sections(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with recording_origin() as (origin_port, heads):
        for server in started(request.param, policy(SECTIONS), origin_port):
            yield server, heads


def reached(recorded: Recorded, target: bytes, lines: list[bytes]) -> tuple[int, bytes]:
    """Return the status, and the target that the origin got; empty if it got none."""
    server, heads = recorded
    heads.clear()
    status = ask(server.port, target, lines)
    return status, heads[-1].split(b" ")[1] if heads else b""


@pytest.mark.parametrize("client", NAMED_SOMEWHERE)
def test_a_refused_agent_that_is_named_anywhere_does_not_get_in(plain: Recorded, client: str) -> None:
    if plain[0].key == "nginx" and client in FIRST_LINE_ONLY:
        pytest.skip("nginx below 1.23 has only the first of several lines")
    if plain[0].key == "traefik" and client in LINE_BY_LINE:
        pytest.skip("Traefik's conditions are about single lines")
    status, target = reached(plain, b"/songs/1", NAMED_SOMEWHERE[client])
    assert (status in (400, 403), target) == (True, b"")


@pytest.mark.parametrize("client", NAMED_NOWHERE)
def test_a_client_that_names_nobody_gets_in(plain: Recorded, client: str) -> None:
    if client.startswith("Connection names") and plain[0].key in ("varnish", "envoy"):
        pytest.skip(f"{plain[0].key} cannot tell it from an agent")
    assert reached(plain, b"/songs/1", NAMED_NOWHERE[client])[0] in (200, 206)


AGENTS = (b"GPTBot/1.3", b"PerplexityBot/1.0", b"Googlebot/2.1", BROWSER)


def assert_judged(recorded: Recorded, target: bytes, user_agent: bytes, *refused_somewhere: bytes) -> None:
    server = recorded[0]
    status, received = reached(recorded, target, user_agent_lines(user_agent))
    if received:
        is_document = received.decode("latin-1").partition("?")[0] in server.compiled.documents
        assert is_document or not judged_target(server.compiled, received, user_agent).refuses, (target, received)
    elif status == 403:
        assert user_agent.startswith((b"GPTBot", b"PerplexityBot", *refused_somewhere)), (target, user_agent)
    elif status == 402:
        assert refusal(server.compiled, target, user_agent)[0] == 402, (target, user_agent)
    else:
        assert status in MALFORMED or status in (200, 301, 304), (target, status)


@pytest.mark.parametrize("target", ODD_PATHS, ids=repr)
def test_no_spelling_of_a_path_leads_to_what_is_refused(sections: Recorded, target: bytes) -> None:
    for user_agent in AGENTS:
        assert_judged(sections, target, user_agent)


def test_generated_paths_are_never_judged_more_mildly_than_by_the_guard(sections: Recorded) -> None:
    count = 1500 if os.environ.get("NOAI_FULL") == "1" else 15 if sections[0].key in SLOW else 60
    for target in odd_paths(count):
        for user_agent in AGENTS:
            assert_judged(sections, target, user_agent)


@pytest.fixture(scope="module", params=SERVERS)
def members(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with recording_origin() as (origin_port, heads):
        for server in started(request.param, policy(MEMBERS), origin_port):
            yield server, heads


def assert_listeners_get_in(recorded: Recorded, target: bytes) -> None:
    for user_agent in (BROWSER, b"Googlebot/2.1", b""):
        status, _ = reached(recorded, target, user_agent_lines(user_agent))
        # lighttpd forbids what is no UTF-8, Apache a raw byte.
        assert status == 200 or status in MALFORMED, (recorded[0].key, user_agent, status)


@pytest.mark.parametrize("target", LETTERS, ids=repr)
def test_a_listener_is_refused_on_no_path(sections: Recorded, target: bytes) -> None:
    assert_listeners_get_in(sections, target)


@pytest.mark.parametrize("target", LETTERS, ids=repr)
def test_a_listener_is_refused_on_no_path_where_others_are_for_members(members: Recorded, target: bytes) -> None:
    assert_listeners_get_in(members, target)


MEMBERS_PATHS = (b"/Members/a", b"/MEMBERS/a", b"/%4dembers/a", b"/x/../members/a", b"/x/..%2fmembers/a", b"//x/Members/a", b"/Members;x/a",
                 b"/%254dembers/a", b"/%c1%8dembers/a", b"/x\\..\\Members/a", b"/Members%2fa", b"/Members/../a", b"/%2e/Members/a",
                 b"/%C3%A9tage/a.mp3", b"/%C3%89TAGE/a.MP3", b"/x/..%2f%25C3%25A9tage/a.mp3", b"/%C3%A9tage;/a.mp3")  # fmt: skip


@pytest.mark.parametrize("target", MEMBERS_PATHS, ids=repr)
def test_people_are_refused_where_a_reading_is_for_members(members: Recorded, target: bytes) -> None:
    assert_judged(members, target, BROWSER, b"Mozilla")


def test_generated_paths_are_judged_as_strictly_where_people_are_refused(members: Recorded) -> None:
    count = 1500 if os.environ.get("NOAI_FULL") == "1" else 15 if members[0].key in SLOW else 60
    for target in odd_paths(count):
        assert_judged(members, target, BROWSER, b"Mozilla")


@pytest.mark.parametrize("target", CERTIFICATE_CHECKS, ids=repr)
def test_certificate_authorities_get_in_and_only_where_they_look(plain: Recorded, target: bytes) -> None:
    assert reached(plain, target, user_agent_lines(GPTBOT)) == (200, target)
    for other in (b"/songs" + target, target + b"/../../../songs/1", target + b"/..%2f..%2f..%2fsongs", target.upper()):
        assert reached(plain, other, user_agent_lines(GPTBOT))[1] == b""
