"""What goes wrong around requests: counted each time, and logged once, or once a minute."""

import logging
from collections.abc import Iterable
from time import monotonic, perf_counter
from typing import Any

from noai_guard.core.identity.signed_claims import REASONS
from noai_guard.core.identity.web_bot_auth import SignatureOutcome
from noai_guard.core.questions import Question
from noai_guard.core.request import Request
from noai_guard.core.shared_caches import HIDDEN_USER_AGENT, shared_caches
from noai_guard.errors import MissingExtra
from noai_guard.middleware.active_policy import ActivePolicy
from noai_guard.middleware.policy_loading import problems_of
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.observability.metrics import Telemetry

_log = logging.getLogger("noai_guard")

_COMPLAINT_SECONDS = 60.0
"""Seconds between two log lines that say the same: the policy could not be used at start, a backend does not answer."""

_MAX_REPORTED_NOTES = 64

_SHARED_CACHE = (
    "a request came through a shared cache (%s, by its header %s), and the policy names none: unless it is told to, a "
    "cache hands a refusal to listeners and a song to scrapers. See docs/how-to/behind-a-cdn.md, ask "
    "`noai-guard audit`, then write features: {shared_cache: yes} into the policy"
)
_USER_AGENT_HIDDEN = (
    "CloudFront hides who comes (User-Agent: Amazon CloudFront), so nobody can be refused here: refuse at CloudFront "
    "(`noai-guard config aws --out DIR`), or put User-Agent into the cache policy of the behaviour (HeaderBehavior: "
    "whitelist, Headers: [User-Agent]). See docs/how-to/behind-a-cdn.md"
)

_OUR_SIGNATURE_FAULTS = frozenset(
    {
        SignatureOutcome.NOT_YET,
        SignatureOutcome.EXPIRED,
        SignatureOutcome.HOST_UNKNOWN,
        SignatureOutcome.NOT_INSTALLED,
        SignatureOutcome.DIRECTORY_UNAVAILABLE,
        SignatureOutcome.REPLAY_UNKNOWN,
    }
)
"""Failures that clients are not to blame for if they are many: a clock, a setting, a network."""

_DOUBTS = {
    "address_unknown": "a client that names an agent has no address, so its claim cannot be checked by it",
    "address_not_public": "a client that names an agent comes from a private address, probably a proxy of your own, so "
    "its claim cannot be checked by it: name your proxies under trusted_proxies",
    "address_not_proven": "the address of a client that names an agent may be text from a header, so its claim cannot "
    "be checked by it: name your proxies under trusted_proxies, and start the server with --no-proxy-headers",
    "proxy_not_named": "a client that names an agent came through a proxy, and trusted_proxies names none, so its "
    "claim cannot be checked by its address: name your proxies, or what spoofs an agent is let in",
}


