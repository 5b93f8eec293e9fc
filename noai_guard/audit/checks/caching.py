"""Shared caches: whether one client gets what the server meant for another. Codes A701 to A703."""

import re
from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import CacheTrial, ProbeResult

RULES = read_rules("caching")

_STATUS_FIELDS = ("cache-status", "x-cache", "x-cache-status", "x-proxy-cache", "cf-cache-status", "cdn-cache",
                  "akamai-cache-status")  # fmt: skip
"""Fields in which caches say what they did: RFC 9211, CloudFront and Fastly, nginx by convention, Cloudflare, bunny;
Akamai by the example in its documentation."""

_HIT = re.compile(r"hit(?!-for)(?:stale)?\b", re.IGNORECASE)


def check(interpretation: Interpretation) -> Iterator[Finding]:
    for trial in interpretation.observations.cache_trials:
        yield from _mixed_up(trial)


def _mixed_up(trial: CacheTrial) -> Iterator[Finding]:
    (crawler, browser_after), (browser, crawler_after) = trial.crawler_first, trial.browser_first
    if crawler.ok and _is_from_cache(crawler):
        yield RULES["answered-by-cache"].at(trial.url, _told(crawler))
    if not crawler.refuses or crawler.status == 0:
        return
    # A browser that is refused each time, and not by a cache, is refused for itself.
    if browser_after.status == crawler.status and (browser.ok or _is_from_cache(browser_after)):
        yield RULES["refusal-cached"].at(trial.url, f"{_told(crawler)}, then {_told(browser_after)}")
    if browser.ok and crawler_after.ok:
        yield RULES["served-from-cache"].at(trial.url, f"{_told(browser)}, then {_told(crawler_after)}")


def _is_from_cache(result: ProbeResult) -> bool:
    age = result.first("age")
    return (age.isascii() and age.isdigit() and int(age[:9]) > 0) or any(
        _HIT.search(value) for name in _STATUS_FIELDS for value in result.values(name)
    )


def _told(result: ProbeResult) -> str:
    """Return who got which status, with what a cache says about it."""
    said = [f"{name}: {value}" for name in ("age", *_STATUS_FIELDS) for value in result.values(name)]
    return f"{result.client} {result.failure}" + (f" ({', '.join(said)})" if said else "")
