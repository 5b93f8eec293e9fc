"""The content of the status page, as plain data."""

import os
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from noai_guard.core.model import NAMED_AI, Action, Identity, Mode, Verdict
from noai_guard.core.policy import Policy
from noai_guard.observability.decision_log import facts_of
from noai_guard.observability.events import MAX_CHARS, Event
from noai_guard.observability.metrics import Metrics
from noai_guard.observability.multiprocess import counted_since
from noai_guard.version import __version__

_RESTRICTING = frozenset(action.value for action in Action if action.restricts)
_NOT_ON_THE_PAGE = frozenset({"host", "client", "client_from"})
_MAX_PROBLEM_CHARS = 4000
_CLAIMED = tuple(str(identity) for identity in Identity if identity is not Identity.UNCLAIMED)
_HEALTH_COUNTERS = {
    "reloads": "result",
    "guard_failures": "place",
    "backend_failures": "question",
    "client_address_problems": "problem",
    "wishes_failures": "from",
}
"""Metric, without `noai_`, and its label."""


class RecentRefusals:
    """Keeps the last `max_events` requests that were refused, or would have been in monitor mode, each cut to about
    1.5 KB."""

    def __init__(self, max_events: int) -> None:
        self._events: deque[Event] = deque(maxlen=max_events)

    def wants(self, verdict: Verdict) -> bool:
        """Return True for verdicts that restrict a client."""
        return verdict.action.restricts

    def write(self, event: Event) -> None:
        """Keep an event, with its texts cut to the lengths of `MAX_CHARS`."""
        cut = {name: getattr(event, name)[:max_chars] for name, max_chars in MAX_CHARS.items()}
        self._events.append(replace(event, **cut))

    def latest_first(self) -> list[Event]:
        """Return the events that are kept, the latest first."""
        return list(reversed(self._events.copy()))


@dataclass(slots=True)
class Count:
    """Requests and bytes of response bodies. `would_refuse`: let in only because the mode is monitor."""

    requests: int = 0
    refused: int = 0
    would_refuse: int = 0
    bytes_served: int = 0
    bytes_refused: int = 0


@dataclass(slots=True)
class Status:
    """Everything on the status page; `asdict` of it is the JSON.

    Counts begin at `since`, and leave out requests that metrics_app and status_app answered. `ai` are the names among
    `operators`, `agents` and `usages` that came for AI. `identities` are the requests by operator and identity, of the
    operators of which a claim was proven or disproven, or is not refused although it fails. `wishes` are the works in
    the source of wishes, by its kind, and when it was last readable.
    """

    at: str
    version: str
    counts_of: str
    since: str | None
    refusals_of: str
    policies: list[dict[str, Any]]
    total: Count = field(default_factory=Count)
    operators: dict[str, Count] = field(default_factory=dict)
    agents: dict[str, Count] = field(default_factory=dict)
    usages: dict[str, Count] = field(default_factory=dict)
    actions: dict[str, Count] = field(default_factory=dict)
    ai: dict[str, list[str]] = field(default_factory=dict)
    identities: dict[str, dict[str, int]] = field(default_factory=dict)
    wishes: dict[str, Any] = field(default_factory=dict)
    last_refusals: list[dict[str, Any]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)


def current_status(metrics: Metrics, workers: CollectorRegistry | None, refusals: Iterable[Event]) -> Status:
    """Return the status of all guards that count in `metrics`, or, with the registry of all `workers`, in any of
    them."""
    metrics.flush()
    families: Iterable[Metric] = (
        (family for metric in metrics.all for family in metric.collect()) if workers is None else workers.collect()
    )
    samples: defaultdict[str, list[Any]] = defaultdict(list)
    for family in families:
        samples[family.name] += (sample for sample in family.samples if not sample.name.endswith("_created"))
    since = metrics.started_at if workers is None else counted_since()
    status = Status(
        at=_iso(datetime.now(UTC)),
        version=__version__,
        counts_of="this process" if workers is None else "all workers",
        since=None if since is None else _iso(datetime.fromtimestamp(since, UTC)),
        refusals_of="this process" if workers is None else f"the worker that answered, process {os.getpid()}",
        policies=_policies(metrics),
    )
    stopped = (sample.labels["operator"] for sample in samples["noai_identity_refusing_stopped"] if sample.value)
    status.health["identity_stopped"] = sorted(set(stopped))
    _count(status, samples)
    for event in refusals:
        facts = {name: fact for name, fact in facts_of(event).items() if name not in _NOT_ON_THE_PAGE}
        status.last_refusals.append({"at": _iso(datetime.fromtimestamp(event.time, UTC)), **facts})
    status.health["reload_failed"] = any(sample.value for sample in samples["noai_reload_failed"])
    status.health["store_unreachable"] = any(sample.value for sample in samples["noai_store_unreachable"])
    status.wishes = _wishes(samples)
    status.health["ledger"] = [sample.labels["state"] for sample in samples["noai_ledger_state"] if sample.value]
    for key, label in _HEALTH_COUNTERS.items():
        status.health[key] = {sample.labels[label]: int(sample.value) for sample in samples[f"noai_{key}"]}
    return status


