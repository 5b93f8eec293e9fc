"""What the site will change, by its ledger, and the notice that a milder wish owes."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.core.model import Action
from noai_guard.core.wishes import Choice
from noai_guard.middleware.runtime import GuardRuntime
from tests.creators.site import ADA, ADAS_WORK, POLICY, TRAIN, Clock, MusicSite, music_site
from tests.servers import require


def published(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "noai_guard", "ledger", *arguments, "--author", "Ines", "--policy", "noai.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def with_ledger(tmp_path: Path) -> Path:
    require("cryptography")
    file = tmp_path / "noai.yaml"
    file.write_text(POLICY, encoding="utf-8")
    published(tmp_path, "init")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("notice: 30", "notice: 60") + "usages: {train-ai: yes}\n", encoding="utf-8")
    published(tmp_path, "publish")
    return tmp_path


def test_the_page_shows_what_the_ledger_has_announced_and_when(with_ledger: Path) -> None:
    text = (with_ledger / "noai.yaml").read_text(encoding="utf-8")
    with music_site(with_ledger, policy=text, clock=Clock(datetime.now(UTC))) as site:
        page = site.signed_in(ADA).get("/site").text
        assert "The site has announced" in page
        announced = site.of_api(ADA).get("/api/site").json()["announced"]
        assert len(announced) == 1
        assert announced[0]["effective"][:10] in page
        assert any("train" in sentence for sentence in announced[0]["changes"])
        site.clock.forward(days=100)
        assert site.of_api(ADA).get("/api/site").json()["announced"] == []


def test_what_the_site_does_is_what_it_still_promises_until_the_announced_day(with_ledger: Path) -> None:
    text = (with_ledger / "noai.yaml").read_text(encoding="utf-8")
    with music_site(with_ledger, policy=text, clock=Clock(datetime.now(UTC))) as site:
        client = site.client(headers={"Authorization": f"Bearer {site.token(ADA, days=200)}"})
        guard = GuardRuntime(with_ledger / "noai.yaml", registry=CollectorRegistry()).compiled.guard.table
        for day, expected in ((0, "deny"), (100, "allow")):
            site.clock.forward(days=day)
            assert client.get("/api/site").json()["default"]["train-ai"] == expected
            facts = client.get("/api/wishes", params={"work": ADAS_WORK}).json()["usages"]["train-ai"]
            assert (facts["site"], facts["holds"]) == (expected, expected)
            if day == 0:
                section = guard.path_classes[f"/audio/{ADAS_WORK}.mp3"].path_policy
                assert section.usages[TRAIN] is Action.DENY


def test_a_ledger_that_is_published_while_the_page_is_served_counts_at_once(with_ledger: Path) -> None:
    text = (with_ledger / "noai.yaml").read_text(encoding="utf-8")
    with music_site(with_ledger, policy=text, clock=Clock(datetime.now(UTC))) as site:
        client = site.of_api(ADA)
        (announced,) = client.get("/api/site").json()["announced"]
        site.policy_file.write_text(text.replace("usages: {train-ai: yes}", "usages: {train-ai: yes, ai-input: yes}"))
        published(with_ledger, "publish")
        site.clock.now = datetime.now(UTC)
        facts = client.get("/api/site").json()
        sentences = [sentence for each in facts["announced"] for sentence in each["changes"]]
        assert sentences == [*announced["changes"], "ai-input: refused -> allowed"]
        assert facts["default"]["ai-input"] == "deny"


def test_a_milder_wish_waits_as_long_as_a_looser_policy(with_ledger: Path) -> None:
    text = (with_ledger / "noai.yaml").read_text(encoding="utf-8")
    assert "notice: 60" in text
    with music_site(with_ledger, policy=text) as site:
        client = site.signed_in(ADA)
        client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="allow"))
        days = [site.today + timedelta(days=days) for days in (59, 60)]
        assert [site.choices(ADA, ADAS_WORK, day) for day in days] == [{}, {TRAIN: Choice.ALLOW}]
        assert "60 days later" in client.get("/").text


def test_a_ledger_that_cannot_be_read_is_said(site: MusicSite, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    with music_site(tmp_path / "broken", options={"ledger": tmp_path / "none"}) as broken:
        assert "cannot be read at present" in broken.signed_in(ADA).get("/site").text
        assert broken.of_api(ADA).get("/api/site").json()["announced"] is None
    assert "has announced" not in site.signed_in(ADA).get("/site").text
