"""The decision log: one record for each request that was not plainly allowed."""

import json
import logging
import time

from noai_guard.core.client_address import ClientAddress
from noai_guard.core.evidence import user_agent_description
from noai_guard.core.model import UNKNOWN_BOT, Verdict
from noai_guard.core.text import printable_ascii

MOST_SHOWN_PATH = 1024


MOST_SHOWN_USER_AGENT = 512


decisions = logging.getLogger("noai_guard.decisions")
"""One INFO record for each request that was not plainly let in; `record.noai` holds the facts."""


class _DescriptionBudget:
    """Lets a few unknown user agents be described each second: one costs a millisecond, a log line 30 µs."""

    __slots__ = ("_left", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._left = 0

    def description(self, user_agent: bytes) -> str | None:
        second = int(time.time())
        if second != self._second:
            self._second, self._left = second, 10
        if self._left <= 0:
            return None
        self._left -= 1
        seen = user_agent_description.describe(user_agent)
        return None if seen is None else str(seen)


_budget = _DescriptionBudget()


def log_decision(
    verdict: Verdict, method: str, path: str, user_agent: bytes, client: ClientAddress, host: str = ""
) -> None:
    """Writes the decision log line of one request. Values from the request are cut and escaped."""
    if not decisions.isEnabledFor(logging.INFO):
        return
    agent = verdict.agent
    facts: dict[str, object] = {
        "action": str(verdict.action),
        "enforced": verdict.enforced,
        "agent": agent.name if agent else None,
        "operator": agent.operator if agent else None,
        "usage": str(verdict.usage) if verdict.usage else None,
        "identity": str(verdict.identity),
        "rule": verdict.rule,
        "reasons": list(verdict.reasons),
        "method": printable_ascii(method, 16),
        "host": printable_ascii(host, 255),
        "path": printable_ascii(path, MOST_SHOWN_PATH),
        "client": client.address,
        "client_from": client.source,
        "user_agent": printable_ascii(user_agent.decode("latin-1"), MOST_SHOWN_USER_AGENT),
    }
    if agent is None or agent is UNKNOWN_BOT:
        facts["looks_like"] = _budget.description(user_agent)
    name = f"{agent.name} ({agent.operator})" if agent else "a client"
    would = "" if verdict.enforced else " (monitor only)"
    decisions.info(
        "%s%s: %s %s %s, rule %s", facts["action"], would, name, facts["method"], facts["path"], verdict.rule,
        extra={"noai": facts},
    )  # fmt: skip


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for `noai_guard.decisions`; other records get their message."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "noai", None)
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
        }
        line |= facts if isinstance(facts, dict) else {"message": record.getMessage()}
        return json.dumps(line)
