"""The same figures for OpenTelemetry, and the verdict on the current span. Needs `pip install 'noai-guard[otel]'`.

Only the API is used: which SDK and exporter run, the site decides.
"""

from collections.abc import Iterable, MutableMapping
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.core.model import Verdict
from noai_guard.errors import MissingExtra
from noai_guard.observability.metrics import Telemetry
from noai_guard.version import __version__

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
except ImportError as error:
    raise MissingExtra("otel", "noai_guard.observability.opentelemetry") from error


_UNITS = {"_seconds": "s", "_bytes": "By"}


def export_metrics(provider: MeterProvider | None = None, registry: CollectorRegistry | None = None) -> None:
    """Makes instruments of `provider` (the global one when None) that observe the metrics of `registry`.

    Attributes are the Prometheus labels. Names are the Prometheus names without `_total` and the unit at the end,
    which OpenTelemetry keeps apart: `noai_response_body_bytes_total` is `noai.response_body` in `By`, and an
    OpenTelemetry exporter for Prometheus writes the old name again. Since OpenTelemetry has no histogram that can
    be observed, `noai_judging_seconds` is `noai.judging.sum` and `noai.judging.count`. Each process exports its own
    figures; call this once in each.
    """
    telemetry = Telemetry.of(registry)
    meter = metrics.get_meter("noai_guard", __version__, meter_provider=provider)
    for metric in telemetry.metrics:
        (family,) = metric.collect()
        name, unit = _without_unit(family.name)
        observed = partial(_observed, telemetry, metric)
        about = family.documentation
        if family.type == "gauge":
            meter.create_observable_gauge(name, [partial(observed, family.name)], unit, about)
        elif family.type == "counter":
            meter.create_observable_counter(name, [partial(observed, f"{family.name}_total")], unit, about)
        else:
            for part, of in (("sum", unit), ("count", "")):
                callbacks = [partial(observed, f"{family.name}_{part}")]
                meter.create_observable_counter(f"{name}.{part}", callbacks, of, about)


def _without_unit(name: str) -> tuple[str, str]:
    name = name.replace("_", ".", 1)
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), unit
    return name, ""


def _observed(
    telemetry: Telemetry, metric: MetricWrapperBase, sample_name: str, options: CallbackOptions
) -> Iterable[Observation]:
    telemetry.flush()
    return [
        Observation(sample.value, sample.labels)
        for family in metric.collect()
        for sample in family.samples
        if sample.name == sample_name
    ]


def traced(app: App) -> App:
    """An ASGI app that puts the guard's verdict on the current span, as attributes `noai.*`, when one is recorded.

    Around the guard, inside what makes the span, it sees refused requests too:
    `OpenTelemetryMiddleware(traced(NoAIMiddleware(app)))`. Inside the guard it sees those that were let in.
    """

    async def with_verdict(scope: Scope, receive: Receive, send: Send) -> None:
        described = _describe(scope)

        async def sending(message: Message) -> None:
            # Not after the app has returned: by then OpenTelemetry's own middleware has ended the span.
            nonlocal described
            if not described:
                described = _describe(scope)
            await send(message)

        await app(scope, receive, send if described else sending)

    return with_verdict


def _verdict(scope: Scope) -> Verdict | None:
    state = scope.get("state")
    found = state.get("noai") if isinstance(state, MutableMapping) else None
    return found if isinstance(found, Verdict) else None


def _describe(scope: Scope) -> bool:
    """Puts the verdict on the span, if there is one; returns whether there is nothing more to do."""
    span = trace.get_current_span()
    if not span.is_recording():
        return True
    verdict = _verdict(scope)
    if verdict is None:
        return False
    span.set_attribute("noai.action", str(verdict.action))
    span.set_attribute("noai.enforced", verdict.enforced)
    span.set_attribute("noai.rule", verdict.rule)
    span.set_attribute("noai.identity", str(verdict.identity))
    if verdict.agent is not None:
        span.set_attribute("noai.agent", verdict.agent.name)
        span.set_attribute("noai.operator", verdict.agent.operator)
    if verdict.usage is not None:
        span.set_attribute("noai.usage", str(verdict.usage))
    return True
