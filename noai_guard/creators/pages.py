"""The pages: plain HTML without script."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from noai_guard.core.model import Action, Mode, Usage
from noai_guard.core.uses import KNOWN_USES
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators import exports
from noai_guard.creators.account import (
    ROWS_AT_ONCE,
    WORKS_AT_ONCE,
    ChangedMeanwhile,
    ChangedTooOften,
    NotTheirs,
    WorkView,
)
from noai_guard.creators.requests import (
    COOKIE,
    Backend,
    Visit,
    caller,
    check_rate,
    invitation_of,
    is_name,
    number_in,
    route_path,
)  # fmt: skip
from noai_guard.creators.statements import everything, work_facts
from noai_guard.declarations import policy_page
from noai_guard.resources import text, texts
from noai_guard.stores.wish_table import ALL_WORKS
from noai_guard.version import __version__

_SPOOL_BYTES = 1024 * 1024
_PART_BYTES = 64 * 1024
_SAVED = ("now", "later", "nothing")


def style(visit: Visit) -> Response:
    """Return the style sheet."""
    return Response(text("page.css") + text("creators/page.css"), media_type="text/css")


def open_link(visit: Visit) -> Response:
    """Exchange the token of a link for a cookie, and leave the address that holds it."""
    backend, now = visit.backend, visit.backend.clock()
    known = backend.keys.read_link(visit.request.query_params.get("t", ""), now)
    if known is None:
        check_rate(backend.bad_links, caller(visit), now)
    invitation = invitation_of(visit, known)
    if invitation is None:
        say = backend.say()
        return _message(visit.request, backend, 403, say("link_heading"), [say("link_dead")])
    check_rate(backend.requests, invitation.id, now)
    cookie, seconds = backend.keys.new_session(invitation, now)
    response = RedirectResponse("./", 303)
    # Lax, not Strict: a link in web mail comes from another site, and the browser would not send the cookie on arrival.
    response.set_cookie(COOKIE, cookie, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
    return response


def leave(visit: Visit) -> Response:
    """Forget the session."""
    say = visit.backend.say()
    response = _message(visit.request, visit.backend, 200, say("left_heading"), [say("left_lead")])
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def works(visit: Visit) -> Response:
    """Show the creator's works, with a form for all of them."""
    return _works(visit)


def _works(visit: Visit, status: int = 200, **more: Any) -> Response:
    after = visit.request.query_params.get("after", "")
    if after and not is_name(after):
        raise HTTPException(404)
    account = visit.account
    views = account.works(after, WORKS_AT_ONCE + 1)
    every = None if after else account.work(ALL_WORKS)
    return _page(
        visit, "works.html", status, here="works", works=views[:WORKS_AT_ONCE], every=every, after=after,
        next=views[WORKS_AT_ONCE - 1].facts.work if len(views) > WORKS_AT_ONCE else "",
        all_refused=every is not None and all(each.said.last is Choice.DISALLOW for each in every.usages),
        **_form_facts(visit), **more,
    )  # fmt: skip


def work(visit: Visit) -> Response:
    """Show the form of one work."""
    return _work(visit, visit.request.query_params.get("name", ""))


def _work(visit: Visit, name: str, status: int = 200, **more: Any) -> Response:
    view = _own_work(visit, name)
    return _page(visit, "work.html", status, here="works", work=view, **_form_facts(visit), **more)


def _own_work(visit: Visit, name: str) -> WorkView:
    if not is_name(name) or name == ALL_WORKS:
        raise HTTPException(404)
    try:
        return visit.account.work(name)
    except NotTheirs:
        raise HTTPException(404) from None


