"""Several windows, processes and databases: no choice is lost, and none comes back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from noai_guard.core.wishes import WISHED_USAGES, Choice
from tests.creators.site import ADA, ADAS_WORK, TRAIN, MusicSite, music_site
from tests.stores.databases import postgresql


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgresql() as server:
        yield server.database("wishes")


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MusicSite]:
    options = {} if request.param == "sqlite" else {"address": request.getfixturevalue("address")}
    with music_site(tmp_path, **options) as site:
        yield site


def test_of_two_windows_with_the_same_form_one_saves_and_the_other_looks_again(shared: MusicSite) -> None:
    clients = [shared.signed_in(ADA) for _ in range(4)]
    forms = [shared.form(client, ADAS_WORK) for client in clients]
    for form, usage in zip(forms, WISHED_USAGES, strict=False):
        form[f"usage-{usage}"] = "disallow"
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(client.post, "/wishes", data=form) for client, form in zip(clients, forms, strict=True)]
        statuses = sorted(each.result().status_code for each in sent)
    assert statuses == [303, 409, 409, 409]
    assert list(shared.choices(ADA, ADAS_WORK).values()) == [Choice.DISALLOW]


def test_changes_of_different_uses_over_the_api_are_all_kept(shared: MusicSite) -> None:
    client = shared.of_api(ADA)
    bodies = [{"work": "ada-other", "wishes": {usage: "disallow"}} for usage in WISHED_USAGES]
    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda body: client.put("/api/wishes", json=body), bodies))
    assert {response.status_code for response in responses} == {200}
    assert shared.choices(ADA, "ada-other") == dict.fromkeys(WISHED_USAGES, Choice.DISALLOW)


def test_a_dated_choice_comes_into_force_on_its_day_whatever_the_database(shared: MusicSite) -> None:
    client = shared.of_api(ADA)
    client.put("/api/wishes", json={"work": "*", "wishes": {"train-ai": "allow"}})
    work = "ada-other" if TRAIN not in shared.choices(ADA, "ada-other") else ADAS_WORK
    before = shared.choices(ADA, work).get(TRAIN)
    assert before is not Choice.ALLOW
    assert shared.table.coming(ADA, shared.today)
    assert shared.table.coming(ADA, shared.today + timedelta(days=30)) == []
