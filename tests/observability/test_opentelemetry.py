"""OpenTelemetry, through the real SDK: the same figures, and verdicts on spans."""

import subprocess
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, websocket

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from noai_guard.observability.opentelemetry import export_metrics, traced

Points = dict[str, dict[frozenset[tuple[str, str]], float]]


def labels_of(point: Any) -> frozenset[tuple[str, str]]:
    return frozenset(point.attributes.items())


def points(reader: InMemoryMetricReader) -> Points:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: {labels_of(point): point.value for point in metric.data.data_points if hasattr(point, "value")}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def reader(registry: CollectorRegistry) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    export_metrics(MeterProvider([reader], shutdown_on_exit=False), registry)
    return reader


def test_counters_are_the_same_as_in_prometheus(registry: CollectorRegistry, reader: InMemoryMetricReader) -> None:
    guard = guarded(answering(b"x" * 10), registry=registry)
    for user_agent in (BROWSER, SCRAPER, SCRAPER):
        ask(guard, http(user_agent=user_agent))
    found = points(reader)
    for metric in guard.runtime.telemetry.metrics.requests, guard.runtime.telemetry.metrics.bytes:
        (family,) = metric.collect()
        expected = {
            frozenset(sample.labels.items()): sample.value
            for sample in family.samples
            if sample.name.endswith("_total")
        }
        name = {"noai_requests": "noai.requests", "noai_response_body_bytes": "noai.response_body"}[family.name]
        assert found[name] == expected
        assert expected
    assert sum(found["noai.requests"].values()) == 3
    assert sum(found["noai.judging.count"].values()) == 2
    assert 0 < sum(found["noai.judging.sum"].values()) < 10


def test_gauges_are_there_with_the_policy_in_force(registry: CollectorRegistry, reader: InMemoryMetricReader) -> None:
    guarded(answering(), registry=registry)
    ((labels, value),) = points(reader)["noai.policy_info"].items()
    assert ("stance", "no-ai") in labels
    assert value == 1


def test_every_metric_is_exported(registry: CollectorRegistry, reader: InMemoryMetricReader) -> None:
    guard = guarded(answering(), registry=registry)
    for metric in guard.runtime.telemetry.metrics.all:
        if metric._labelnames and not metric._metrics:
            metric.labels(*metric._labelnames)
    exported = {name.replace(".", "_") for name in points(reader)}
    for metric in guard.runtime.telemetry.metrics.all:
        name = metric._name.removesuffix("_bytes").removesuffix("_seconds")
        assert name in exported or {f"{name}_sum", f"{name}_count"} <= exported


def test_an_exporter_for_prometheus_writes_the_old_names(registry: CollectorRegistry) -> None:
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    from prometheus_client import REGISTRY, generate_latest

    reader = exporter.PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    export_metrics(provider, registry)
    ask(guarded(answering(), registry=registry), http(user_agent=SCRAPER))
    text = generate_latest(REGISTRY).decode()
    provider.shutdown()
    for name in ("noai_requests_total{", "noai_response_body_bytes_total{", "noai_policy_info{"):
        assert f"\n{name}" in text


@pytest.fixture
def spans() -> tuple[Any, InMemorySpanExporter]:
    """A middleware that makes a span for each request, as OpenTelemetry's does, and what it exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def spanned(app: Any) -> Any:
        async def with_span(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    span.end()

            with tracer.start_as_current_span("request", end_on_exit=False) as span:
                try:
                    await app(scope, receive, sending)
                finally:
                    if span.is_recording():
                        span.end()

        return with_span

    return spanned, exporter


def test_around_the_guard_a_refused_request_has_its_verdict_on_the_span(spans: Any) -> None:
    spanned, exporter = spans
    ask(spanned(traced(guarded(answering()))), http(user_agent=SCRAPER))
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes) == {
        "noai.action": "deny",
        "noai.agent": "GPTBot",
        "noai.enforced": True,
        "noai.identity": "unverified",
        "noai.operator": "OpenAI",
        "noai.rule": "train-ai",
        "noai.usage": "train-ai",
    }


@pytest.mark.parametrize("inside", [True, False])
def test_a_visitor_without_a_name_has_no_agent_on_the_span(spans: Any, inside: bool) -> None:
    spanned, exporter = spans
    app = guarded(traced(answering())) if inside else traced(guarded(answering()))
    ask(spanned(app), http())
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes) == {
        "noai.action": "allow", "noai.enforced": True, "noai.identity": "unclaimed", "noai.rule": "unclaimed"
    }  # fmt: skip


def test_an_app_that_fails_inside_still_has_the_verdict_on_its_span(spans: Any) -> None:
    spanned, exporter = spans

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(spanned(guarded(traced(failing))), http())
    (span,) = exporter.get_finished_spans()
    assert span.attributes["noai.action"] == "allow"


def test_a_websocket_has_its_verdict_on_the_span(spans: Any) -> None:
    spanned, exporter = spans
    ask(spanned(traced(guarded(answering()))), websocket(user_agent=SCRAPER))
    (span,) = exporter.get_finished_spans()
    assert span.attributes["noai.action"] == "deny"


@pytest.mark.parametrize("scope", [http(), websocket(), {**http(), "state": None}, {"type": "lifespan"}])
def test_without_a_span_or_a_verdict_nothing_happens(scope: Any) -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    ask(traced(app), scope)
    assert reached == [scope]


def test_without_opentelemetry_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None\nimport noai_guard.observability.opentelemetry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'noai-guard[otel]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("user_agent", "action"), [(BROWSER, "allow"), (SCRAPER, "deny")])
def test_opentelemetrys_own_middleware_gets_every_verdict(user_agent: bytes, action: str) -> None:
    asgi = pytest.importorskip("opentelemetry.instrumentation.asgi")
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = asgi.OpenTelemetryMiddleware(traced(guarded(answering())), tracer_provider=provider)
    ask(app, http(user_agent=user_agent))
    (span,) = (span for span in exporter.get_finished_spans() if span.parent is None)
    assert span.attributes is not None
    assert span.attributes["noai.action"] == action
