"""OpenTelemetry instruments for the Prometheus metrics, and the verdict as attributes of the current span.

Needs `pip install 'noai-guard[otel]'`. Only the API is used: the site decides which SDK and exporter run.
"""

from collections.abc import Iterable, MutableMapping
from functools import partial

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import App, Message, Receive, Scope, Send
from noai_guard.core.model import Verdict
from noai_guard.errors import MissingExtra
from noai_guard.observability.metrics import Metrics
from noai_guard.observability.prometheus_adapter import BatchHistogram, Counter, Gauge
from noai_guard.version import __version__

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
except ImportError as error:
    raise MissingExtra("otel", "noai_guard.observability.opentelemetry") from error

_UNITS = {"_seconds": "s", "_bytes": "By"}


def export_metrics(provider: MeterProvider | None = None, registry: CollectorRegistry | None = None) -> None:
    """Create instruments of `provider` (the global one when None) that observe the metrics of `registry`.

    Attributes are the Prometheus labels. Names are the Prometheus names without `_total` and the unit at the end,
    which OpenTelemetry keeps apart: `noai_response_body_bytes_total` is `noai.response_body` in `By`, and an
    OpenTelemetry exporter for Prometheus writes the old name again. Since OpenTelemetry has no histogram that can
    be observed, `noai_judging_seconds` is `noai.judging.sum` and `noai.judging.count`. Each process exports its own
    figures; call this once in each.
    """
    noai_metrics = Metrics.of(registry)
    meter = metrics.get_meter("noai_guard", __version__, meter_provider=provider)
    for metric in noai_metrics.all:
        (family,) = metric.collect()
        ending, unit = next((ending for ending in _UNITS.items() if family.name.endswith(ending[0])), ("", ""))
        name = family.name.replace("_", ".", 1).removesuffix(ending)
        observe = partial(_observe, noai_metrics, metric)
        description = family.documentation
        if family.type == "gauge":
            meter.create_observable_gauge(name, [partial(observe, family.name)], unit, description)
        elif family.type == "counter":
            meter.create_observable_counter(name, [partial(observe, f"{family.name}_total")], unit, description)
        else:
            for part, part_unit in (("sum", unit), ("count", "")):
                callbacks = [partial(observe, f"{family.name}_{part}")]
                meter.create_observable_counter(f"{name}.{part}", callbacks, part_unit, description)


def _observe(
    noai_metrics: Metrics, metric: Counter | Gauge | BatchHistogram, sample_name: str, options: CallbackOptions
) -> Iterable[Observation]:
    noai_metrics.flush()
    return [
        Observation(sample.value, sample.labels)
        for family in metric.collect()
        for sample in family.samples
        if sample.name == sample_name
    ]


def traced(app: App) -> App:
    """Return an ASGI app that puts the guard's verdict on the current span, as attributes `noai.*`, if one is recorded.

    Placed around the guard and inside the middleware that starts the span, it sees refused requests too:
    `OpenTelemetryMiddleware(traced(NoAIMiddleware(app)))`. Inside the guard it sees those that were let in.
    """

    async def with_verdict(scope: Scope, receive: Receive, send: Send) -> None:
        done = _describe(scope)

        async def describe_and_send(message: Message) -> None:
            # Not after the app has returned: by then OpenTelemetry's own middleware has ended the span.
            nonlocal done
            if not done:
                done = _describe(scope)
            await send(message)

        await app(scope, receive, send if done else describe_and_send)

    return with_verdict


def _describe(scope: Scope) -> bool:
    """Put the verdict on the span, if there is one. Return True if there is nothing more to do."""
    span = trace.get_current_span()
    if not span.is_recording():
        return True
    state = scope.get("state")
    verdict = state.get("noai") if isinstance(state, MutableMapping) else None
    if not isinstance(verdict, Verdict):
        return False
    facts = {name: str(getattr(verdict, name)) for name in ("action", "rule", "identity")}
    if verdict.agent is not None:
        facts |= {"agent": verdict.agent.name, "operator": verdict.agent.operator}
    if verdict.usage is not None:
        facts["usage"] = str(verdict.usage)
    span.set_attributes({"noai.enforced": verdict.enforced, **{f"noai.{name}": fact for name, fact in facts.items()}})
    return True
