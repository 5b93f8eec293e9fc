"""A page for whoever looks after the site: `app.mount("/noai-status", status_app())`. Off unless mounted.

It only reads. Plain HTML without script, or JSON where that is asked for. Everything that came with a request or
stands in a policy is escaped, and a content security policy lets nothing but the page's own style work.
Keep it off the public internet, as /metrics: it shows paths and user agents of refused requests.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from html import escape
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from noai_guard.asgi_types import App
from noai_guard.core.model import Mode
from noai_guard.observability.metrics import Metrics
from noai_guard.observability.metrics_app import counted_as_scrape, http_app
from noai_guard.observability.multiprocess import registry_of_workers
from noai_guard.observability.status import Count, RecentRefusals, Status, current_status
from noai_guard.resources import filled, text
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format

_FIRST_ROWS = 12
_MAX_ROWS = 100
_RELOAD_SECONDS = 10

_STYLE = text("observability/status_page.css")
_HEADERS = {
    "cache-control": "no-store",
    "vary": "Accept",
    "x-robots-tag": "noindex, nofollow, noarchive",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
        f"{base64.b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
    ),
}

_HEALTH = {
    "guard_failures": ("Failures of the guard, by place", "The guard itself failed {}. The log has the tracebacks."),
    "backend_failures": ("Unanswered questions, by kind", "A backend left a question unanswered {}."),
    "client_address_problems": (
        "Addresses not taken from the header, by reason",
        "The client's address could not be taken from the configured header {}.",
    ),
    "wishes_failures": (
        "Wishes of creators not known, by where from",
        "Nobody could say what creators wish {}; the last good wishes hold.",
    ),
    "reloads": ("Reloads of the policy, by result", ""),
}
"""Counters of `Status.health`: the title of the list of all, and the sentence if there were any."""


def status_app(registry: CollectorRegistry | None = None, *, refusals: int = 50) -> App:
    """Return an ASGI app that shows what the guards counting in `registry` (the default one when None) do.

    With several workers and PROMETHEUS_MULTIPROC_DIR, counts are of all of them; the last `refusals` are those of
    the worker that answers.
    """
    metrics = Metrics.of(registry)
    recent = RecentRefusals(refusals)
    metrics.sinks.append(recent)

    def respond(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse(status_code=405, headers=_HEADERS | {"allow": "GET, HEAD"})
        status = current_status(metrics, registry_of_workers(), recent.latest_first())
        if chosen_format("/", "GET", request.headers.raw) is Format.JSON:
            media_type, body = "application/json", json.dumps(asdict(status), indent=1)
        else:
            reloading = request.query_params.get("every") == str(_RELOAD_SECONDS)
            media_type, body = "text/html", _page(status, reloading)
        response = Response(body, media_type=media_type, headers=_HEADERS)
        if request.method == "HEAD":
            response.body = b""  # after the length of the whole body was declared
        return response

    return counted_as_scrape(http_app(respond), metrics)


def _page(status: Status, reloading: bool) -> str:
    total, policies = status.total, status.policies
    monitoring = bool(policies) and all(policy["mode"] == Mode.MONITOR for policy in policies)
    counted = total.would_refuse if monitoring else total.refused
    figures = {
        "Requests judged": _number(total.requests),
        "Let in": _number(total.requests - total.refused),
        "Refused": _number(total.refused),
        "Sent to those let in": _size(total.bytes_served),
        "Sent as refusals": _size(total.bytes_refused),
    }
    if total.would_refuse:
        figures["Would be refused"] = _number(total.would_refuse)
    problems = {
        title: ", ".join(
            f"{escape(name)} {_number(number)}" for name, number in sorted(status.health[key].items()) if number
        )
        for key, (title, _) in _HEALTH.items()
    }
    return filled(
        "observability/status_page.html",
        style=_STYLE,
        refresh=f'<meta http-equiv="refresh" content="{_RELOAD_SECONDS}">' if reloading else "",
        reload=(
            '<a href="?">Stop reloading</a>'
            if reloading
            else f'<a href="?">Reload</a>, or <a href="?every={_RELOAD_SECONDS}">every {_RELOAD_SECONDS} seconds</a>'
        ),
        heading=(
            f"{_number(counted)} {'request' if counted == 1 else 'requests'} {'would be ' if monitoring else ''}refused"
        ),
        policies=" ".join(map(_stance, policies)) or "No guard has been started in this process yet.",
        counts_of=status.counts_of + (f" since {_time(status.since)}" if status.since else ""),
        time=_time(status.at),
        health=_health(status),
        figures=_definitions(figures),
        operators=_counts(
            "Who came", "Operator", status.operators, "People, and clients that give no name", status.ai["operators"]
        ),
        usages=_counts("What for", "Usage", status.usages, "No known usage", status.ai["usages"]),
        actions=_counts("What was decided", "Action", status.actions),
        identities=_identities(status),
        refusals_of=status.refusals_of,
        refusals=_refusals(status.last_refusals),
        policies_in_force="".join(map(_policy, policies)) + _wishes(status),
        problems=_definitions(problems),
        version=escape(status.version),
    )


def _stance(policy: Mapping[str, Any]) -> str:
    site = f"{escape(policy['site'])}. " if policy["site"] else ""
    monitoring = policy["mode"] == Mode.MONITOR
    mode = "mode monitor: everybody is let in, and counted" if monitoring else "enforced"
    return f"{site}Stance {escape(policy['stance'])}, {mode}."


def _health(status: Status) -> str:
    health, problems = status.health, []
    if health["reload_failed"]:
        reasons = dict.fromkeys(policy["problem"] for policy in status.policies if policy["problem"])
        problems.append(
            "The policy file on disk cannot be used; the last good policy runs, or the packaged no-ai stance if there "
            "was none since the start."
            + (
                "".join(f"<pre>{escape(reason)}</pre>" for reason in reasons)
                or " The log of a worker has the problems."
            )
        )
    problems += _ledger(status)
    problems += _wishes_problems(status)
    if health["store_unreachable"]:
        problems.append("A worker cannot ask the store that workers share: it counts alone. The log says why.")
    if health["identity_stopped"]:
        names = escape(", ".join(health["identity_stopped"]))
        problems.append(
            f"So many claims to be of {names} fail that the addresses are probably a proxy's: they are let in. Name "
            "your proxies under trusted_proxies."
        )
    for key, (_, sentence) in _HEALTH.items():
        number = sum(health[key].values())
        if sentence and number:
            problems.append(sentence.format("once" if number == 1 else f"{_number(number)} times"))
    if not problems:
        return '<p class="healthy">The guard is well.</p>'
    items = "".join(f"<li>{problem}</li>" for problem in problems)
    return f'<div class="unhealthy"><p>The guard needs a look:</p><ul>{items}</ul></div>'


def _ledger(status: Status) -> Iterator[str]:
    states = status.health["ledger"]
    if "damaged" in states:
        reasons = dict.fromkeys(policy["ledger_problem"] for policy in status.policies if policy["ledger_problem"])
        yield (
            "The ledger cannot be used; the stricter of the policy and of what was last known to be promised holds."
            + "".join(f"<pre>{escape(reason)}</pre>" for reason in reasons)
        )
    if "unpublished" in states:
        yield (
            "The policy is not published in the ledger; the stricter of both is in force until "
            "<code>noai-guard ledger publish</code>."
        )


def _wishes_problems(status: Status) -> Iterator[str]:
    if reasons := dict.fromkeys(policy["wishes_problem"] for policy in status.policies if policy["wishes_problem"]):
        yield (
            "What creators wish for their works cannot be read; what was last known holds."
            + "".join(f"<pre>{escape(reason)}</pre>" for reason in reasons)
        )


def _counts(
    title: str, first_column: str, counts: Mapping[str, Count], none: str = "none", ai: Iterable[str] = ()
) -> str:
    """Return a table with bars: the length is the share of the most frequent row, red where refused or, in monitor
    mode, where it would be. Names in `ai` are marked."""
    if not counts:
        return f'<h2>{title}</h2><p class="soft">Nobody yet.</p>'
    max_requests = max(count.requests for count in counts.values()) or 1
    bytes_known = any(count.bytes_served or count.bytes_refused for count in counts.values())
    monitored = any(count.would_refuse for count in counts.values())
    columns = (
        first_column,
        "Requests",
        "Refused",
        *(["Would be refused"] if monitored else []),
        *(["Sent"] if bytes_known else []),
    )
    marked = frozenset(ai)
    rows = []
    for name, count in counts.items():
        refused_width, width = (
            100 * number / max_requests for number in (count.refused + count.would_refuse, count.requests)
        )
        sent = f"<td>{_size(count.bytes_served + count.bytes_refused)}</td>" if bytes_known else ""
        numbers = (count.refused, count.would_refuse) if monitored else (count.refused,)
        refused = "".join(f'<td class="no">{_number(number)}</td>' if number else "<td>0</td>" for number in numbers)
        mark = ' <strong class="ai">AI</strong>' if name in marked else ""
        rows.append(
            f'<tr><th scope="row">{escape(none if name == "none" else name)}{mark}'
            '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="all" width="{width:.2f}" height="1"/>'
            f'<rect class="refused" width="{refused_width:.2f}" height="1"/></svg>'
            f"</th><td>{_number(count.requests)}</td>{refused}{sent}</tr>"
        )
    first, rest = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">{_table(columns, part)}</div>'
        for label, part in ((title, rows[:_FIRST_ROWS]), (f"{title}, more", rows[_FIRST_ROWS:_MAX_ROWS]))
    )
    left = f'<p class="soft">{len(rows) - _MAX_ROWS} more in the JSON.</p>' if len(rows) > _MAX_ROWS else ""
    return f"<h2>{title}</h2>{first}{_details(len(rows) - _FIRST_ROWS, rest)}{left}"


def _identities(status: Status) -> str:
    """Return a table of what came out of checking claims; empty if none was proven or disproven."""
    if not status.identities:
        return ""
    rows = []
    for operator, counts in status.identities.items():
        mark = " (refusing stopped)" if operator in status.health["identity_stopped"] else ""
        numbers = "".join(f"<td>{_number(number)}</td>" for number in counts.values())
        rows.append(f'<tr><th scope="row">{escape(operator)}{mark}</th>{numbers}</tr>')
    columns = ("Operator", "Unverified", "Verified", "Spoofed")
    title = "Who could prove it"
    table = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{title}">{_table(columns, rows[:_MAX_ROWS])}</div>'
    )
    return f"<h2>{title}</h2>{table}"


def _refusals(refusals: Iterable[Mapping[str, Any]]) -> str:
    items = []
    for refusal in refusals:
        client = f"{refusal['agent']} ({refusal['operator']})" if refusal["agent"] else "A client without a name"
        action = refusal["action"] if refusal["enforced"] else f"{refusal['action']}, not enforced"
        items.append(
            f'<li><p><span class="action {escape(refusal["action"])}">{escape(action)}</span> {escape(client)} '
            f'<span class="soft">{_time(refusal["at"])}</span></p>'
            f"<p><code>{escape(refusal['method'])} {escape(refusal['path'])}</code></p>"
            f"<p>{escape('; '.join(refusal['reasons']))} (rule {escape(refusal['rule'])}).</p>"
            f'<p class="soft"><code>{escape(refusal["user_agent"]) or "no user agent"}</code></p></li>'
        )
    first, rest = ("".join(part) for part in (items[:_FIRST_ROWS], items[_FIRST_ROWS:]))
    return f"<ol>{first}</ol>{_details(len(items) - _FIRST_ROWS, f'<ol>{rest}</ol>')}" if items else "<p>None yet.</p>"


def _policy(policy: Mapping[str, Any]) -> str:
    parts = []
    for pattern, usages in policy["sections"].items():
        rows = [
            f'<tr><th scope="row">{escape(usage)}</th><td class="{escape(action)}">{escape(action)}</td></tr>'
            for usage, action in usages.items()
        ]
        name = "Whole site" if pattern == "/**" else f"Under {pattern}"
        parts.append(f"<div>{_table((escape(name), 'Action'), rows)}</div>")
    rules = "".join(f"<li>{escape(rule)}: {escape(action)}</li>" for rule, action in policy["rules"].items())
    return (
        "<h2>Policy in force</h2>"
        f'<p class="soft">Stance {escape(policy["stance"])}, catalogue {escape(policy["catalogue"])}.</p>'
        f'<div class="columns">{"".join(parts)}</div>'
        f"{f'<p>Rules, first that holds:</p><ul>{rules}</ul>' if rules else ''}"
    )


_CREATORS = {
    "strictest": "Of creator and site, the stricter counts.",
    "decide": "What a creator has said counts, whatever the site says.",
}


def _wishes(status: Status) -> str:
    """Return what is known of the wishes of creators; empty where they have no say."""
    rules = dict.fromkeys(_CREATORS[policy["creators"]] for policy in status.policies if policy["creators"])
    if not rules:
        return ""
    facts = {f"Works in the {kind}": _number(works) for kind, works in status.wishes.get("works", {}).items()}
    if status.wishes:
        facts["Last read"] = _time(status.wishes["read_at"])
    return (
        f'<h2>Wishes of creators</h2><p class="soft">{" ".join(rules)}</p>'
        f'<dl class="columns">{_definitions(facts)}</dl>'
    )


def _table(columns: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _definitions(values: Mapping[str, str]) -> str:
    return "".join(f"<div><dt>{name}</dt><dd>{value or 'none'}</dd></div>" for name, value in values.items())


def _details(number: int, content: str) -> str:
    return f"<details><summary>{number} more</summary>{content}</details>" if number > 0 else ""


def _time(iso: str) -> str:
    return f'<time datetime="{iso}">{iso[:19].replace("T", " ")} UTC</time>'


def _number(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}" if number > 9999 else "")


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
