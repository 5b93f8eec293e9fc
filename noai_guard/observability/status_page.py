"""A page for whoever looks after the site: `app.mount("/noai-status", status_app())`. Off unless mounted.

It only reads. Plain HTML without script, or JSON where that is asked for. Everything that came with a request or
stands in a policy is escaped, and a content security policy lets nothing but the page's own style work.
Keep it off the public internet, as /metrics: it shows paths and user agents of refused requests.
"""

import base64
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.core.model import Action, Mode
from noai_guard.observability.metrics import Refused, Telemetry
from noai_guard.observability.multiprocess import registry_of_workers
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format
from noai_guard.version import __version__

_FIRST_ROWS = 12
_MOST_ROWS = 100
_EVERY = 10
"""Seconds between reloads, for a reader who asks for them."""

_REFUSING = frozenset(action.value for action in Action if action.restricts)


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
    """Everything the page says; `asdict` of it is the JSON."""

    at: str
    version: str
    counts_of: str
    refusals_of: str
    policy: dict[str, Any]
    total: Count = field(default_factory=Count)
    operators: dict[str, Count] = field(default_factory=dict)
    agents: dict[str, Count] = field(default_factory=dict)
    usages: dict[str, Count] = field(default_factory=dict)
    actions: dict[str, Count] = field(default_factory=dict)
    last_refusals: list[dict[str, Any]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)


