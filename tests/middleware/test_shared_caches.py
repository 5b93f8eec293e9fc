"""A shared cache in front of the site that the policy does not name is counted, and said once."""

import logging
from typing import Any

import pytest

from noai_guard.core.shared_caches import CACHES
from noai_guard.middleware import reports
from noai_guard.middleware import runtime as runtime_module
from tests.middleware import wsgi_kit
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, metric

CF_RAY = (b"cf-ray", b"8a1b2c3d4e5f-FRA")
HIDDEN = b"Amazon CloudFront"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Any:
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_it_is_said_once_with_what_to_do(warnings: Any) -> None:
    guard = guarded(answering())
    for _ in range(3):
        assert ask(guard, http("/", SCRAPER, CF_RAY)).status == 403
    (warning,) = warnings()
    assert "cloudflare" in warning
    assert "cf-ray" in warning
    assert "features: {shared_cache: yes}" in warning
    assert metric(guard, "shared_caches", cache="cloudflare", problem="not_in_policy") >= 1


def test_the_first_request_is_looked_at_although_it_is_a_listeners(warnings: Any) -> None:
    guard = guarded(answering())
    assert ask(guard, http("/", BROWSER, CF_RAY)).status == 200
    assert len(warnings()) == 1


def test_listeners_are_looked_at_once_a_second_and_of_refusals_the_first_and_every_16th(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[object] = []

    def look(headers: object) -> dict[str, str]:
        looks.append(headers)
        return {}

    monkeypatch.setattr(reports, "shared_caches", look)
    monkeypatch.setattr(runtime_module, "HOUSEKEEPING_SECONDS", 3600.0)
    guard = guarded(answering())
    for _ in range(100):
        ask(guard, http("/", BROWSER, CF_RAY))
    assert len(looks) == 1
    for _ in range(17):
        ask(guard, http("/", SCRAPER, CF_RAY))
    assert len(looks) == 3


def test_a_policy_that_names_the_cache_hears_nothing(warnings: Any) -> None:
    guard = guarded(answering(), "features: {shared_cache: yes}")
    ask(guard, http("/", SCRAPER, CF_RAY))
    ask(guard, http("/", HIDDEN))
    assert warnings() == []
    assert metric(guard, "shared_caches") == 0


def test_a_site_without_a_cache_hears_nothing(warnings: Any) -> None:
    guard = guarded(answering())
    ask(guard, http("/", BROWSER))
    ask(guard, http("/", SCRAPER))
    assert warnings() == []
    assert metric(guard, "shared_caches") == 0


def test_each_cache_is_said_once(warnings: Any) -> None:
    guard = guarded(answering())
    for _ in range(2):
        ask(guard, http("/", SCRAPER, CF_RAY, (b"x-varnish", b"7")))
    assert len(warnings()) == 2


def test_cloudfront_that_hides_the_user_agent_is_said_with_what_to_set(warnings: Any) -> None:
    guard = guarded(answering())
    assert ask(guard, http("/", HIDDEN)).status == 200
    (warning,) = warnings()
    assert "nobody can be refused here" in warning
    assert "noai-guard config aws" in warning
    assert metric(guard, "shared_caches", cache="cloudfront", problem="user_agent_hidden") == 1


def test_nothing_of_a_request_becomes_a_label_or_a_line_of_the_log(warnings: Any) -> None:
    guard = guarded(answering())
    evil = b'evil"\r\n\x1b[31m'
    for name in (b"via", b"cdn-loop", b"akamai-" + evil, b"x-bunny" + evil, b"cf-ray"):
        assert ask(guard, http("/", SCRAPER, (name, evil * 500))).status == 403
    assert "evil" not in "".join(warnings())
    samples = [
        sample for family in guard.runtime.telemetry.metrics.shared_caches.collect() for sample in family.samples
    ]
    assert {sample.labels["cache"] for sample in samples} <= set(CACHES)


def test_a_fault_of_the_look_refuses_and_admits_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "shared_caches", lambda headers: 1 / 0)
    guard = guarded(answering())
    assert ask(guard, http("/", BROWSER)).status == 200
    assert ask(guard, http("/", SCRAPER)).status == 403
    assert metric(guard, "guard_failures", place="noting") == 2


def test_wsgi_says_it_too(warnings: Any) -> None:
    guard = wsgi_kit.guarded(wsgi_kit.answering())
    wsgi_kit.ask(guard, wsgi_kit.http("/", SCRAPER, HTTP_CF_RAY=CF_RAY[1].decode()))
    assert len(warnings()) == 1
