"""Links, cookies and forms cannot be made up, changed or used for something else; and nobody may ask without end."""

import base64
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.creators import account
from noai_guard.creators.keys import ENVIRONMENT, Keys, KeysInvalid, add_key, read_keys
from noai_guard.creators.rate_limits import MAX_CALLERS, RateLimit
from noai_guard.creators.requests import COOKIE
from tests.creators.site import ADA, ADAS_WORK, EVE, NOW, MusicSite, form_fields, music_site

KEYS = Keys(["k" * 43])


def test_every_change_of_a_token_makes_it_none(site: MusicSite) -> None:
    token = site.token(ADA)
    assert KEYS.read_link(token, NOW) is not None
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        changed = token[:position] + other + token[position + 1 :]
        read = KEYS.read_link(changed, NOW)
        # The last digit of base64 has bits that say nothing.
        assert read is None or (read == KEYS.read_link(token, NOW) and position == len(token) - 1)
    for cut in range(1, len(token)):
        assert KEYS.read_link(token[:cut], NOW) is None


@given(st.one_of(st.text(max_size=600), st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_.", max_size=100)))
def test_no_text_is_a_token_or_makes_a_fault(text: str) -> None:
    assert KEYS.read_link(text, NOW) is None
    assert KEYS.read_session(text, NOW) is None


def test_a_compressed_token_that_nobody_signed_is_not_unpacked() -> None:
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" * 10_000_000))[:400].decode()
    assert KEYS.read_link(f".{bomb}.x", NOW) is None


def test_a_token_is_good_for_one_purpose_alone(site: MusicSite) -> None:
    invitation = site.invitation(ADA)
    link = site.keys.link_token(invitation)
    cookie, _ = site.keys.new_session(invitation, NOW)
    session = site.keys.read_session(cookie, NOW)
    assert session is not None
    form = site.keys.form_token(session)
    assert site.keys.read_session(link, NOW) is None
    assert site.keys.read_link(cookie, NOW) is None
    assert site.keys.read_link(form, NOW) is None
    assert not site.keys.is_form_of(link, session)
    assert site.keys.is_form_of(form, session)
    client = site.client(headers={"Authorization": f"Bearer {cookie}"})
    assert client.get("/api/works").status_code == 401
    assert site.client(cookies={COOKIE: link}).get("/").status_code == 401


def test_a_token_of_another_database_opens_nothing_that_has_the_same_number(site: MusicSite, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with music_site(tmp_path / "other") as other:
        assert other.invitation(EVE).id == 1
        token = other.token(EVE)
    assert [site.invitation(ADA).id for _ in range(2)] == [1, 2]
    assert site.client().get("/open", params={"t": token}).status_code == 403
    assert site.client(headers={"Authorization": f"Bearer {token}"}).get("/api/works").status_code == 401


def test_links_of_an_old_key_work_until_it_is_taken_away(site: MusicSite) -> None:
    invitation = site.invitation(ADA)
    old, both, new = Keys(["o" * 43]), Keys(["n" * 43, "o" * 43]), Keys(["n" * 43])
    assert both.read_link(old.link_token(invitation), NOW)
    assert new.read_link(both.link_token(invitation), NOW)
    assert new.read_link(old.link_token(invitation), NOW) is None


def test_a_key_file_is_made_for_its_owner_alone_and_grows_at_the_top(tmp_path: Path) -> None:
    file = tmp_path / "creators.key"
    assert add_key(file) == 1
    first = file.read_text().split()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert add_key(file) == 2
    assert file.read_text().split()[1:] == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(set(file.read_text().split())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["creators.key"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "creators.key"
    add_key(file)
    file.chmod(0o640)
    with pytest.raises(KeysInvalid, match="chmod 600"):
        read_keys(file, {})
    with pytest.raises(KeysInvalid, match="chmod 600"):
        add_key(file)


def test_bad_keys_are_refused_with_a_sentence_that_holds_none_of_them(tmp_path: Path) -> None:
    file = tmp_path / "creators.key"
    for content in (b"", b"sesame\n", b"\xff" * 64, b"sesame-" * 10 + b"\nsesame", (b"k" * 40 + b"\n") * 11):
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(KeysInvalid, match="noai-guard creators key") as invalid:
            read_keys(file, {})
        assert "sesame" not in str(invalid.value)
    with pytest.raises(KeysInvalid, match="is not there"):
        read_keys(tmp_path / "none", {})
    with pytest.raises(KeysInvalid, match="cannot be read"):
        read_keys(tmp_path, {})
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeysInvalid, match="cannot be read"):
        read_keys(tmp_path / "fifo", {})


def test_keys_in_the_environment_come_before_a_file(tmp_path: Path, site: MusicSite) -> None:
    keys = read_keys(tmp_path / "none", {ENVIRONMENT: f"{'n' * 43} {'k' * 43}"})
    assert keys.read_link(site.token(ADA), NOW)


def test_who_tries_links_is_slowed_down_and_a_good_link_still_works(site: MusicSite) -> None:
    client = site.client()
    statuses = [client.get("/open", params={"t": f"guess-{number}"}).status_code for number in range(25)]
    assert statuses == [403] * 20 + [429] * 5
    response = client.get("/open", params={"t": "guess"})
    assert response.headers["retry-after"] == "60"
    assert client.get("/open", params={"t": site.token(ADA)}).status_code == 303
    site.clock.forward(seconds=60)
    assert client.get("/open", params={"t": "guess"}).status_code == 403


def test_who_tries_tokens_over_the_api_is_slowed_down(site: MusicSite) -> None:
    client = site.client(headers={"Authorization": "Bearer guess"})
    assert [client.get("/api/works").status_code for _ in range(22)] == [401] * 20 + [429] * 2


def test_a_creator_may_ask_often_but_not_without_end_and_does_not_slow_another_down(site: MusicSite) -> None:
    client = site.of_api(ADA)
    statuses = [client.get("/api/visits").status_code for _ in range(305)]
    assert statuses == [200] * 300 + [429] * 5
    assert client.get("/api/visits").headers["retry-after"] == "60"
    assert site.of_api(EVE).get("/api/visits").status_code == 200


def test_changes_are_limited_more_closely(site: MusicSite) -> None:
    client = site.of_api(ADA)
    body = {"work": "*", "wishes": {"train-ai": "disallow"}}
    statuses = [client.put("/api/wishes", json=body).status_code for _ in range(62)]
    assert statuses == [200] * 60 + [429] * 2


def test_a_work_that_is_changed_to_and_fro_all_day_takes_no_more_than_a_no(
    site: MusicSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "CHOICES_A_DAY", 10)
    client = site.of_api(ADA)

    def put(choice: str, work: str = ADAS_WORK) -> int:
        body = {"work": work, "wishes": {"train-ai": choice, "ai-search": choice}}
        return client.put("/api/wishes", json=body).status_code

    while (status := put("disallow")) == (last := put("unset")) == 200:
        pass
    assert (status, last) == (200, 429)
    assert len([row for row in site.table.about(ADA, [ADAS_WORK]) if row.usage]) <= 12
    assert (put("allow"), put("disallow"), put("allow", "ada-other")) == (429, 200, 200)
    site.clock.forward(hours=25)
    assert put("allow") == 200


def test_a_form_that_comes_too_often_is_shown_again_with_what_is_still_taken(
    site: MusicSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "CHOICES_A_DAY", 0)
    client = site.signed_in(ADA)
    response = client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="allow", ai_input="disallow"))
    assert response.status_code == 429
    assert "come back tomorrow" in response.text
    assert form_fields(response.text, ADAS_WORK)["usage-ai-input"] == "disallow"
    assert site.choices(ADA, ADAS_WORK) == {}
    assert client.post("/wishes", data=site.form(client, ADAS_WORK, ai_input="disallow")).status_code == 303


def test_a_rate_limit_forgets_those_who_have_been_away_longest() -> None:
    limit = RateLimit(1, 60)
    assert limit.allows("first", 0)
    assert not limit.allows("first", 59)
    assert limit.allows("first", 60)
    for number in range(MAX_CALLERS):
        limit.allows(number, 60)
    assert limit.allows("first", 61)
    assert limit.allows("backwards", 100)
    assert limit.allows("backwards", 50)


@pytest.mark.parametrize("name", ["", "*", "x" * 201, "a\0b", "a\nb", "\u2028", "..", "a" * 5000])
def test_names_that_no_work_has_find_nothing(site: MusicSite, name: str) -> None:
    assert site.signed_in(ADA).get("/work", params={"name": name}).status_code == 404


@pytest.mark.parametrize(
    "query", ["before=x", "before=-1", "before=99999999999999999999999", "before=²", "after=%00", "t=%ff"]
)
def test_odd_queries_are_no_faults(site: MusicSite, query: str) -> None:
    client, api = site.signed_in(ADA), site.of_api(ADA)
    for path in ("/", "/history", "/open", "/work"):
        assert client.get(f"{path}?{query}").status_code in (200, 403, 404)
    for path in ("/api/works", "/api/history", "/api/wishes"):
        assert api.get(f"{path}?{query}").status_code in (200, 422)


@pytest.mark.parametrize(
    "origin", ["http://[", "http://]", "[", "//", "https://music.example:x", "https://music.example\\@x"]
)
def test_a_form_from_an_odd_origin_is_not_theirs(site: MusicSite, origin: str) -> None:
    client = site.signed_in(ADA)
    response = client.post("/wishes", data=site.form(client), headers={"Origin": origin})
    assert response.status_code == 403


@pytest.mark.parametrize("seen", ["9" * 19, "9" * 20, "9" * 5000, "\u00b2", "-1", ""])
def test_a_form_that_names_no_choice_of_ours_is_an_old_one(site: MusicSite, seen: str) -> None:
    client = site.signed_in(ADA)
    assert client.post("/wishes", data={**site.form(client), "seen": seen}).status_code == 409


def test_a_database_that_is_gone_is_said_and_logged_once(site: MusicSite, caplog: pytest.LogCaptureFixture) -> None:
    client, api = site.signed_in(ADA), site.of_api(ADA)
    backend = site.app.state.backend
    file = Path(site.address.removeprefix("sqlite:///"))
    backend.table.database.close()
    hidden = file.rename(file.with_suffix(".away"))
    file.mkdir()
    for response in (client.get("/"), client.get("/history"), api.get("/api/works")):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "60"
        assert str(file) not in response.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    file.rmdir()
    hidden.rename(file)
    assert client.get("/").status_code == 200
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_fault_of_ours_shows_nothing_of_it(site: MusicSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise ZeroDivisionError("sesame")

    monkeypatch.setattr("noai_guard.creators.account.Account.works", fails)
    for client, path in ((site.signed_in(ADA), "/"), (site.of_api(ADA), "/api/works")):
        client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
        response = client.get(path)
        assert response.status_code == 500
        assert "sesame" not in response.text
        assert response.headers["referrer-policy"] == "no-referrer"


def test_an_expired_invitation_ends_a_session_that_would_go_on(site: MusicSite) -> None:
    client = site.client()
    client.get("/open", params={"t": site.token(ADA, days=0.25)})
    site.clock.now += timedelta(hours=5.9)
    assert client.get("/").status_code == 200
    site.clock.now += timedelta(hours=0.2)
    assert client.get("/").status_code == 401
