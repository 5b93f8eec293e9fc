"""What a creator sees and does on the pages."""

import csv
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import html

from noai_guard.config import load_catalog, load_policy
from noai_guard.core.guard import Guard
from noai_guard.core.model import Usage
from noai_guard.core.spreadsheet_cells import original_cell
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.requests import COOKIE, HEADERS
from noai_guard.creators.words import TEXTS, Words
from noai_guard.resources import texts
from noai_guard.stores.wish_table import ALL_WORKS
from tests.creators.site import ADA, ADAS_WORK, EVE, EVES_WORK, POLICY, TRAIN, MusicSite, music_site

ROOT = Path(__file__).resolve().parents[2]
ALLOW, DISALLOW, UNSET = Choice.ALLOW, Choice.DISALLOW, Choice.UNSET


def words(page: str) -> str:
    return " ".join(html.fromstring(page).text_content().split())


def test_a_link_becomes_a_session_and_leaves_the_address(site: MusicSite) -> None:
    client = site.client()
    response = client.get("/open", params={"t": site.token(ADA)})
    assert (response.status_code, response.headers["location"]) == (303, "./")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=lax", "Max-Age=43200"):
        assert attribute.lower() in cookie.lower()
    assert "domain" not in cookie.lower()
    page = client.get("/")
    assert page.status_code == 200
    assert ADA in words(page.text)
    assert "Ada's Secret" in words(page.text)


def test_a_link_can_be_opened_again_until_it_expires(site: MusicSite) -> None:
    token = site.token(ADA, days=2)
    for _ in range(2):
        assert site.client().get("/open", params={"t": token}).status_code == 303
    site.clock.forward(days=2)
    assert site.client().get("/open", params={"t": token}).status_code == 403


def test_every_response_has_the_headers_that_keep_it_private(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    for path in ("/", "/open?t=x", "/nowhere", "/style.css", "/api/works", "/work?name=nobody", "/export.json"):
        response = client.get(path)
        for name, value in HEADERS.items():
            assert response.headers.get_list(name) == [value]
    assert "script" not in client.get("/").text.lower()


def test_a_session_ends_after_half_a_day_and_never_after_its_link(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    site.clock.forward(hours=11)
    assert client.get("/").status_code == 200
    site.clock.forward(hours=1)
    response = client.get("/")
    assert response.status_code == 401
    assert "signed out" in words(response.text)
    short = site.client()
    cookie = short.get("/open", params={"t": site.token(ADA, days=1 / 24)}).headers["set-cookie"]
    assert "Max-Age=3600" in cookie


def test_signing_out_forgets_the_session(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    assert client.post("/leave", data=site.form(client)).status_code == 200
    assert client.get("/").status_code == 401


def test_a_choice_that_tightens_holds_at_once(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    response = client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="disallow"))
    assert response.status_code == 303
    assert response.headers["location"] == f"work?name={ADAS_WORK}&saved=now"
    assert site.choices(ADA, ADAS_WORK) == {TRAIN: DISALLOW}
    assert site.choices(ADA, "ada-other") == {}
    assert "It holds from now on" in words(client.get(f"/{response.headers['location']}").text)


def test_a_choice_that_loosens_is_dated_and_can_be_taken_back_until_then(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="disallow"))
    response = client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="allow"))
    assert response.headers["location"].endswith("saved=later")
    day = site.today + timedelta(days=30)
    assert site.choices(ADA, ADAS_WORK) == {TRAIN: DISALLOW}
    assert site.choices(ADA, ADAS_WORK, day - timedelta(days=1)) == {TRAIN: DISALLOW}
    assert site.choices(ADA, ADAS_WORK, day) == {TRAIN: ALLOW}
    # The site refuses training and creators do not decide: the page does not promise what will not be.
    said = f"From {day} you say: Yes. With what the site says today, that means: No"
    for path in (f"/work?name={ADAS_WORK}", "/", "/site"):
        assert said in words(client.get(path).text)
    client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="disallow"))
    assert site.choices(ADA, ADAS_WORK, day) == {TRAIN: DISALLOW}


