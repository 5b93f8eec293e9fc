"""The decision log: one record for each request that was not plainly allowed."""

import json
import logging
import time

from noai_guard.core.evidence import user_agent_description
from noai_guard.core.model import UNCLAIMED_AGENTS, Verdict
from noai_guard.core.text import printable_ascii
from noai_guard.observability.events import MAX_CHARS, Event

_MAX_DESCRIPTIONS_PER_SECOND = 10

decisions = logging.getLogger("noai_guard.decisions")
"""Gets one INFO record for each request that was not plainly allowed; `record.noai` is a dict of its facts."""


class DecisionLog:
    """The sink that writes events to the logger `noai_guard.decisions`."""

    def __init__(self) -> None:
        self._second = 0
        self._descriptions_left = 0

    def wants(self, verdict: Verdict) -> bool:
        return decisions.isEnabledFor(logging.INFO)

    def write(self, event: Event) -> None:
        """Log one request. Values from the request are cut and escaped."""
        facts = facts_of(event)
        verdict, agent = event.verdict, event.verdict.agent
        if agent is None or agent in UNCLAIMED_AGENTS:
            facts["looks_like"] = self._description(event.user_agent)
        name = f"{agent.name} ({agent.operator})" if agent else "a client"
        would = "" if verdict.enforced else " (monitor only)"
        decisions.info(
            "%s%s: %s %s %s, rule %s", facts["action"], would, name, facts["method"], facts["path"], verdict.rule,
            extra={"noai": facts},
        )  # fmt: skip

    def _description(self, user_agent: bytes) -> str | None:
        """Describe an unknown user agent, or return None if the second has had its share: a description costs a
        millisecond, a log line 30 µs."""
        second = int(time.time())
        if second != self._second:
            self._second, self._descriptions_left = second, _MAX_DESCRIPTIONS_PER_SECOND
        if self._descriptions_left <= 0:
            return None
        self._descriptions_left -= 1
        description = user_agent_description.describe(user_agent)
        return None if description is None else str(description)


def facts_of(event: Event) -> dict[str, object]:
    """Return the facts of an event as the decision log writes them, cut and escaped."""
    verdict, agent = event.verdict, event.verdict.agent
    return {
        "action": str(verdict.action),
        "enforced": verdict.enforced,
        "agent": agent.name if agent else None,
        "operator": agent.operator if agent else None,
        "usage": str(verdict.usage) if verdict.usage else None,
        "identity": str(verdict.identity),
        "rule": verdict.rule,
        "reasons": list(verdict.reasons),
        "method": printable_ascii(event.method, MAX_CHARS["method"]),
        "host": printable_ascii(event.host.decode("latin-1"), MAX_CHARS["host"]),
        "path": printable_ascii(event.path, MAX_CHARS["path"]),
        "client": event.address,
        "client_from": event.client.source if event.client else None,
        "user_agent": printable_ascii(event.user_agent.decode("latin-1"), MAX_CHARS["user_agent"]),
    }


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: the facts of a decision, or the message of any other record."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "noai", None)
        time, level = self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), record.levelname.lower()
        content = facts if isinstance(facts, dict) else {"message": record.getMessage()}
        return json.dumps({"time": time, "level": level, **content})
