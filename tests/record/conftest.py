import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.record.event_files import read_events
from noai_guard.record.event_record import EventRecord

POLICY = 'works: ["/audio/{work}.mp3"]\nagents: [{name: Radioline, operator: Radio, usages: [seo], expected_user_agent: [radiolinebot]}]\nusages: {seo: yes}\n'
NAMED = b"radiolinebot/1.0"


def until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what `holds` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)
    return result


class Site:
    """A guarded app with a policy file in a folder."""

    def __init__(self, folder: Path, app: Any, events: str) -> None:
        self.events = folder / "noai-events"
        self.policy = folder / "noai.yaml"
        self.policy.write_text(f"{POLICY}events: {events}\n")
        self.registry = CollectorRegistry()
        self.guard = NoAIMiddleware(app, self.policy, registry=self.registry)

    @property
    def recorder(self) -> Any:
        return self.guard.runtime.recorder

    def records(self) -> list[EventRecord]:
        self.recorder.flush()
        return [event.record for event in read_events([self.events])]

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0


@pytest.fixture
def site(tmp_path: Path):
    """Return a function that makes a site."""
    made: list[Site] = []

    def make(app: Any, events: str = "{}") -> Site:
        made.append(Site(tmp_path, app, events))
        return made[-1]

    yield make
    for each in made:
        each.recorder.close()
