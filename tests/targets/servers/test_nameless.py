"""Servers that tell clients without a name refuse them as the guard does, and no listener."""

from itertools import product

import pytest

from noai_guard.core.guard import SINGLE_WORD
from noai_guard.targets.target import Feature
from tests.targets.conformance import BROWSER, GPTBOT, corpus, policy
from tests.targets.web_servers import SERVERS, SLOW, disagreements, started, target

ABLE = [key for key in SERVERS if Feature.NAMELESS in target(key).supports]
NAMELESS = (b"", b"-", b"Mozilla/5.0", b"foo/1.0", b"foo", b"org.example.app/1", b"a" * 256)
OTHERS = (b"a" * 257, b"My%20App/1.0", b"foo/1.0 (x)", b"foo bar", b"foobot/1.0", b"VLC/3.0.21", b"AntennaPod/3.4",
          b"curl/8.5.0", b"Googlebot/2.1", GPTBOT, BROWSER)  # fmt: skip


@pytest.mark.parametrize("key", ABLE)
def test_clients_without_a_name_are_refused_where_the_policy_says_so(key: str, origin_port: int) -> None:
    text = b"paths: {/tracks/**: {usages: {nameless: no}}}\n"
    requests = list(product(("/", "/tracks/song.mp3", "/Tracks/song.mp3"), (*NAMELESS, *OTHERS)))
    for server in started(key, policy(text), origin_port):
        assert not disagreements(server, requests)


@pytest.mark.parametrize("key", ABLE)
def test_every_single_word_that_the_catalogue_knows_keeps_its_name(key: str, origin_port: int) -> None:
    words = [each for each in corpus() if SINGLE_WORD.fullmatch(each)][:: 40 if key in SLOW else 4]
    requests = [("/index.html", user_agent) for user_agent in words]
    for server in started(key, policy(b"usages: {nameless: no}\n"), origin_port):
        assert not disagreements(server, requests)


@pytest.mark.parametrize("key", ABLE)
def test_clients_without_a_name_can_be_let_in_where_others_are_not(key: str, origin_port: int) -> None:
    rules = (
        b"rules: [{id: odd, usages: [nameless], action: log}, {id: closed, identities: [unclaimed], action: deny}]\n"
    )
    requests = [("/index.html", user_agent) for user_agent in (*NAMELESS, *OTHERS)]
    for server in started(key, policy(rules), origin_port):
        assert not disagreements(server, requests)
