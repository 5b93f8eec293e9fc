"""/metrics, as ASGI and WSGI app."""

import gzip
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from noai_guard import metrics_app
from noai_guard.observability.metrics_wsgi_app import metrics_wsgi_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, websocket


def test_metrics_are_served_as_text() -> None:
    registry = CollectorRegistry()
    guard = guarded(answering(), registry=registry)
    ask(guard, http(user_agent=SCRAPER))
    exchange = ask(metrics_app(registry), http("/metrics"))
    assert exchange.status == 200
    assert 'noai_requests_total{action="deny",agent="GPTBot"' in exchange.text
    (content_type,) = exchange.values(b"content-type")
    assert content_type.startswith(b"text/plain; version=0.0.4")


def test_the_asgi_and_the_wsgi_app_say_the_same() -> None:
    registry = CollectorRegistry()
    ask(guarded(answering(), registry=registry), http(user_agent=SCRAPER))
    started: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": ""}
    body = b"".join(metrics_wsgi_app(registry)(environ, lambda status, headers: started.append((status, headers))))  # type: ignore[arg-type]
    exchange = ask(metrics_app(registry), http("/metrics"))
    ((status, headers),) = started
    assert (status, body) == ("200 OK", exchange.body)
    assert [dict(headers)["Content-Type"].encode()] == exchange.values(b"content-type")


def test_a_scraper_that_reads_gzip_and_openmetrics_gets_them() -> None:
    registry = CollectorRegistry()
    Counter("app_plays", "The app's own.", registry=registry).inc()
    accepts = (b"accept", b"application/openmetrics-text;version=1.0.0,text/plain"), (b"accept-encoding", b"gzip")
    exchange = ask(metrics_app(registry), http("/metrics", BROWSER, *accepts))
    assert exchange.values(b"content-encoding") == [b"gzip"]
    assert exchange.values(b"content-type")[0].startswith(b"application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(exchange.body).endswith(b"# EOF\n")


def test_a_scraper_can_ask_for_single_metrics() -> None:
    registry = CollectorRegistry()
    Counter("app_plays", "The app's own.", registry=registry).inc()
    text = ask(metrics_app(registry), http("/metrics", query_string=b"name[]=app_plays_total")).text
    assert "\napp_plays_total 1.0\n" in text
    assert "noai_" not in text


def test_bytes_that_are_no_text_in_a_scrape_do_no_harm() -> None:
    scope = http("/metrics", BROWSER, (b"accept", b"\xff"), (b"x-\xfe", b"\xff"), query_string=b"name[]=\xff")
    assert ask(metrics_app(CollectorRegistry()), scope).status == 200


def test_a_websocket_to_the_metrics_is_closed() -> None:
    assert ask(metrics_app(CollectorRegistry()), websocket()).messages == [{"type": "websocket.close", "code": 1008}]


def test_the_lifespan_is_ignored() -> None:
    assert ask(metrics_app(CollectorRegistry()), {"type": "lifespan"}).messages == []