class Reports:
    """What has been said already, and what is said next. Each method is told what a request or a task has met."""

    def __init__(self, telemetry: Telemetry, store: StoreInForce) -> None:
        self._telemetry = telemetry
        self._store = store
        self._next_complaint = 0.0
        self._unanswered: dict[str, tuple[float, int]] = {}
        self._store_reported = False
        self._next_store_line = 0.0
        self._next_signature_line = 0.0
        self._doubts_reported: set[str] = set()
        self.stopped: frozenset[str] = frozenset()
        self._nesting_reported = False
        self._rewriting_reported = False
        self._caches_reported: set[tuple[str, str]] = set()
        self._reported_notes: set[str] = set()

    def report_unusable(self, start_error: Exception) -> None:
        """Log that the policy could not be used at start, at most once a minute."""
        now = perf_counter()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            _log.error(
                "the policy cannot be used; until the server is started with a good one, the packaged no-ai stance is "
                "in force in its place:\n%s",
                problems_of(start_error),
            )

    def unanswered(self, question: Question[Any], error: Exception) -> None:
        """Count and log a question that no store could answer."""
        kind = type(question).__name__
        # What was never installed does not fail.
        if not isinstance(error.__cause__, MissingExtra):
            self._telemetry.metrics.backend_failures.labels(kind).inc()
        now = monotonic()
        due, unreported = self._unanswered.get(kind, (0.0, 0))
        if now < due:
            self._unanswered[kind] = due, unreported + 1
            return
        self._unanswered[kind] = now + _COMPLAINT_SECONDS, 0
        since = f" ({unreported:,} more since the last such line)" if unreported else ""
        _log.warning("a backend could not answer %s: %s%s", kind, error, since)

    def report_store(self) -> None:
        """Publish whether the store can be asked. Never raises."""
        remote = self._store.remote
        problem = remote.problem if remote is not None else ""
        try:
            self._telemetry.set_store(unreachable=bool(problem))
        except Exception as error:
            self._telemetry.failed("store", error)
        now = monotonic()
        if remote is not None and bool(problem) != self._store_reported and now >= self._next_store_line:
            self._store_reported = bool(problem)
            self._next_store_line = now + _COMPLAINT_SECONDS
            _log.warning("%s %s", remote.name, f"cannot be asked: {problem}" if problem else "answers again")

    def report_signature(self, failure: SignatureOutcome) -> None:
        """Count a signature that proved nothing; log it once a minute if it may be the site that is wrong."""
        self._telemetry.metrics.signature_failures.labels(failure.value).inc()
        if failure in _OUR_SIGNATURE_FAULTS and monotonic() >= self._next_signature_line:
            self._next_signature_line = monotonic() + _COMPLAINT_SECONDS
            _log.warning("signatures of agents prove nothing: %s", REASONS[failure])

    def report_doubt(self, doubt: str) -> None:
        """Count a claim that no address could prove, and say so once."""
        self._telemetry.metrics.identity_doubts.labels(doubt).inc()
        if doubt not in self._doubts_reported:
            self._doubts_reported.add(doubt)
            _log.warning("%s (this is said once; the metric noai_identity_doubts_total counts)", _DOUBTS[doubt])

    def report_stopped(self, stopped: frozenset[str]) -> None:
        """Show the operators whose claims are let in although they fail, and log a change."""
        before, self.stopped = self.stopped, stopped
        for operator in stopped | before:
            self._telemetry.metrics.identity_stopped.labels(operator).set(operator in stopped)
        for operator in stopped - before:
            _log.error(
                "so many claims to be an agent of %s fail, from so few addresses, that these are probably a proxy's: "
                "they are let in until one is proven. Name your proxies under trusted_proxies",
                operator,
            )

    def report_nesting(self) -> None:
        """Say, once, that another guard has judged the same request before."""
        if not self._nesting_reported:
            self._nesting_reported = True
            _log.warning(
                "a guard stands within another guard: both judge and declare, and the stricter verdict counts; "
                "take one away, unless two policies are meant"
            )

    def report_rewriting(self) -> None:
        """Say, once, that the peer's address has been replaced by one from a header."""
        if not self._rewriting_reported:
            self._rewriting_reported = True
            _log.warning(
                "the server has already replaced the client's address from X-Forwarded-For (uvicorn does, for "
                "peers in FORWARDED_ALLOW_IPS): start it with --no-proxy-headers and name your proxies under "
                "trusted_proxies, else an address in logs, limits and exemptions is only as true as its setting"
            )

    def look_for_caches(self, active: ActivePolicy, request: Request) -> None:
        """Count a shared cache that the policy does not name, and say so once. Never raises.

        Once a second, on whichever request; and on the first refusal of a kind, which a cache could keep for others,
        and every 16th after it: a look costs a fifth of a refusal (instructions counted, 2026-11-29).
        """
        if active.compiled.policy.shared_cache:
            return
        try:
            for cache, field in shared_caches(request.headers).items():
                self._report_cache(cache, "not_in_policy", _SHARED_CACHE, cache, field)
            if request.user_agent == HIDDEN_USER_AGENT:
                self._report_cache("cloudfront", "user_agent_hidden", _USER_AGENT_HIDDEN)
        except Exception as error:
            self._telemetry.failed("noting", error)

    def _report_cache(self, cache: str, problem: str, text: str, *values: str) -> None:
        self._telemetry.metrics.shared_caches.labels(cache, problem).inc()
        if (cache, problem) not in self._caches_reported:
            self._caches_reported.add((cache, problem))
            _log.warning(text, *values)

    def report_notes(self, notes: Iterable[str]) -> None:
        """Log each sentence about the merged robots.txt once."""
        for note in notes:
            if note not in self._reported_notes and len(self._reported_notes) < _MAX_REPORTED_NOTES:
                self._reported_notes.add(note)
                _log.warning("%s", note)