def status_app(
    registry: CollectorRegistry | None = None, *, refusals: int = 50
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI app that shows what the guards counting in `registry` (the default one when None) do.

    With several workers and PROMETHEUS_MULTIPROC_DIR, counts are of all of them; the last `refusals` are those of
    the worker that answers. Raises ValueError when that variable names no folder.
    """
    telemetry = Telemetry.of(registry)
    telemetry.keep_refusals(refusals)
    workers = registry_of_workers()

    async def status(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            return
        method = str(scope["method"]).upper()
        if method not in ("GET", "HEAD"):
            await _answer(send, 405, b"text/plain", b"", (b"allow", b"GET, HEAD"))
            return
        telemetry.flush()
        found = _status(telemetry, workers)
        if chosen_format("/", "GET", scope["headers"]) is Format.JSON:
            kind, body = b"application/json", json.dumps(asdict(found), indent=1).encode()
        else:
            by_itself = scope.get("query_string") == b"every=%d" % _EVERY
            kind, body = b"text/html; charset=utf-8", _page(found, by_itself).encode("utf-8")
        await _answer(send, 200, kind, body, (b"content-length", b"%d" % len(body)), head=method == "HEAD")

    return status


async def _answer(
    send: Send, status: int, kind: bytes, body: bytes, *more: tuple[bytes, bytes], head: bool = False
) -> None:
    headers = [
        (b"content-type", kind),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept"),
        (b"x-robots-tag", b"noindex, nofollow, noarchive"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", _CSP),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def _status(telemetry: Telemetry, workers: CollectorRegistry | None) -> Status:
    own: tuple[Any, ...] = (
        telemetry.requests,
        telemetry.bytes,
        telemetry.reloads,
        telemetry.reload_failed,
        telemetry.guard_failures,
        telemetry.backend_failures,
        telemetry.address_problems,
    )
    families: Iterable[Metric] = (
        (family for metric in own for family in metric.collect()) if workers is None else workers.collect()
    )
    samples = {
        family.name: [sample for sample in family.samples if not sample.name.endswith("_created")]
        for family in families
    }
    status = Status(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        counts_of="this process" if workers is None else "all workers",
        refusals_of="this process" if workers is None else f"the worker that answered, process {os.getpid()}",
        policy=_policy(telemetry),
        last_refusals=[_refusal(refused) for refused in telemetry.last_refusals()],
    )
    by: dict[str, defaultdict[str, Count]] = {
        label: defaultdict(Count) for label in ("operator", "agent", "usage", "action")
    }
    operator_of: dict[str, str] = {}
    for sample in samples.get("noai_requests", ()):
        labels, number = sample.labels, int(sample.value)
        operator_of[labels["agent"]] = labels["operator"]
        strict = labels["action"] in _REFUSING
        refused = number if strict and labels["mode"] == Mode.ENFORCE else 0
        for count in (status.total, *(by[label][labels[label]] for label in by)):
            count.requests += number
            count.refused += refused
            count.would_refuse += number - refused if strict else 0
    for sample in samples.get("noai_response_body_bytes", ()):
        agent, usage = sample.labels["agent"], sample.labels["usage"]
        counts = (status.total, by["agent"][agent], by["usage"][usage], by["operator"][operator_of.get(agent, agent)])
        for count in counts:
            if sample.labels["outcome"] == "refused":
                count.bytes_refused += int(sample.value)
            else:
                count.bytes_served += int(sample.value)
    status.operators, status.agents, status.usages, status.actions = (
        dict(sorted(by[label].items(), key=lambda row: (-row[1].requests, row[0])))
        for label in ("operator", "agent", "usage", "action")
    )
    status.health = {
        "reload_failed": any(sample.value for sample in samples.get("noai_reload_failed", ())),
        "reloads": _by_label(samples.get("noai_reloads", ()), "result"),
        "guard_failures": _by_label(samples.get("noai_guard_failures", ()), "place"),
        "backend_failures": _by_label(samples.get("noai_backend_failures", ()), "question"),
        "client_address_problems": _by_label(samples.get("noai_client_address_problems", ()), "problem"),
    }
    return status


def _by_label(samples: Iterable[Any], label: str) -> dict[str, int]:
    return {sample.labels[label]: int(sample.value) for sample in samples}


def _policy(telemetry: Telemetry) -> dict[str, Any]:
    """The policy in force as facts; {} before a guard was made."""
    if not telemetry.policy_in_force:
        return {}
    _, stance, mode, catalogue = telemetry.policy_in_force
    facts: dict[str, Any] = {"stance": stance, "mode": str(mode), "catalogue": catalogue}
    policy = telemetry.policy
    if policy is not None:
        facts |= {
            "site": policy.site.name or policy.site.url,
            "sections": {
                path_policy.pattern: {str(usage): str(action) for usage, action in path_policy.usages.items()}
                for path_policy in policy.all_path_policies
            },
            "rules": {rule.id: str(rule.action) for rule in policy.rules},
        }
    return facts


def _refusal(refused: Refused) -> dict[str, Any]:
    verdict = refused.verdict
    return {
        "at": datetime.fromtimestamp(refused.at, UTC).isoformat(timespec="seconds"),
        "action": str(verdict.action),
        "enforced": verdict.enforced,
        "agent": verdict.agent.name if verdict.agent else None,
        "operator": verdict.agent.operator if verdict.agent else None,
        "usage": str(verdict.usage) if verdict.usage else None,
        "identity": str(verdict.identity),
        "rule": verdict.rule,
        "reasons": list(verdict.reasons),
        "method": refused.method,
        "path": refused.path,
        "user_agent": refused.user_agent,
    }


_STYLE = """
:root{color-scheme:light dark;--ink:#17191c;--soft:#565d66;--paper:#fbfaf8;--card:#fff;--line:#dcd8d0;--no:#a3221b;
--yes:#1c6b3c;--bar:#9aa3ad}
@media(prefers-color-scheme:dark){:root{--ink:#ecebe8;--soft:#a7adb5;--paper:#141518;--card:#1c1e22;--line:#34373c;
--no:#ff8b80;--yes:#7ddc9f;--bar:#6b747e}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:clamp(1.25rem,5vw,3rem) clamp(1rem,4vw,2rem)}
h1{font-size:clamp(1.7rem,5vw,2.6rem);line-height:1.1;letter-spacing:-.025em;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.5rem 0 .6rem}p{margin:.3rem 0}.soft,footer,.soft a{color:var(--soft)}
a{color:inherit;text-underline-offset:.2em}
a:focus-visible,[tabindex]:focus-visible{outline:3px solid;outline-offset:3px}
.well,.ill{border-left:.3rem solid var(--yes);background:var(--card);padding:.7rem 1rem;margin:1.25rem 0}
.ill{border-color:var(--no)}.ill ul{margin:.3rem 0;padding-left:1.2rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.5rem 0 0}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem}
dt{color:var(--soft);font-size:.9rem}dd{margin:0}
.figures dd{font-size:1.6rem;font-weight:650;line-height:1.2;font-variant-numeric:tabular-nums}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 2.5rem}
.wide{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.45rem 0 .45rem .9rem;border-bottom:1px solid var(--line);font-weight:400;
vertical-align:top;white-space:nowrap}
thead th{color:var(--soft);font-size:.85rem}
th:first-child{text-align:left;padding-left:0;white-space:normal;overflow-wrap:anywhere;width:60%}
svg{display:block;width:100%;height:.3rem;margin-top:.3rem}.let{fill:var(--bar)}.cut{fill:var(--no)}
.no,.deny,.license_required,.throttle{color:var(--no)}.allow,.log{color:var(--yes)}
ol{list-style:none;margin:0;padding:0}li.one{border-bottom:1px solid var(--line);padding:.7rem 0}
.one p{overflow-wrap:anywhere}.tag{font-weight:650}
summary{cursor:pointer;padding:.6rem 0;color:var(--soft)}summary:focus-visible{outline:3px solid;outline-offset:3px}
code{font-size:.9em;overflow-wrap:anywhere}footer{margin-top:3rem;font-size:.9rem}
"""
_CSP = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    f"{base64.b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
).encode()

_PEOPLE = "People, and clients that give no name"


def _page(status: Status, by_itself: bool) -> str:
    total, policy = status.total, status.policy
    monitors = policy.get("mode") == Mode.MONITOR
    shown = total.would_refuse if monitors else total.refused
    let_in = total.requests - total.refused
    heading = f"{_number(shown)} {'request' if shown == 1 else 'requests'} {'would be ' if monitors else ''}refused"
    reload = (
        '<a href="?">Stop reloading</a>'
        if by_itself
        else f'<a href="?">Reload</a>, or <a href="?every={_EVERY}">every {_EVERY} seconds</a>'
    )
    refresh = f'<meta http-equiv="refresh" content="{_EVERY}">' if by_itself else ""
    figures = {
        "Requests judged": _number(total.requests),
        "Let in": _number(let_in),
        "Refused": _number(total.refused),
        "Sent to those let in": _size(total.bytes_served),
        "Sent as refusals": _size(total.bytes_refused),
    }
    if total.would_refuse:
        figures["Would be refused"] = _number(total.would_refuse)
    site = f"{escape(policy['site'])}. " if policy.get("site") else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>noai-guard status</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow, noarchive">'
        f"{refresh}"
        f"<style>{_STYLE}</style></head><body><main>"
        f"<h1>{heading}</h1>"
        f'<p class="soft">{site}{_stance(policy)} Counts of {status.counts_of}. '
        f"{_time(status.at)}. {reload}.</p>"
        f"{_health(status)}"
        f'<dl class="figures">{"".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in figures.items())}</dl>'
        f"{_table('Who came', 'Operator', status.operators, _PEOPLE)}"
        f'<div class="columns"><div>{_table("What for", "Usage", status.usages, "No known usage")}</div>'
        f"<div>{_table('What was decided', 'Action', status.actions)}</div></div>"
        f"{_refusals(status)}{_in_force(policy)}{_problems(status.health)}"
        f"<footer>noai-guard {escape(status.version)}. With <code>Accept: application/json</code> the same as JSON."
        "</footer></main></body></html>\n"
    )


def _stance(policy: Mapping[str, Any]) -> str:
    if not policy:
        return "No guard has been started in this process yet."
    if policy["mode"] == Mode.MONITOR:
        return f"Stance {escape(policy['stance'])}, mode monitor: everybody is let in, and counted."
    return f"Stance {escape(policy['stance'])}, enforced."


def _health(status: Status) -> str:
    health = status.health
    failures, backend = sum(health["guard_failures"].values()), sum(health["backend_failures"].values())
    address = sum(health["client_address_problems"].values())
    ills = []
    if health["reload_failed"]:
        ills.append("The policy file on disk cannot be used; the last good one runs. The log has the problems.")
    if failures:
        ills.append(f"The guard itself failed {_times(failures)}. The log has the tracebacks.")
    if backend:
        ills.append(f"A backend left a question unanswered {_times(backend)}.")
    if address:
        ills.append(f"The client's address could not be taken from the configured header {_times(address)}.")
    if not ills:
        return '<p class="well">The guard is well.</p>'
    return f'<div class="ill"><p>The guard needs a look:</p><ul>{"".join(f"<li>{ill}</li>" for ill in ills)}</ul></div>'


def _table(title: str, what: str, rows: Mapping[str, Count], none: str = "none") -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="soft">Nobody yet.</p>'
    most = max(count.requests for count in rows.values()) or 1
    bytes_known = any(count.bytes_served or count.bytes_refused for count in rows.values())
    lines = [_row(none if name == "none" else name, count, most, bytes_known) for name, count in rows.items()]
    sent = '<th scope="col">Sent</th>' if bytes_known else ""
    head = (
        f'<thead><tr><th scope="col">{what}</th><th scope="col">Requests</th><th scope="col">Refused</th>{sent}'
        "</tr></thead>"
    )

    def table(part: list[str], label: str) -> str:
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{head}'
            f"<tbody>{''.join(part)}</tbody></table></div>"
        )

    rest = lines[_FIRST_ROWS:_MOST_ROWS]
    more = (
        f"<details><summary>{len(lines) - _FIRST_ROWS} more</summary>{table(rest, f'{title}, more')}</details>"
        if rest
        else ""
    )
    left = f'<p class="soft">{len(lines) - _MOST_ROWS} more in the JSON.</p>' if len(lines) > _MOST_ROWS else ""
    return f"<h2>{title}</h2>{table(lines[:_FIRST_ROWS], title)}{more}{left}"


def _row(name: str, count: Count, most: int, bytes_known: bool) -> str:
    """A line, with a bar as long as its share of the most frequent, red where refused."""
    cut, all_of_it = (100 * number / most for number in (count.refused, count.requests))
    sent = f"<td>{_size(count.bytes_served + count.bytes_refused)}</td>" if bytes_known else ""
    refused = f'<td class="no">{_number(count.refused)}</td>' if count.refused else "<td>0</td>"
    return (
        f'<tr><th scope="row">{escape(name)}<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="let" width="{all_of_it:.2f}" height="1"/><rect class="cut" width="{cut:.2f}" height="1"/></svg>'
        f"</th><td>{_number(count.requests)}</td>{refused}{sent}</tr>"
    )


def _refusals(status: Status) -> str:
    whose = f'<p class="soft">Seen by {status.refusals_of}; the latest first.</p>'
    lines = []
    for one in status.last_refusals:
        who = f"{one['agent']} ({one['operator']})" if one["agent"] else "A client without a name"
        what = one["action"] if one["enforced"] else f"{one['action']}, not enforced"
        lines.append(
            f'<li class="one"><p><span class="tag {escape(one["action"])}">{escape(what)}</span> {escape(who)} '
            f'<span class="soft">{_time(one["at"])}</span></p>'
            f"<p><code>{escape(one['method'])} {escape(one['path'])}</code></p>"
            f"<p>{escape('; '.join(one['reasons']))} (rule {escape(one['rule'])}).</p>"
            f'<p class="soft"><code>{escape(one["user_agent"]) or "no user agent"}</code></p></li>'
        )
    first, rest = "".join(lines[:_FIRST_ROWS]), "".join(lines[_FIRST_ROWS:])
    listed = f"<ol>{first}</ol>" if first else "<p>None yet.</p>"
    if rest:
        listed += f"<details><summary>{len(lines) - _FIRST_ROWS} more</summary><ol>{rest}</ol></details>"
    return f"<h2>Last refusals</h2>{whose}{listed}"


def _in_force(policy: Mapping[str, Any]) -> str:
    if not policy:
        return ""
    facts = f'<p class="soft">Stance {escape(policy["stance"])}, catalogue {escape(policy["catalogue"])}.</p>'
    path_policies = policy.get("sections", {})
    parts = []
    for pattern, usages in path_policies.items():
        rows = "".join(
            f'<tr><th scope="row">{escape(usage)}</th><td class="{escape(action)}">{escape(action)}</td></tr>'
            for usage, action in usages.items()
        )
        name = "Whole site" if pattern == "/**" else f"Under {pattern}"
        parts.append(
            f'<div><table><thead><tr><th scope="col">{escape(name)}</th><th scope="col">Action</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    rules = "".join(f"<li>{escape(rule)}: {escape(action)}</li>" for rule, action in policy.get("rules", {}).items())
    return (
        f'<h2>Policy in force</h2>{facts}<div class="columns">{"".join(parts)}</div>'
        f"{f'<p>Rules, first that holds:</p><ul>{rules}</ul>' if rules else ''}"
    )


def _problems(health: Mapping[str, Any]) -> str:
    titles = {
        "guard_failures": "Failures of the guard, by place",
        "backend_failures": "Unanswered questions, by kind",
        "client_address_problems": "Addresses not taken from the header, by reason",
        "reloads": "Reloads of the policy, by result",
    }
    parts = []
    for key, title in titles.items():
        found = {name: number for name, number in health[key].items() if number}
        said = ", ".join(f"{escape(name)} {_number(number)}" for name, number in sorted(found.items()))
        parts.append(f"<div><dt>{title}</dt><dd>{said or 'none'}</dd></div>")
    return f'<h2>Health of the guard</h2><dl class="columns">{"".join(parts)}</dl>'


def _time(iso: str) -> str:
    return f'<time datetime="{iso}">{iso[:19].replace("T", " ")} UTC</time>'


def _times(number: int) -> str:
    return "once" if number == 1 else f"{_number(number)} times"


def _number(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}" if number > 9999 else "")


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
