"""The last refusals of this process, for the status page."""

from collections import deque
from dataclasses import replace

from noai_guard.core.model import Verdict
from noai_guard.observability.events import (
    MAX_HOST_CHARS,
    MAX_METHOD_CHARS,
    MAX_PATH_CHARS,
    MAX_USER_AGENT_CHARS,
    Event,
)


class RecentRefusals:
    """Keeps the last `max_events` requests that were refused, or would have been in monitor mode, each cut to about
    1.5 KB."""

    def __init__(self, max_events: int) -> None:
        self._events: deque[Event] = deque(maxlen=max_events)

    def wants(self, verdict: Verdict) -> bool:
        return verdict.action.restricts

    def write(self, event: Event) -> None:
        self._events.append(
            replace(
                event,
                method=event.method[:MAX_METHOD_CHARS],
                host=event.host[:MAX_HOST_CHARS],
                path=event.path[:MAX_PATH_CHARS],
                user_agent=event.user_agent[:MAX_USER_AGENT_CHARS],
            )
        )

    def latest_first(self) -> list[Event]:
        return list(reversed(self._events.copy()))
