"""What the page shows, as plain data for the API and the export."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from noai_guard.core.model import Mode
from noai_guard.creators.account import WorkView
from noai_guard.creators.exports import facts_of
from noai_guard.creators.requests import Backend, Visit
from noai_guard.stores.wish_table import ALL_WORKS, Row


def work_facts(view: WorkView) -> dict[str, Any]:
    """Return a work with its wishes."""
    return {
        "work": view.facts.work,
        "title": view.facts.title,
        "isrc": view.facts.isrc,
        "seen": view.seen,
        "usages": {
            each.usage.value: {
                "choice": each.said.choice.value,
                "coming": None
                if each.said.coming is None
                else {
                    "choice": each.said.coming.choice.value,
                    "since": each.said.coming.since.isoformat(),
                    "then": each.then.value,
                },
                "site": each.site.value,
                "holds": each.holds.value,
            }
            for each in view.usages
        },
    }


def site_facts(backend: Backend) -> dict[str, Any]:
    """Return what the site does by default, what it has announced, and what it says of itself."""
    policy = backend.site.policy
    announced = backend.site.announced
    return {
        "name": backend.site.name,
        "enforced": policy.mode is Mode.ENFORCE,
        "creators_decide": policy.creators.decide,
        "notice_days": backend.notice,
        "default": {usage.value: action.value for usage, action in backend.site.default().items()},
        "announced": None if announced is None else [
            {"effective": change.effective.isoformat(timespec="seconds"), "changes": list(change.changes)}
            for change in announced
        ],
        "uses": [
            {"use": use.use, "by": use.by, "licence": use.licence,
             "trains_generative_models": use.trains_generative_models}
            for use in policy.uses
        ],
        "notices": [{"text": notice.text, "by": notice.by, "lang": notice.lang} for notice in policy.notices],
    }  # fmt: skip


def visits_facts(visit: Visit) -> dict[str, Any] | None:
    """Return who came this month; None if it is not known (yet)."""
    month = visit.account.visits(visit.backend.visits)
    if month is None:
        return None
    return {
        "since": month.since.isoformat(timespec="seconds"),
        "until": month.until.isoformat(timespec="seconds"),
        "complete": month.complete,
        "visitors": [{**visitor._asdict(), **asdict(figures)} for visitor, figures in month.visitors.items()],
    }


def history_facts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return choices, with their numbers."""
    return [{"id": row.id, **facts_of(row)} for row in rows]


def changes_facts(visit: Visit) -> list[dict[str, str]]:
    """Return the creator's choices that do not hold yet."""
    return [
        {
            "work": coming.row.work,
            "usage": coming.row.usage or "",
            "choice": coming.row.choice.value,
            "since": coming.row.since.isoformat(),
            "then": coming.then.value,
        }
        for coming in visit.account.coming()
    ]


def everything(visit: Visit) -> dict[str, Any]:
    """Return all that is no list of works or choices."""
    account, now = visit.account, visit.backend.clock()
    return {
        "creator": account.creator,
        "exported_at": now.isoformat(timespec="seconds"),
        "site": site_facts(visit.backend),
        "all_works": work_facts(account.work(ALL_WORKS))["usages"],
        "coming": changes_facts(visit),
        "visits": visits_facts(visit),
    }