def wishes(visit: Visit) -> Response:
    """Write down what a form says."""
    say, form = visit.backend.say(), visit.data
    name = form.get("work", "")
    if name != ALL_WORKS:
        _own_work(visit, name)
    chosen, wrong = _chosen(form)
    if wrong:
        messages = [(f"usage-{each}-allow", say("error_choice", usage=say.plain(each))) for each in wrong]
        return _form_again(visit, name, 422, messages, chosen=chosen, wrong=wrong)
    seen = number_in(form.get("seen", ""))
    try:
        added = visit.account.choose(name, chosen, -1 if seen is None else seen)
    except NotTheirs:
        raise HTTPException(404) from None
    except ChangedMeanwhile:
        return _form_again(visit, name, 409, [("", say("error_changed"))])
    except ChangedTooOften:
        return _form_again(visit, name, 429, [("", say("error_often"))], chosen=chosen)
    today = visit.backend.clock().date()
    later = any(row.since > today for row in added)
    saved = "later" if later else "now" if added else "nothing"
    return RedirectResponse(_address("./" if name == ALL_WORKS else "work", name, saved), 303)


def _address(page: str, name: str, saved: str) -> str:
    return f"./?saved={saved}" if page == "./" else f"work?name={quote(name, safe='')}&saved={saved}"


def _chosen(form: Mapping[str, str]) -> tuple[dict[Usage, Choice], list[Usage]]:
    """Return the choices in a form, and the usages for which it has none that there is."""
    chosen, wrong = {}, []
    for usage in WISHED_USAGES:
        answer = form.get(f"usage-{usage}", "")
        if answer in Choice.__members__.values():
            chosen[usage] = Choice(answer)
        else:
            wrong.append(usage)
    return chosen, wrong


def _form_again(visit: Visit, name: str, status: int, messages: Sequence[tuple[str, Markup]], **more: Any) -> Response:
    facts = {"messages": messages, **more}
    return _works(visit, status, **facts) if name == ALL_WORKS else _work(visit, name, status, **facts)


def _form_facts(visit: Visit) -> dict[str, Any]:
    backend, say = visit.backend, visit.backend.say()
    saved = visit.request.query_params.get("saved", "")
    coming = backend.clock().date().toordinal() + backend.notice
    return {
        "saved": say(f"saved_{saved}", date=_day(date.fromordinal(coming))) if saved in _SAVED else "",
        "decide": backend.site.policy.creators.decide,
        "notice": backend.notice,
    }


def site(visit: Visit) -> Response:
    """Show what the site does by default, what will change, and what the site says of itself."""
    backend, account = visit.backend, visit.account
    policy, coming = backend.site.policy, account.coming()
    return _page(
        visit, "site.html", here="site", default=backend.site.default(), announced=backend.site.announced,
        coming=coming[:ROWS_AT_ONCE], more_coming=len(coming[ROWS_AT_ONCE:]), monitors=policy.mode is Mode.MONITOR,
        has_sections=bool(policy.path_policies), policy_page=_page_for_people(backend),
        uses=policy.uses, known_uses=KNOWN_USES, notices=policy.notices,
    )  # fmt: skip


def _page_for_people(backend: Backend) -> str:
    """Return the address of the page for people, which may be on another host than this one; empty if not known."""
    facts = backend.site.policy.site
    if not facts.policy_page.startswith("/"):
        return facts.policy_page
    return facts.url.rstrip("/") + facts.policy_page if facts.url else ""


def visits(visit: Visit) -> Response:
    """Show who came this month."""
    source = visit.backend.visits
    month = visit.account.visits(source)
    return _page(
        visit, "visits.html", here="visits", month=month, visits_known=source is not None,
        usages={usage.value for usage in Usage if usage in texts(policy_page.TEXTS)},
    )  # fmt: skip


def history(visit: Visit) -> Response:
    """Show what the creator has chosen."""
    before = number_in(visit.request.query_params.get("before", "")) or 0
    rows = visit.account.history(before, ROWS_AT_ONCE + 1)
    shown = rows[:ROWS_AT_ONCE]
    return _page(
        visit, "history.html", here="history", rows=shown, before=before,
        next=shown[-1].id if len(rows) > ROWS_AT_ONCE else 0,
    )  # fmt: skip


