"""Whatever route there is, nobody but a creator gets in, and no creator reads or changes what is another's.

The tests go through the table of routes, so a new route is tested by itself.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.api import description
from noai_guard.creators.application import API, ROUTES, Entry
from noai_guard.creators.requests import COOKIE
from noai_guard.stores.wish_table import ALL_WORKS
from tests.creators.site import ADA, ADAS_WORK, EVE, EVES_WORK, TRAIN, MusicSite

DISALLOW = Choice.DISALLOW
PRIVATE = [entry for entry in ROUTES if not entry.public]
SECRETS = ("Ada", "ada-", "DEA012600001", "Äther", "adas-label")


def name_of(entry: Entry) -> str:
    return f"{entry.method} {entry.path}"


def test_only_these_routes_are_for_everybody() -> None:
    assert {entry.path for entry in ROUTES if entry.public} == {"/open", "/style.css", "/api/openapi.json"}


def test_the_app_has_no_route_that_is_not_in_the_table(site: MusicSite) -> None:
    assert {route.path for route in site.app.routes} == {entry.path for entry in ROUTES}  # type: ignore[attr-defined]


def request(client: TestClient, entry: Entry, data: Mapping[str, str] | None = None, **more: Any) -> Any:
    """Send a request to a route that names what is Ada's wherever a client can name something."""
    adas = {"name": ADAS_WORK, "work": ADAS_WORK, "creator": ADA, "id": "1", "before": "999", "after": "ada-a"}
    if entry.path.startswith(API):
        operation = description()["paths"][entry.path][entry.method.lower()]
        known = {parameter["name"] for parameter in operation.get("parameters", ())}
        adas = {name: value for name, value in adas.items() if name in known}
    if entry.method == "GET":
        return client.get(entry.path, params=adas, **more)
    if entry.path.startswith(API):
        body = {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}}
        return client.request(entry.method, entry.path, params=adas, json=body, **more)
    return client.request(entry.method, entry.path, params=adas, data={**adas, **(data or {})}, **more)


@pytest.fixture
def with_secrets(site: MusicSite) -> MusicSite:
    site.table.add(
        [
            site.row(ADA, ADAS_WORK, DISALLOW, TRAIN, set_by="adas-label", title="Ada's Secret"),
            site.row(EVE, EVES_WORK, DISALLOW, TRAIN, title="Eve's Tune"),
        ]
    )
    return site


@pytest.mark.parametrize("entry", PRIVATE, ids=name_of)
def test_nobody_gets_in_without_a_link(with_secrets: MusicSite, entry: Entry) -> None:
    before = with_secrets.table.version()
    for headers in (
        {}, {"Cookie": f"{COOKIE}="}, {"Cookie": f"{COOKIE}=W10.x"}, {"Authorization": "Bearer x"}, {"Authorization": "Basic QWRhOg=="},
    ):  # fmt: skip
        response = request(with_secrets.client(headers=headers), entry)
        assert response.status_code == 401
        assert not [secret for secret in SECRETS if secret in response.text]
    assert with_secrets.table.version() == before


@pytest.mark.parametrize("entry", PRIVATE, ids=name_of)
def test_a_creator_sees_and_changes_nothing_of_another(with_secrets: MusicSite, entry: Entry) -> None:
    site = with_secrets
    ada_before = list(site.table.rows(ADA))
    invitation = site.invitation(ADA)
    if entry.path.startswith(API):
        response = request(site.of_api(EVE), entry)
    else:
        client = site.signed_in(EVE)
        every = dict.fromkeys((f"usage-{usage}" for usage in WISHED_USAGES), "allow")
        response = request(client, entry, data={**site.form(client), **every, "work": ADAS_WORK})
    assert response.status_code in (200, 404)
    own_words = response.text.replace(ADAS_WORK, "") if response.status_code == 404 else response.text
    assert not [secret for secret in SECRETS if secret in own_words]
    assert list(site.table.rows(ADA)) == ada_before
    assert site.invitations.get(invitation.id) == invitation


@pytest.mark.parametrize("entry", PRIVATE, ids=name_of)
def test_the_same_route_serves_the_creator_herself(with_secrets: MusicSite, entry: Entry) -> None:
    site = with_secrets
    if entry.path.startswith(API):
        response = request(site.of_api(ADA), entry)
        assert response.status_code == 200
    else:
        client = site.signed_in(ADA)
        response = request(client, entry, data=site.form(client, ADAS_WORK))
        assert response.status_code in (200, 303)