def _wishes(samples: dict[str, list[Any]]) -> dict[str, Any]:
    """Return how many works each source of wishes has, and when it was last readable; empty if none ever was."""
    read = max((sample.value for sample in samples["noai_wishes_read_timestamp_seconds"]), default=0)
    works = {sample.labels["from"]: int(sample.value) for sample in samples["noai_wishes_works"] if sample.value}
    return {"works": works, "read_at": _iso(datetime.fromtimestamp(read, UTC))} if read else {}


def _count(status: Status, samples: dict[str, list[Any]]) -> None:
    """Fill in the counts: in total, and by operator, agent, usage and action, the most frequent first."""
    by: dict[str, defaultdict[str, Count]] = {
        label: defaultdict(Count) for label in ("operator", "agent", "usage", "action")
    }
    ai: dict[str, set[str]] = {label: set() for label in ("operator", "agent", "usage")}
    operator_of: dict[str, str] = {}
    identities: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_CLAIMED, 0))
    scrapes = {_key(sample.labels): sample.value for sample in samples["noai_scrapes"]}
    for sample in samples["noai_requests"]:
        labels, number = sample.labels, int(sample.value - scrapes.get(_key(sample.labels), 0))
        if number <= 0:
            continue
        if labels["usage"] in NAMED_AI:
            for label, names in ai.items():
                names.add(labels[label])
        operator_of[labels["agent"]] = labels["operator"]
        if labels["identity"] in _CLAIMED:
            identities[labels["operator"]][labels["identity"]] += number
        restricted = labels["action"] in _RESTRICTING
        refused = number if restricted and labels["mode"] == Mode.ENFORCE else 0
        for count in (status.total, *(by[label][labels[label]] for label in by)):
            count.requests += number
            count.refused += refused
            count.would_refuse += number - refused if restricted else 0
    stopped = status.health["identity_stopped"]
    status.identities = {
        operator: counts
        for operator, counts in sorted(identities.items())
        if counts[Identity.VERIFIED] or counts[Identity.SPOOFED] or operator in stopped
    }
    scrape_bytes = {_key(sample.labels): sample.value for sample in samples["noai_scrape_body_bytes"]}
    for sample in samples["noai_response_body_bytes"]:
        agent, usage = sample.labels["agent"], sample.labels["usage"]
        number = int(sample.value)
        if sample.labels["outcome"] == "served":
            number -= int(scrape_bytes.get(_key({"agent": agent, "usage": usage}), 0))
        if number <= 0 or agent not in by["agent"]:
            continue
        counts = (status.total, by["agent"][agent], by["usage"][usage], by["operator"][operator_of.get(agent, agent)])
        for count in counts:
            if sample.labels["outcome"] == "refused":
                count.bytes_refused += number
            else:
                count.bytes_served += number
    status.ai = {f"{label}s": sorted(names) for label, names in ai.items()}
    status.operators, status.agents, status.usages, status.actions = (
        dict(sorted(counts.items(), key=lambda row: (-row[1].requests, row[0]))) for counts in by.values()
    )


def _key(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _policies(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the facts of each policy in force, once where several guards run the same."""
    policies: list[dict[str, Any]] = []
    for guard in metrics.guards:
        if (policy := guard.policy) is None:
            continue
        _, stance, mode, catalogue = guard.policy_labels
        facts = {
            "stance": stance,
            "mode": mode,
            "catalogue": catalogue,
            "site": policy.site.name or policy.site.url,
            "sections": {
                path_policy.pattern: {str(usage): str(action) for usage, action in path_policy.usages.items()}
                for path_policy in policy.all_path_policies
            },
            "rules": {rule.id: str(rule.action) for rule in policy.rules},
            "creators": _creators(policy),
            "problem": guard.policy_problem[:_MAX_PROBLEM_CHARS],
            "ledger_problem": guard.ledger_problem[:_MAX_PROBLEM_CHARS],
            "wishes_problem": guard.wishes_problem[:_MAX_PROBLEM_CHARS],
        }
        if facts not in policies:
            policies.append(facts)
    return policies


def _creators(policy: Policy) -> str:
    """Return what counts where creators have a say: "strictest" of both, or what they "decide"; empty if they have
    none."""
    creators = policy.creators
    if not policy.works.patterns or not (creators.asked or creators.index is not None):
        return ""
    return "decide" if creators.decide else "strictest"


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
