"""The API does what its description says, whatever is sent to it."""

import json
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from jsonschema import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth

from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.api import description
from noai_guard.creators.application import API, ROUTES
from tests.creators.site import ADA, ADAS_WORK, EVES_WORK, TRAIN, MusicSite

SITE = MusicSite(Path(mkdtemp(prefix="noai-api-")))
TOKEN = SITE.token(ADA)
schema = schemathesis.openapi.from_asgi("/api/openapi.json", SITE.app, config=SchemathesisConfig.from_dict({}))


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The description is tried with more requests than a creator has."""
    monkeypatch.setattr("noai_guard.creators.rate_limits.RateLimit.allows", lambda *arguments: True)


@pytest.mark.thorough
@schema.parametrize()
@settings(max_examples=60)
def test_every_response_is_as_described(case: schemathesis.Case) -> None:
    # Without the check that asks without a token, as the next test asks with every kind of wrong one.
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=[ignored_auth])


@pytest.mark.thorough
@schema.parametrize()
@settings(max_examples=10)
def test_without_a_token_every_response_is_401(case: schemathesis.Case) -> None:
    if case.operation.label != "GET /api/openapi.json":
        assert case.call(headers={"Authorization": "Bearer x"}).status_code in (401, 405, 413, 415)


def test_the_description_names_every_route_of_the_api_and_no_other() -> None:
    described = {(path, method.upper()) for path, operations in description()["paths"].items() for method in operations}
    assert described == {(each.path, each.method) for each in ROUTES if each.path.startswith(API) and not each.public}


def test_the_description_is_open_api_3_1_with_the_words_of_the_program(site: MusicSite) -> None:
    document = site.client().get("/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    assert schemas["Usage"]["enum"] == list(WISHED_USAGES)
    assert schemas["Choice"]["enum"] == list(Choice)
    for name in schemas:
        Draft202012Validator.check_schema(schemas[name])


def test_a_change_over_the_api_is_dated_as_on_the_page(site: MusicSite) -> None:
    client = site.of_api(ADA)
    changed = client.put("/api/wishes", json={"work": ADAS_WORK, "wishes": {"train-ai": "disallow"}}).json()
    assert changed["added"] == 1
    assert site.choices(ADA, ADAS_WORK) == {TRAIN: Choice.DISALLOW}
    changed = client.put("/api/wishes", json={"work": ADAS_WORK, "wishes": {"train-ai": "allow"}}).json()
    day = site.today + timedelta(days=30)
    expected = {
        "choice": "disallow", "coming": {"choice": "allow", "since": str(day), "then": "deny"}, "site": "deny", "holds": "deny",
    }  # fmt: skip
    assert changed["usages"]["train-ai"] == expected
    coming = client.get("/api/site").json()["coming"]
    assert coming == [{"work": ADAS_WORK, "usage": "train-ai", "choice": "allow", "since": str(day), "then": "deny"}]
    stale = {"work": ADAS_WORK, "wishes": {"train-ai": "unset"}, "seen": changed["seen"] - 1}
    assert client.put("/api/wishes", json=stale).status_code == 409
    assert client.put("/api/wishes", json={**stale, "seen": float(changed["seen"])}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        [], "x", None, {}, {"work": ADAS_WORK}, {"work": ADAS_WORK, "wishes": {}}, {"work": ADAS_WORK, "wishes": []},
        {"work": 1, "wishes": {"train-ai": "allow"}}, {"work": "", "wishes": {"train-ai": "allow"}},
        {"work": "a\0", "wishes": {"train-ai": "allow"}}, {"work": "\ud800", "wishes": {"train-ai": "allow"}},
        {"work": ADAS_WORK, "wishes": {"search": "allow"}}, {"work": ADAS_WORK, "wishes": {"train-ai": True}},
        {"work": ADAS_WORK, "wishes": {"train-ai": []}}, {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}, "x": 1},
        {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}, "seen": "1"},
        {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}, "seen": True},
        {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}, "seen": -1},
        {"work": ADAS_WORK, "wishes": {"train-ai": "allow"}, "seen": 2**70},
    ],
)  # fmt: skip
def test_bodies_of_another_form_are_refused_with_what_they_must_be(site: MusicSite, body: Any) -> None:
    before = site.table.version()
    headers = {"Content-Type": "application/json"}
    response = site.of_api(ADA).put("/api/wishes", content=json.dumps(body), headers=headers)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"]
    assert site.table.version() == before


def test_works_and_history_come_in_pages(site: MusicSite) -> None:
    site.table.add(site.row(ADA, f"track-{number:03}", Choice.DISALLOW, TRAIN) for number in range(150))
    client = site.of_api(ADA)
    first = client.get("/api/works").json()
    rest = client.get("/api/works", params={"after": first["next"]}).json()
    names = [work["work"] for work in (*first["works"], *rest["works"])]
    assert (len(first["works"]), rest["next"], len(names)) == (100, None, 152)
    assert names == sorted(set(names))
    first = client.get("/api/history").json()
    rest = client.get("/api/history", params={"before": first["next"]}).json()
    assert [len(first["history"]), len(rest["history"]), rest["next"]] == [100, 50, None]


def test_a_work_of_another_cannot_be_told_from_none(site: MusicSite) -> None:
    client = site.of_api(ADA)
    for work in (EVES_WORK, "no-such-work"):
        response = client.get("/api/wishes", params={"work": work})
        assert (response.status_code, response.json()) == (404, {"title": "no such work of yours", "status": 404})
        wishes = {"work": work, "wishes": {"train-ai": "allow"}}
        assert client.put("/api/wishes", json=wishes).json() == response.json()