@pytest.mark.parametrize("entry", [each for each in PRIVATE if each.method != "GET"], ids=name_of)
def test_another_site_cannot_send_a_form_for_a_creator(with_secrets: MusicSite, entry: Entry) -> None:
    site = with_secrets
    before = site.table.version()
    client = site.signed_in(ADA)
    good = {**site.form(client, ADAS_WORK), "usage-train-ai": "allow"}
    if entry.path.startswith(API):
        # The API takes no cookie, so a browser has nothing to send along.
        assert request(client, entry).status_code == 401
        return
    eves = site.form(site.signed_in(EVE))["form"]
    for form in (
        {**good, "form": ""},
        {**good, "form": eves},
        {**good, "form": good["form"] + "x"},
        {"work": ADAS_WORK},
    ):
        assert client.request(entry.method, entry.path, data=form).status_code == 403
    for headers in (
        {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ):  # fmt: skip
        assert client.request(entry.method, entry.path, data=good, headers=headers).status_code == 403
    assert site.table.version() == before
    headers = {"Origin": "https://music.example", "Sec-Fetch-Site": "same-origin"}
    assert client.request(entry.method, entry.path, data=good, headers=headers).status_code in (200, 303)


@pytest.mark.parametrize("entry", PRIVATE, ids=name_of)
def test_a_revoked_link_ends_every_session_and_every_use_of_its_token_at_once(site: MusicSite, entry: Entry) -> None:
    client = site.of_api(ADA) if entry.path.startswith(API) else site.signed_in(ADA)
    data = {} if entry.path.startswith(API) else site.form(client, ADAS_WORK)
    site.invitations.revoke(ADA, site.clock.now)
    response = request(client, entry, data)
    assert response.status_code == 401


@pytest.mark.parametrize("entry", ROUTES, ids=name_of)
def test_a_method_that_a_route_does_not_have_is_refused(site: MusicSite, entry: Entry) -> None:
    allowed = {each.method for each in ROUTES if each.path == entry.path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed:
        response = site.signed_in(ADA).request(method, entry.path)
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) - {"HEAD"} == allowed


@pytest.mark.parametrize("entry", [each for each in PRIVATE if each.method != "GET"], ids=name_of)
def test_a_body_that_is_too_large_or_of_another_type_is_refused(site: MusicSite, entry: Entry) -> None:
    is_api = entry.path.startswith(API)
    client = site.of_api(ADA) if is_api else site.signed_in(ADA)
    media_type = "application/json" if is_api else "application/x-www-form-urlencoded"
    before = site.table.version()

    def sent(content: Any, **headers: str) -> int:
        return client.request(
            entry.method, entry.path, content=content, headers={"Content-Type": media_type, **headers}
        ).status_code

    assert sent(b"x" * 40_000) == 413
    assert sent(b"x" for _ in range(40_000)) == 413
    for other in ("multipart/form-data; boundary=x", "text/plain", "application/xml", ""):
        assert sent(b"x=1", **{"Content-Type": other}) == 415
    for broken in (
        b"\xff\xfe",
        b"[" * 20_000 if is_api else b"a=%ff",
        b"{" if is_api else b"a=1&" * 60,
        b"" if is_api else b"a=1&a=2",
    ):
        assert sent(broken) in (400, 403)
    assert site.table.version() == before


def test_a_work_that_is_not_theirs_is_as_if_it_were_not_there(site: MusicSite) -> None:
    client = site.signed_in(EVE)
    not_there, anothers = (client.get("/work", params={"name": name}) for name in ("no-such-work", ADAS_WORK))
    assert not_there.status_code == anothers.status_code == 404
    assert not_there.text == anothers.text


def test_a_choice_for_all_works_is_for_the_creators_own(site: MusicSite) -> None:
    client = site.signed_in(EVE)
    assert client.post("/wishes", data=site.form(client, ALL_WORKS, train_ai="disallow")).status_code == 303
    assert site.choices(EVE, EVES_WORK) == {TRAIN: DISALLOW}
    assert site.choices(ADA, ADAS_WORK) == {}