def export(visit: Visit) -> Response:
    """Show which files there are."""
    return _page(visit, "export.html", here="export")


def export_json(visit: Visit) -> Response:
    """Return everything as JSON."""
    account = visit.account
    lists = {"works": map(work_facts, account.every_work()), "history": map(exports.facts_of, account.rows())}
    return _file("wishes.json", "application/json", exports.json_lines(everything(visit), lists))


def export_csv(visit: Visit) -> Response:
    """Return all choices as CSV."""
    return _file("wishes.csv", "text/csv; charset=utf-8", exports.csv_lines(visit.account.rows()))


def _file(name: str, media_type: str, parts: Iterator[str]) -> Response:
    # Not sent while it is read: a client that takes its time would hold a connection to the database.
    spool = SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  # closed when it has been read
    spool.writelines(part.encode() for part in parts)
    headers = {"content-disposition": f'attachment; filename="{name}"', "content-length": str(spool.tell())}
    spool.seek(0)
    return StreamingResponse(_read(spool), media_type=media_type, headers=headers)


def _read(spool: "SpooledTemporaryFile[bytes]") -> Iterator[bytes]:
    with spool:
        while part := spool.read(_PART_BYTES):
            yield part


def problem_page(request: Request, backend: Backend, status: int, *, seconds: int = 0) -> Response:
    """Return the page that says what is wrong."""
    say = backend.say()
    leads = {404: say("problem_404_lead"), 429: say("problem_429_lead", seconds=seconds)}
    lead = leads.get(status, say("problem_lead"))
    return _message(request, backend, status, say(f"problem_{status}"), [lead])


def session_page(request: Request, backend: Backend, had_session: bool) -> Response:
    """Return the page for somebody who has no session."""
    say = backend.say()
    lead = say("link_session" if had_session else "link_lead")
    return _message(request, backend, 401, say("link_heading"), [lead])


def form_page(request: Request, backend: Backend) -> Response:
    """Return the page for a form that was made for another session."""
    say = backend.say()
    return _message(request, backend, 403, say("problem_403"), [say("error_form")])


def _message(
    request: Request, backend: Backend, status: int, heading: Markup, paragraphs: Sequence[Markup]
) -> Response:
    return _rendered(request, backend, "message.html", status, heading=heading, paragraphs=paragraphs)


def _page(visit: Visit, template: str, status: int = 200, **facts: Any) -> Response:
    if visit.session is None or visit.invitation is None:
        raise HTTPException(404)
    facts = {"messages": (), "chosen": None, "wrong": (), **facts}
    return _rendered(
        visit.request, visit.backend, template, status,
        creator=visit.invitation.creator, expires=visit.invitation.expires,
        form_token=visit.backend.keys.form_token(visit.session), **facts,
    )  # fmt: skip


def _rendered(request: Request, backend: Backend, template: str, status: int, **facts: Any) -> HTMLResponse:
    depth = route_path(request).count("/") - 1
    site = backend.site
    contact = site.policy.site.contact.removeprefix("mailto:")
    content = _templates().get_template(template).render(
        {"creator": "", "here": "", **facts}, say=backend.say(), base="../" * depth, site=site.name, contact=contact,
        version=__version__,
    )  # fmt: skip
    # HTML has no NUL (WHATWG HTML, 13.2.5).
    return HTMLResponse(content.replace("\0", "").encode("utf-8", "replace"), status)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: text(f"creators/templates/{name}")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(day=_day, minute=_minute, answer=_answer)
    return environment


def _day(moment: date | datetime) -> Markup:
    shown = moment.strftime("%Y-%m-%d")
    return Markup(f"<time>{shown}</time>")


def _minute(moment: datetime) -> Markup:
    return Markup(moment.strftime('<time datetime="%Y-%m-%dT%H:%MZ">%Y-%m-%d %H:%M</time>'))


def _answer(action: Action) -> Action:
    return Action.ALLOW if action is Action.LOG else action