@pytest.mark.parametrize(
    ("choice", "of_all", "then"), [("allow", "unset", "allow"), ("unset", "allow", "allow"), ("unset", "unset", "deny")]
)
def test_what_a_choice_will_come_to_is_what_the_guard_will_do(
    tmp_path: Path, choice: str, of_all: str, then: str
) -> None:
    policy = f"{POLICY}wishes: sqlite:///wishes.sqlite\ncreators: decide\n"
    with music_site(tmp_path, policy=policy) as site:
        site.table.add([site.row(ADA, "*", Choice(of_all), TRAIN), site.row(ADA, ADAS_WORK, DISALLOW, TRAIN)])
        client = site.client(headers={"Authorization": f"Bearer {site.token(ADA, days=60)}"})
        body = {"work": ADAS_WORK, "wishes": {"train-ai": choice}}
        assert client.put("/api/wishes", json=body).json()["usages"]["train-ai"]["coming"]["then"] == then
        (coming,) = client.get("/api/site").json()["coming"]
        assert coming["then"] == then
        site.clock.forward(days=29)
        assert client.get("/api/wishes", params={"work": ADAS_WORK}).json()["usages"]["train-ai"]["holds"] == "deny"
        site.clock.forward(days=1)
        assert client.get("/api/wishes", params={"work": ADAS_WORK}).json()["usages"]["train-ai"]["holds"] == then


def test_of_very_many_choices_to_come_the_page_shows_the_next(site: MusicSite) -> None:
    later = site.today + timedelta(days=10)
    site.table.add([site.row(ADA, f"work-{number}", ALLOW, TRAIN, since=later) for number in range(130)])
    text = words(site.signed_in(ADA).get("/site").text)
    assert text.count("you say: Yes") == 100
    assert "And 30 more, which are in the export." in text


