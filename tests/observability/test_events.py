"""Events reach every sink that wants them, and a sink that fails never touches the request."""

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.core.model import Verdict
from noai_guard.core.text import printable_ascii
from noai_guard.observability.events import Event
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, metric


@dataclass
class Kept:
    """A sink that keeps everything, or always fails."""

    fails: bool = False
    events: list[Event] = field(default_factory=list)

    def wants(self, verdict: Verdict) -> bool:
        return True

    def write(self, event: Event) -> None:
        if self.fails:
            raise OSError("No space left on device")
        self.events.append(event)


def test_an_event_has_the_facts_of_its_request() -> None:
    guard, sink = guarded(answering()), Kept()
    guard.runtime.telemetry.metrics.sinks.append(sink)
    ask(guard, http("/a/../song.mp3", SCRAPER, method="HEAD"))
    (event,) = sink.events
    assert (event.method, event.host, event.path) == ("HEAD", b"music.example", "/song.mp3")
    assert event.user_agent == SCRAPER
    assert event.client is not None
    assert (event.client.address, event.client.source) == ("203.0.113.7", "socket")
    assert event.verdict.agent is not None
    assert event.verdict.agent.name == "GPTBot"


def test_a_request_that_was_plainly_allowed_is_no_event() -> None:
    guard, sink = guarded(answering()), Kept()
    guard.runtime.telemetry.metrics.sinks.append(sink)
    ask(guard, http(user_agent=BROWSER))
    assert sink.events == []


def test_two_guards_of_a_registry_share_its_sinks() -> None:
    registry = CollectorRegistry()
    guards = [guarded(answering(), registry=registry) for _ in range(2)]
    sink = Kept()
    guards[0].runtime.telemetry.metrics.sinks.append(sink)
    for guard in guards:
        ask(guard, http(user_agent=SCRAPER))
    assert len(sink.events) == 2


def test_a_sink_that_fails_touches_neither_the_request_nor_the_other_sinks() -> None:
    guard, sink = guarded(answering()), Kept()
    guard.runtime.telemetry.metrics.sinks += [Kept(fails=True), sink]
    assert ask(guard, http(user_agent=SCRAPER)).status == 403
    assert len(sink.events) == 1
    assert metric(guard, "guard_failures", place="noting") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/song", "/song"),
        ("/a\nb", "/a\\nb"),
        ("/über", "/\\xfcber"),
        ("/\udcff", "/\\udcff"),
        ("x" * 30, "x" * 20),
    ],
)
def test_text_of_a_request_is_cut_and_escaped(text: str, expected: str) -> None:
    assert printable_ascii(text, 20) == expected
