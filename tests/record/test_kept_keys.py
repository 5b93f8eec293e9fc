"""The keys with which operators sign requests are kept beside the events that they have proved."""

import json
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from noai_guard.cli import main
from noai_guard.core.identity.signing_keys import read_keys
from noai_guard.outbound import Fetched
from noai_guard.record.kept_keys import KEPT_KEYS_FOLDER, is_key_set, keep_keys, kept_keys, remove_kept_keys
from noai_guard.stores import key_directory
from tests.middleware.asgi_kit import answering, ask, http
from tests.record.conftest import until
from tests.signing import Signer

ONE, OTHER = Signer(), Signer.rsa()
DIRECTORY = "https://agent.example/.well-known/http-message-signatures-directory"
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
DAY = timedelta(days=1)
AGENT = """\
site: {url: 'https://music.example'}
agents:
  - {name: Signer, operator: Example, usages: [seo], expected_user_agent: [signerbot],
     verify: {web_bot_auth: ['https://agent.example']}}
usages: {seo: yes}
"""


def keys(*signers: Signer, **more: Any) -> dict[str, Any]:
    return read_keys(json.dumps({"keys": [{**signer.jwk, **more} for signer in signers]}).encode())


def names(folder: Path) -> list[str]:
    return sorted(path.name[:10] for path in (folder / KEPT_KEYS_FOLDER).iterdir())


def thumbprints(sets: list[dict[str, Any]]) -> list[list[str]]:
    return [[key["thumbprint"] for key in each["keys"]] for each in sets]


def test_a_key_is_kept_with_its_directory_its_day_and_its_validity(tmp_path: Path) -> None:
    keep_keys(tmp_path, DIRECTORY, keys(ONE, nbf=NOW.timestamp()), NOW)
    (kept,) = kept_keys([tmp_path], NOW.date(), NOW.date())
    assert kept == {
        "directory": DIRECTORY,
        "read": "2026-11-20T09:00:00Z",
        "keys": [
            {
                "thumbprint": ONE.public.thumbprint,
                "jwk": ONE.jwk,
                "not_before": "2026-11-20T09:00:00Z",
                "not_after": None,
            }
        ],
    }


def test_what_a_directory_says_is_kept_once_a_day_and_anew_when_it_changes(tmp_path: Path) -> None:
    for moment in (NOW, NOW + timedelta(hours=1), NOW + DAY):
        keep_keys(tmp_path, DIRECTORY, keys(ONE), moment)
    keep_keys(tmp_path, DIRECTORY, keys(ONE, OTHER), NOW + DAY)
    assert names(tmp_path) == ["2026-11-20", "2026-11-21", "2026-11-21"]


def test_a_directory_that_changes_all_the_time_fills_no_disk(tmp_path: Path) -> None:
    for number in range(40):
        keep_keys(tmp_path, DIRECTORY, keys(ONE, nbf=number), NOW)
    keep_keys(tmp_path, "https://quiet.example/keys", keys(OTHER), NOW)
    assert len(names(tmp_path)) == 25


def test_of_a_span_what_was_last_read_before_counts_too(tmp_path: Path) -> None:
    for days, signer in ((0, ONE), (2, OTHER), (5, ONE), (9, OTHER)):
        keep_keys(tmp_path, DIRECTORY, keys(signer), NOW + days * DAY)
    day = NOW.date()
    first, second = ONE.public.thumbprint, OTHER.public.thumbprint
    assert thumbprints(kept_keys([tmp_path], day + 4 * DAY, day + 6 * DAY)) == [[second], [first]]
    assert thumbprints(kept_keys([tmp_path], day + 20 * DAY, day + 30 * DAY)) == [[second]]
    assert kept_keys([tmp_path, tmp_path / "nowhere"], date(2026, 1, 1), date(2026, 2, 1)) == []


def test_what_is_old_is_removed_but_for_the_last_of_each_directory(tmp_path: Path) -> None:
    for days in (0, 1):
        keep_keys(tmp_path, DIRECTORY, keys(ONE), NOW + days * DAY)
    keep_keys(tmp_path, "https://other.example/keys", keys(OTHER), NOW)
    (tmp_path / KEPT_KEYS_FOLDER / "2020-01-01-mine.json").write_text("mine")
    assert [path.name[:10] for path in remove_kept_keys(tmp_path, (NOW + 9 * DAY).date())] == ["2026-11-20"]
    assert names(tmp_path) == ["2020-01-01", "2026-11-20", "2026-11-21"]


