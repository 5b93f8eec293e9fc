"""The transparency page, for a site's creators and everybody: refusals by operator, the policy and its history."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from noai_guard.core.model import AI_USAGES, Mode
from noai_guard.core.policy import Policy
from noai_guard.core.promised import HISTORY_PATH
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.record.charts import number, stacked_columns
from noai_guard.record.history import state_of, title_of
from noai_guard.record.ledger import Ledger
from noai_guard.record.policy_changes import ACTION_WORDS
from noai_guard.record.public_counts import UNDER_A_FALSE_NAME, PublicCounts
from noai_guard.record.report_page import OUTCOMES, grid, operator_name, style_hash
from noai_guard.record.tally import OTHERS
from noai_guard.resources import filled, text
from noai_guard.version import __version__

STYLE = text("record/report.css")

_MAX_OPERATORS = 40
_MONTH_COLUMNS = 6
_MAX_ENTRIES = 10


@dataclass(frozen=True, slots=True)
class Transparency:
    """What the page says. `counts` is None until they have been counted."""

    policy: Policy
    counts: PublicCounts | None
    ledger: Ledger | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Return the page as plain data."""
        counts = self.counts or PublicCounts()
        return {
            "site": _site(self.policy),
            "counted": None if self.counts is None else self.at.isoformat(timespec="seconds"),
            "requests": [
                {"month": month, "operator": operator, "outcome": outcome, "requests": requests}
                for (month, operator, outcome), requests in sorted(counts.requests.items())
            ],
            "policy": {str(usage): str(self.policy.usages[usage]) for usage in USAGE_WORDS},
            "enforced": self.policy.mode is Mode.ENFORCE,
            "history": HISTORY_PATH if self.ledger else None,
        }

    def as_html(self) -> str:
        """Return the page."""
        counts, site = self.counts or PublicCounts(), escape(_site(self.policy)) or "this site"
        refused, all_requests = counts.of(outcome="refused"), counts.of()
        months = counts.months
        span = " to ".join(dict.fromkeys((months[0], months[-1]))) if months else "no month yet"
        figures = {
            "Requests refused": number(refused),
            "Requests noted": number(all_requests),
            "Operators with a name": number(len([each for each in counts.operators if _is_named(each)])),
            "Months": escape(span),
        }
        return filled(
            "record/transparency.html",
            style=STYLE,
            style_hash=style_hash(STYLE),
            title=f"AI at {site}: who asked, who was refused",
            heading=f"AI at {site}: who asked, who was refused",
            lead="The site says what AI may do with its content, and refuses programs that want more. This is who "
            "came, and who was refused.",
            figures="".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in figures.items()),
            notes=_notes(self.counts, counts.left_out),
            chart=_chart(counts),
            months=_months(counts),
            operators=_operators(counts),
            policy="".join(_policy(self.policy)),
            history="".join(_history(self.ledger, self.at)),
            counted=f"<time>{self.at.isoformat(sep=' ', timespec='minutes')[:16]} UTC</time>",
            version=escape(__version__),
        )


def _site(policy: Policy) -> str:
    return policy.site.name or policy.site.owner or policy.site.url


def _is_named(operator: str) -> bool:
    return operator not in ("", "unknown", UNDER_A_FALSE_NAME, OTHERS)


def _name(operator: str) -> str:
    return "Programs under a false name" if operator == UNDER_A_FALSE_NAME else operator_name(operator)


def _notes(counts: PublicCounts | None, left_out: int) -> str:
    if counts is None:
        return '<div class="notes"><p>Counting has begun and takes a while; come back in a minute.</p></div>'
    if left_out:
        return f'<div class="notes"><p>{number(left_out)} requests of rare operators are left out.</p></div>'
    return ""


def _chart(counts: PublicCounts) -> str:
    columns = [(month, {outcome: counts.of(month, outcome=outcome) for outcome in OUTCOMES}) for month in counts.months]
    return stacked_columns("Requests of each month by outcome", columns, OUTCOMES) if columns else "<p>None yet.</p>"


def _months(counts: PublicCounts) -> str:
    rows = [
        f'<tr><th scope="row">{escape(month)}</th>'
        + "".join(f"<td>{number(counts.of(month, outcome=outcome))}</td>" for outcome in OUTCOMES)
        + "</tr>"
        for month in counts.months
    ]
    return grid("Requests of each month by outcome", ["Month", *OUTCOMES.values()], rows) if rows else ""


def _operators(counts: PublicCounts) -> str:
    months = counts.months[-_MONTH_COLUMNS:]
    rows = []
    for operator in counts.operators[:_MAX_OPERATORS]:
        cells = "".join(
            f"<td>{number(counts.of(month, operator, 'refused'))} of {number(counts.of(month, operator))}</td>"
            for month in ("", *months)
        )
        ai = ' <strong class="ai">AI</strong>' if operator in counts.ai_operators else ""
        rows.append(f'<tr><th scope="row">{_name(operator)}{ai}</th>{cells}</tr>')
    left = len(counts.operators) - _MAX_OPERATORS
    more = f'<p class="soft">{left:,} operators with fewer requests are not shown.</p>' if left > 0 else ""
    caption = "Requests refused, of all that were noted"
    return grid(caption, ["Operator", "All months", *map(escape, months)], rows) + more if rows else "<p>None yet.</p>"


def _policy(policy: Policy) -> Iterator[str]:
    if policy.mode is not Mode.ENFORCE:
        yield "<p><b>At present the site only watches:</b> nobody is refused yet.</p>"
    usages = [usage for usage in USAGE_WORDS if usage in AI_USAGES]
    rows = [
        f'<tr><th scope="row">{escape(USAGE_WORDS[usage].meaning)}</th>'
        f"<td>{escape(ACTION_WORDS[policy.usages[usage]])}</td></tr>"
        for usage in usages
    ]
    yield grid("What AI may do on the whole site", ["Usage", "Answer"], rows)
    if policy.path_policies:
        yield "<p>Some parts of the site have a policy of their own.</p>"
    if policy.site.policy_page:
        yield f'<p><a href="{escape(ascii_uri(policy.site.policy_page))}">The policy in full</a>.</p>'


def _history(ledger: Ledger | None, now: datetime) -> Iterator[str]:
    if ledger is None or not ledger.entries:
        yield "<p>The site keeps no public history of its policy.</p>"
        return
    promised = ledger.promised(now)
    rows = []
    for entry in ledger.entries[: -_MAX_ENTRIES - 1 : -1]:
        changes = "<br>".join(map(escape, [title_of(entry), *entry.changes]))
        rows.append(
            f'<tr><th scope="row">{entry.time:%Y-%m-%d}</th><td>{state_of(entry, ledger, promised)}</td>'
            f'<td class="last">{changes}</td></tr>'
        )
    yield grid("Versions of the policy, the latest first", ["Date", "State"], rows, last="What changed")
    yield f'<p>Each version is signed: <a href="{HISTORY_PATH}">the whole history</a>.</p>'
