"""The same as the pages, as JSON for programs. openapi.json describes it."""

import json
from functools import cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from noai_guard.core.model import Action, Usage
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators import statements
from noai_guard.creators.account import ROWS_AT_ONCE, WORKS_AT_ONCE, ChangedMeanwhile, ChangedTooOften, NotTheirs
from noai_guard.creators.pages import export_json
from noai_guard.creators.requests import Handler, Visit, is_name, number_in
from noai_guard.resources import text
from noai_guard.stores.wish_table import ALL_WORKS, MAX_TEXT
from noai_guard.version import __version__

export = export_json

_MAX_ID = 2**53 - 1
"""The largest whole number that every reader of JSON keeps."""


@cache
def description() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    document: dict[str, Any] = json.loads(text("creators/openapi.json"))
    document["info"]["version"] = __version__
    schemas = document["components"]["schemas"]
    schemas["Usage"]["enum"] = [usage.value for usage in WISHED_USAGES]
    schemas["Choice"]["enum"] = [choice.value for choice in Choice]
    schemas["Action"]["enum"] = [action.value for action in Action]
    for schema, value in (("Usages", "UsageFacts"), ("Wishes", "Choice"), ("Default", "Action")):
        schemas[schema]["properties"] = {
            usage.value: {"$ref": f"#/components/schemas/{value}"} for usage in WISHED_USAGES
        }
    return document


def checked(handler: Handler, path: str, method: str) -> Handler:
    """Return a handler that takes no query parameter that is not described, and none twice."""
    operation = description()["paths"].get(path, {}).get(method.lower(), {})
    known = {parameter["name"] for parameter in operation.get("parameters", ())}

    def check(visit: Visit) -> Response:
        names = [name for name, _ in visit.request.query_params.multi_items()]
        if len(set(names)) != len(names) or not known.issuperset(names):
            raise HTTPException(422, f"the query parameters are {', '.join(known) or 'none'}, each once")
        return handler(visit)

    return check


def openapi(visit: Visit) -> Response:
    """Return the description of the API."""
    return JSONResponse(description())


def site(visit: Visit) -> Response:
    """Return what the site does by default, and what will change."""
    return JSONResponse({**statements.site_facts(visit.backend), "coming": statements.changes_facts(visit)})


def works(visit: Visit) -> Response:
    """Return the creator's works."""
    after = _text(visit, "after", "")
    views = visit.account.works(after, WORKS_AT_ONCE + 1)
    following = views[WORKS_AT_ONCE - 1].facts.work if len(views) > WORKS_AT_ONCE else None
    return JSONResponse({"works": [statements.work_facts(each) for each in views[:WORKS_AT_ONCE]], "next": following})


def wishes(visit: Visit) -> Response:
    """Return what is wished for one work, or for all."""
    name = _text(visit, "work", ALL_WORKS)
    try:
        return JSONResponse(statements.work_facts(visit.account.work(name)))
    except NotTheirs:
        raise HTTPException(404, "no such work of yours") from None


def change_wishes(visit: Visit) -> Response:
    """Write down choices."""
    name, chosen, seen = _wanted(visit.data)
    try:
        added = visit.account.choose(name, chosen, seen)
        view = visit.account.work(name)
    except NotTheirs:
        raise HTTPException(404, "no such work of yours") from None
    except ChangedMeanwhile:
        raise HTTPException(409, "the wishes were changed after what you have seen") from None
    except ChangedTooOften:
        detail = "the work was changed very often in the last 24 hours; disallow is always taken"
        raise HTTPException(429, detail, {"Retry-After": "86400"}) from None
    return JSONResponse({"added": len(added), **statements.work_facts(view)})


def visits(visit: Visit) -> Response:
    """Return who came this month."""
    return JSONResponse({"recorded": visit.backend.visits is not None, "month": statements.visits_facts(visit)})


def history(visit: Visit) -> Response:
    """Return what the creator has chosen, the latest first."""
    before = number_in(visit.request.query_params.get("before", "0"))
    if before is None or before > _MAX_ID:
        raise HTTPException(422, "before is no number of a choice")
    rows = visit.account.history(before, ROWS_AT_ONCE + 1)
    shown = rows[:ROWS_AT_ONCE]
    following = shown[-1].id if len(rows) > ROWS_AT_ONCE else None
    return JSONResponse({"history": statements.history_facts(shown), "next": following})


def problem_response(status: int, detail: str, **headers: str) -> Response:
    """Return a problem as RFC 9457 writes it."""
    return JSONResponse(
        {"title": detail, "status": status}, status, media_type="application/problem+json", headers=headers
    )


def _text(visit: Visit, name: str, default: str) -> str:
    value = visit.request.query_params.get(name)
    if value is None:
        return default
    if not is_name(value):
        raise HTTPException(422, f"{name} must be a text of 1 to {MAX_TEXT} characters without control characters")
    return value


def _wanted(data: object) -> tuple[str, dict[Usage, Choice], int | None]:
    """Return work, choices and `seen` of a request. Raises HTTPException 422."""
    if not isinstance(data, dict) or not {"work", "wishes"} <= data.keys() <= {"work", "wishes", "seen"}:
        raise HTTPException(422, "the body must be an object with work and wishes, and may have seen")
    name, chosen, seen = data["work"], data["wishes"], data.get("seen")
    if not isinstance(name, str) or not is_name(name):
        raise HTTPException(422, f"work must be a text of 1 to {MAX_TEXT} characters without control characters")
    if isinstance(seen, float) and seen.is_integer():
        seen = int(seen)  # 1.0 is an integer in JSON Schema
    if seen is not None and (type(seen) is not int or not 0 <= seen <= _MAX_ID):
        raise HTTPException(422, "seen must be a number that this API gave")
    if not isinstance(chosen, dict) or not chosen:
        raise HTTPException(422, "wishes must be an object with a choice for one usage or more")
    choices: dict[Usage, Choice] = {}
    for usage, choice in chosen.items():
        if usage not in WISHED_USAGES or not isinstance(choice, str) or choice not in Choice.__members__.values():
            raise HTTPException(422, f"wishes are {', '.join(Choice)} for {', '.join(WISHED_USAGES)}")
        choices[Usage(usage)] = Choice(choice)
    return name, choices, seen