def test_what_is_saved_unchanged_adds_nothing(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    before = site.table.version()
    assert client.post("/wishes", data=site.form(client)).headers["location"] == "./?saved=nothing"
    assert site.table.version() == before


def test_one_press_says_no_to_every_ai_use_of_all_works(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    (form,) = html.fromstring(client.get("/").text).xpath("//section[@aria-labelledby='refuse-all']//form")
    assert client.post("/wishes", data=dict(form.fields)).headers["location"] == "./?saved=now"
    site.table.add([site.row(ADA, "ada-new")])
    for work in (ADAS_WORK, "ada-other", "ada-new"):
        assert site.choices(ADA, work) == dict.fromkeys(WISHED_USAGES, DISALLOW)
    assert site.choices(EVE, EVES_WORK) == {}
    assert "Say no to every AI use" not in client.get("/").text


def test_a_form_that_is_older_than_the_last_choice_changes_nothing(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    old = site.form(client)
    client.post("/wishes", data=site.form(client, train_ai="disallow"))
    response = client.post("/wishes", data={**old, "usage-ai-search": "disallow"})
    assert response.status_code == 409
    assert "changed meanwhile" in words(response.text)
    assert 'role="alert"' in response.text
    assert site.choices(ADA, ADAS_WORK) == {TRAIN: DISALLOW}
    again = {**old, "seen": "no number"}
    assert client.post("/wishes", data=again).status_code == 409


def test_a_form_with_a_mistake_comes_back_with_a_summary_and_keeps_the_choices(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    data = site.form(client, ADAS_WORK, train_ai="perhaps", ai_search="disallow")
    response = client.post("/wishes", data=data)
    assert response.status_code == 422
    document = html.fromstring(response.text)
    (link,) = document.xpath("//div[@role='alert']//a")
    assert link.get("href") == "#usage-train-ai-allow"
    (target,) = document.xpath(f"//*[@id='{link.get('href')[1:]}']")
    assert target.getparent().getparent().get("class") == "wrong"
    assert document.xpath("//input[@id='usage-ai-search-disallow']/@checked")
    assert site.choices(ADA, ADAS_WORK) == {}


def test_the_page_of_the_site_says_what_it_does_by_default(site: MusicSite) -> None:
    text = words(site.signed_in(ADA).get("/site").text)
    assert "What Example Records does by default" in text
    assert "Training AI" in text
    assert "Neither the site nor you have announced a change" in text


@pytest.mark.parametrize(("decide", "holds"), [(True, "allow"), (False, "deny")])
def test_the_page_shows_what_comes_of_a_choice_as_the_guard_will_do(tmp_path: Path, decide: bool, holds: str) -> None:
    policy = f"{POLICY}wishes: sqlite:///wishes.sqlite\n" + "creators: decide\n" * decide
    with music_site(tmp_path, policy=policy) as site:
        site.table.add([site.row(ADA, ADAS_WORK, ALLOW, TRAIN)])
        client = site.signed_in(ADA)
        said = "Where you have made a choice, yours counts" if decide else "the stricter of both counts"
        assert said in words(client.get("/").text)
        wishes = site.of_api(ADA).get("/api/wishes", params={"work": ADAS_WORK}).json()
        assert wishes["usages"]["train-ai"] == {"choice": "allow", "coming": None, "site": "deny", "holds": holds}
        guard = Guard(load_policy(site.policy_file), load_catalog())
        assert guard.judged(f"/audio/{ADAS_WORK}.mp3", b"GPTBot/1.3").action == holds


def test_a_section_of_the_site_counts_for_the_works_in_it(tmp_path: Path) -> None:
    policy = f"{POLICY}paths: {{/hls/**: {{usages: {{train-ai: yes}}}}, /audio/ada-other.mp3: {{usages: {{ai-search: yes}}}}}}\n"
    with music_site(tmp_path, policy=policy) as site:
        works = {work["work"]: work["usages"] for work in site.of_api(ADA).get("/api/works").json()["works"]}
        # Of the paths of a work, the strictest counts.
        assert works[ADAS_WORK]["train-ai"]["site"] == "deny"
        assert works["ada-other"]["ai-search"]["site"] == "deny"
        assert "Parts of the site may be treated differently" in words(site.signed_in(ADA).get("/site").text)


def test_the_history_shows_every_choice_the_latest_first(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    assert "You have not chosen anything yet" in words(client.get("/history").text)
    client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="disallow"))
    client.post("/wishes", data=site.form(client, ai_search="disallow"))
    entries = [
        " ".join(each.text_content().split())
        for each in html.fromstring(client.get("/history").text).xpath("//ol/li/p")
    ]
    assert entries == ["AI search: No · all works", "Training AI: No · Ada's Secret"]


def test_long_lists_come_in_pages(site: MusicSite) -> None:
    site.table.add([site.row(ADA, f"track-{number:03}") for number in range(130)])
    site.table.add([site.row(ADA, f"track-{number:03}", DISALLOW, TRAIN) for number in range(130)])
    client = site.signed_in(ADA)
    first = client.get("/").text
    assert "track-050" in first
    assert "track-120" not in first
    (more,) = re.findall(r'href="\?after=([^#"]+)#', first)
    assert "track-120" in client.get("/", params={"after": more}).text
    history = client.get("/history").text
    (older,) = re.findall(r'href="history\?before=(\d+)"', history)
    assert "track-005" not in history
    assert "track-005" in client.get("/history", params={"before": older}).text


def test_the_export_holds_everything(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    client.post("/wishes", data=site.form(client, ADAS_WORK, train_ai="disallow"))
    response = client.get("/export.json")
    assert response.headers["content-disposition"] == 'attachment; filename="wishes.json"'
    everything = json.loads(response.text)
    assert everything["creator"] == ADA
    assert {row["work"] for row in everything["history"]} == {ADAS_WORK, "ada-other"}
    assert everything["works"] == site.of_api(ADA).get("/api/works").json()["works"]
    assert [work["usages"]["train-ai"]["choice"] for work in everything["works"]] == ["unset", "disallow"]
    assert everything["history"][-1] == {
        "creator": ADA, "work": ADAS_WORK, "isrc": "DEA012600001", "title": "Ada's Secret", "usage": "train-ai",
        "choice": "disallow", "set_by": ADA, "set_at": "2026-11-29T12:00:00+00:00", "since": "2026-11-29",
    }  # fmt: skip
    assert everything["site"]["default"]["train-ai"] == "deny"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1"])
def test_a_spreadsheet_runs_nothing_of_the_export(site: MusicSite, text: str) -> None:
    site.table.add([site.row(ADA, f"{text}-song", DISALLOW, TRAIN, title=text, set_by=text)])
    response = site.signed_in(ADA).get("/export.csv")
    assert response.headers["content-disposition"] == 'attachment; filename="wishes.csv"'
    rows = list(csv.reader(response.text.splitlines()))
    assert rows[0] == ["creator", "work", "isrc", "title", "usage", "choice", "set_by", "set_at", "since"]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert original_cell(rows[-1][3]) == text


def test_a_page_works_under_any_path_behind_any_proxy(site: MusicSite) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    client = TestClient(Starlette(routes=[Mount("/for/creators", site.app)]), "https://music.example")
    client.get("/for/creators/open", params={"t": site.token(ADA)})
    page = client.get("/for/creators/")
    assert page.status_code == 200
    assert not re.findall(r'(?:href|action)="/', page.text)
    assert client.get("/for/creators/style.css").headers["content-type"].startswith("text/css")
    deep = client.get("/for/creators/a/b/c")
    assert deep.status_code == 404
    assert 'href="../../style.css"' in deep.text


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"' onmouseover='x", "{{ 7*7 }}", "&amp;", "\u202eabc"])
def test_hostile_titles_and_names_stay_text(site: MusicSite, text: str) -> None:
    work = f"w{text}"[:100]
    site.table.add([site.row(ADA, work, title=text), site.row(ADA, work, DISALLOW, TRAIN, title=text, set_by=text)])
    client = site.signed_in(ADA)
    for path in ("/", "/history", "/site", f"/work?{__import__('urllib.parse').parse.urlencode({'name': work})}"):
        response = client.get(path)
        assert response.status_code == 200
        document = html.fromstring(response.text)
        assert not document.xpath("//script | //*[@onmouseover]")
        assert "49" not in re.findall(r">\s*(49)\s*<", response.text)
    assert text in html.fromstring(client.get("/history").text).text_content()


def test_the_sites_own_texts_are_used_and_the_rest_is_marked_as_english(site: MusicSite) -> None:
    say = Words({"lang": "de", "leave": "Abmelden"}, {"train-ai": "KI-Training", "contact": "Kontakt"})
    assert say("leave") == "Abmelden"
    assert say("train-ai") == "KI-Training"
    assert say("nav_works") == '<span lang="en" dir="ltr">My works</span>'
    assert say("you", creator="<b>") == '<span lang="en" dir="ltr">Signed in as &lt;b&gt;</span>'


def test_the_broken_policy_of_a_running_page_leaves_the_last_good_one(site: MusicSite) -> None:
    client = site.signed_in(ADA)
    site.policy_file.write_text("nonsense: [", encoding="utf-8")
    assert client.get("/site").status_code == 200
    site.policy_file.write_text("site: {name: New Name}\n", encoding="utf-8")
    assert "New Name" in client.get("/site").text


def test_every_usage_that_creators_have_a_say_in_has_words() -> None:
    say = Words({}, {})
    for usage in WISHED_USAGES:
        assert say(usage)
        assert say(f"{usage}_what")
    assert Usage.TRAIN_AI in WISHED_USAGES
    assert ALL_WORKS == "*"


def test_every_text_is_used_somewhere() -> None:
    folder = ROOT / "noai_guard" / "creators"
    code = "\n".join(file.read_text(encoding="utf-8") for file in (*folder.glob("*.py"), *folder.glob("templates/*")))
    made_up = ("choice_", "saved_", "nav_", "problem_")
    unused = [
        key for key in texts(TEXTS) if f"'{key}'" not in code and f'"{key}"' not in code and not key.startswith(made_up)
    ]
    assert unused == []
