"""Who came this month, and what was refused in a creator's name, counted from event files."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import html

from noai_guard.core.model import Action, Identity, Usage
from noai_guard.core.policy import WISH
from noai_guard.creators import visits
from noai_guard.creators.visits import EventVisits, Figures, Month, Visitor
from noai_guard.record.event_record import EventRecord, encode
from tests.creators.site import ADA, ADAS_WORK, EVE, EVES_WORK, NOW, POLICY, MusicSite, music_site
from tests.stores.shared_servers import wait_for

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
GPTBOT = Visitor("GPTBot", "OpenAI", "train-ai")


def event(work: str, action: Action = Action.DENY, **facts: object) -> bytes:
    facts = {"claim": "GPTBot", "operator": "OpenAI", "usage": Usage.TRAIN_AI, "time": NOW, **facts}
    return encode(EventRecord(work=work, action=action, **facts)) + b"\n"  # type: ignore[arg-type]


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def counted(folder: Path, works: set[str], now: datetime = NOW) -> Month:
    source = EventVisits(folder)
    wait_for(lambda: source.month(works, now) is not None)
    month = source.month(works, now)
    assert month is not None
    return month


def test_requests_are_counted_by_visitor_for_the_works_that_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        event("song") + event("song", Action.ALLOW, identity=Identity.VERIFIED) + event("other") + event("", path="/x")
    )
    (tmp_path / "b.jsonl").write_bytes(event("song", enforced=False) + event("song", claim="", operator="", usage=None))
    month = counted(tmp_path, {"song"})
    assert month.visitors == {GPTBOT: Figures(3, 1, 1), Visitor("", "", ""): Figures(1, 1, 0)}
    assert month.total == Figures(4, 2, 1)
    assert (month.since, month.until, month.complete) == (BEGIN, NOW, True)
    assert counted(tmp_path, {"unknown"}).visitors == {}


def test_a_work_is_counted_however_the_path_spelled_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(event("Caf\u00e9") + event("cafe\u0301") + event("CAF\u00c9") + event("cafe"))
    assert counted(tmp_path, {"Caf\u00e9"}).total.requests == 3


def test_only_this_month_counts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        event("song", time=BEGIN - timedelta(milliseconds=1)) + event("song", time=BEGIN) + event("song")
    )
    old = tmp_path / "old.jsonl"
    old.write_bytes(event("song"))
    os.utime(old, (BEGIN.timestamp() - 1,) * 2)
    assert counted(tmp_path, {"song"}).total.requests == 2
    assert counted(tmp_path, {"song"}, NOW.replace(month=12)).visitors == {}


def test_damaged_lines_are_passed_over_and_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n\xff\n" + event("song") + event("song")[:40])
    assert counted(tmp_path, {"song"}).total.requests == 1
    assert counted(tmp_path / "none", {"song"}).visitors == {}


def test_files_are_looked_at_again_after_a_while_and_only_what_changed_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = visits._counted

    def noting(path: Path, begin: datetime) -> visits._Counts:
        read.append(path.name)
        return reading(path, begin)

    monkeypatch.setattr(visits, "_counted", noting)
    (tmp_path / "a.jsonl").write_bytes(event("song"))
    (tmp_path / "b.jsonl").write_bytes(event("song"))
    seconds = Seconds()
    source = EventVisits(tmp_path, seconds)
    wait_for(lambda: source.month({"song"}, NOW) is not None)
    with (tmp_path / "b.jsonl").open("ab") as file:
        file.write(event("song"))
    seconds.now = visits.REFRESH_SECONDS - 1
    month = source.month({"song"}, NOW)
    assert month is not None
    assert month.total.requests == 2
    seconds.now = visits.REFRESH_SECONDS
    wait_for(lambda: (found := source.month({"song"}, NOW)) and found.total.requests == 3)
    assert sorted(read) == ["a.jsonl", "b.jsonl", "b.jsonl"]


def test_of_very_many_visitors_only_so_many_are_kept_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits, "MAX_GROUPS", 3)
    (tmp_path / "a.jsonl").write_bytes(b"".join(event("song", claim=f"bot-{number}") for number in range(5)))
    month = counted(tmp_path, {"song"})
    assert (len(month.visitors), month.complete) == (3, False)


def test_the_page_shows_a_creator_what_came_for_her_works_alone(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(
        event(ADAS_WORK) * 5
        + event(ADAS_WORK, rule=WISH) * 2
        + event(ADAS_WORK, Action.ALLOW, claim="Googlebot", operator="Google", usage=Usage.SEARCH, rule="search")
        + event(EVES_WORK, claim="<b>Eve's bot</b>") * 5
    )
    with music_site(tmp_path, options={"visits": folder}) as site:
        clients = {name: site.signed_in(name) for name in (ADA, EVE)}
        wait_for(lambda: "Requests for your works" in clients[ADA].get("/visits").text)
        pages = {name: html.fromstring(client.get("/visits").text) for name, client in clients.items()}
        rows = {
            name: [" ".join(row.text_content().split()) for row in page.xpath("//ul[@class='works']/li")]
            for name, page in pages.items()
        }
        assert rows == {
            ADA: [
                "GPTBot · OpenAI · Training AI Requests7 Refused7 Refused by a wish2 Proven0",
                "Googlebot · Google · Search engines Requests1 Refused0 Proven0",
            ],
            EVE: ["<b>Eve's bot</b> · OpenAI · Training AI Requests5 Refused5 Proven0"],
        }
        lead = " ".join(pages[ADA].xpath("string(//p[@class='lead'])").split())
        assert lead.endswith("(UTC): 8. Refused: 7. Of these, because a creator said no: 2.")
        assert "because a creator" not in pages[EVE].text_content()
        found = site.of_api(ADA).get("/api/visits").json()
        visitor = {
            "name": "GPTBot",
            "operator": "OpenAI",
            "usage": "train-ai",
            "requests": 7,
            "refused": 7,
            "proven": 0,
            "wished": 2,
        }
        assert found["month"]["visitors"][0] == visitor
        assert site.of_api(ADA).get("/api/export").json()["visits"] == found["month"]


def test_the_event_files_of_the_policy_are_read_unless_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "noai-events").mkdir()
    (tmp_path / "noai-events" / "a.jsonl").write_bytes(event(ADAS_WORK))
    with music_site(tmp_path, policy=f"{POLICY}events: {{}}\n") as site:
        client = site.signed_in(ADA)
        wait_for(lambda: "GPTBot" in client.get("/visits").text)
    (tmp_path / "syslog").mkdir()
    with music_site(tmp_path / "syslog", policy=f"{POLICY}events: {{to: syslog:/dev/log}}\n") as site:
        assert "does not keep a record" in site.signed_in(ADA).get("/visits").text


def test_without_a_record_the_page_says_so(site: MusicSite) -> None:
    assert "does not keep a record" in site.signed_in(ADA).get("/visits").text
    assert site.of_api(ADA).get("/api/visits").json() == {"recorded": False, "month": None}


def test_a_site_may_tell_by_itself_who_came(tmp_path: Path) -> None:
    class Own:
        def month(self, works: object, now: datetime) -> Month | None:
            return Month(BEGIN, now, {GPTBOT: Figures(9, 8, 7)}, complete=False)

    with music_site(tmp_path, options={"visits": Own()}) as site:
        page = site.signed_in(ADA).get("/visits").text
        assert "More came than could be told apart" in page
        assert "GPTBot" in page