def test_a_key_by_the_name_of_another_is_no_evidence(tmp_path: Path) -> None:
    keep_keys(tmp_path, DIRECTORY, keys(ONE), NOW)
    (file,) = (tmp_path / KEPT_KEYS_FOLDER).iterdir()
    data = json.loads(file.read_text())
    data["keys"][0]["jwk"] = Signer().jwk
    for content in (json.dumps(data), "[", "[]", '{"keys": [1], "directory": ""}', '{"keys": 1}'):
        file.write_text(content)
        assert kept_keys([tmp_path], NOW.date(), NOW.date()) == []
    others: list[object] = [None, [], {"keys": [{"jwk": 1}], "directory": ""}, {"keys": [], "directory": 1}]
    for value in others:
        assert not is_key_set(value)


class Signed:
    """A site that keeps events, and a signing agent that came to it."""

    def __init__(self, site: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        published = Fetched(json.dumps({"keys": [ONE.jwk]}).encode(), {"content-type": key_directory.MEDIA_TYPES[0]})
        monkeypatch.setattr("tests.record.conftest.POLICY", AGENT)
        self.site = site(answering(b"x" * 1000))
        self.site.guard.runtime.keys._fetching = lambda address, limits: published

    def come(self) -> None:
        headers = [(b"user-agent", b"signerbot/1.0"), (b"host", b"music.example")]
        headers += ONE.headers("https://music.example/x", time.time(), agent='sig1="https://agent.example"')
        ask(self.site.guard, http("/x", headers=headers))
        self.site.recorder.flush()

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    def packed(self) -> str:
        case, key = str(self.folder / "case.zip"), str(self.folder / "key.pem")
        self.run("evidence", "new-key", key)
        since = f"{datetime.now(UTC) - DAY:%Y-%m-%d}"
        choice = ("--policy", str(self.site.policy), "--operator", "Example", "--since", since)
        self.run("evidence", *choice, "--key", key, "--out", case)
        return self.run("evidence", "verify", case).stdout


def test_the_key_that_signed_a_request_is_named_in_its_event_and_is_in_the_archive(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = Signed(site, tmp_path, monkeypatch)
    signed.come()
    (record,) = signed.site.records()
    thumbprint = ONE.public.thumbprint
    assert (record.identity, record.proof) == ("verified", "signature")
    assert f"the key {thumbprint} of Signer has signed the request" in record.reasons
    until(lambda: (signed.site.events / KEPT_KEYS_FOLDER).is_dir())
    assert "keys of operators that signed requests: 1, all in identity/keys.json" in signed.packed()
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        (kept,) = json.loads(archive.read("identity/keys.json"))
    assert kept["directory"] == DIRECTORY
    assert kept["keys"][0]["jwk"] == ONE.jwk


def test_a_key_that_was_not_kept_is_named_as_missing(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = Signed(site, tmp_path, monkeypatch)
    signed.come()
    folder = signed.site.events / KEPT_KEYS_FOLDER
    until(folder.is_dir)
    until(lambda: any(folder.glob("*.json")))
    for file in folder.iterdir():
        file.unlink()
    assert f"1, not in the archive: {ONE.public.thumbprint}" in signed.packed()


def test_keys_of_the_sites_own_files_are_kept_too(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.jwks.json").write_text(json.dumps({"keys": [OTHER.jwk]}))
    signatures = "signatures: {keys: {https://agent.example: agent.jwks.json}}\n"
    made = site(answering(b""), events="{}\n" + signatures)
    today = datetime.now(UTC).date()
    (kept,) = kept_keys([made.events], today - DAY, today)
    assert thumbprints([kept]) == [[OTHER.public.thumbprint]]


def test_a_folder_that_cannot_be_made_is_said_and_harms_nobody(site: Any) -> None:
    made = site(answering(b""))
    made.events.mkdir(exist_ok=True)
    (made.events / KEPT_KEYS_FOLDER).write_text("a file")
    made.recorder.keep_keys(DIRECTORY, keys(ONE))
    assert made.metric("noai_event_sink_failing", sink=KEPT_KEYS_FOLDER) == 1
    (made.events / KEPT_KEYS_FOLDER).unlink()
    made.recorder.keep_keys(DIRECTORY, keys(ONE))
    assert made.metric("noai_event_sink_failing", sink=KEPT_KEYS_FOLDER) == 0


def test_without_files_of_events_no_key_is_kept(site: Any, tmp_path: Path) -> None:
    made = site(answering(b""), events="{to: [stdout]}")
    made.recorder.keep_keys(DIRECTORY, keys(ONE))
    assert not (made.events / KEPT_KEYS_FOLDER).exists()
