"""Programs that follow links: what robots.txt stops, what only the guard stops, and what an honest one gets."""

import json
import os
import sys
from pathlib import Path

import pytest
from protego import Protego

from tests.clients.programs import run
from tests.clients.site import AUDIO, COVER, PlainSite, Site, bodies_differ
from tests.servers import require

SPIDER = Path(__file__).with_name("spider.py")
DOWNLOADER = Path(__file__).with_name("img2dataset_download.py")


def disallowed(site: Site, token: str) -> list[str]:
    """What was asked for although robots.txt disallows it for that product token."""
    robots = Protego.parse(site.robots)
    return [each.target for each in site.asked_beside_documents() if not robots.can_fetch(each.target, token)]


def test_the_sites_own_rules_are_still_in_robots_txt(site: Site) -> None:
    robots = Protego.parse(site.robots)
    assert not robots.can_fetch("/admin/", "Wget")
    assert not robots.can_fetch(AUDIO, "AhrefsBot")
    assert list(robots.sitemaps) == [f"{site.url}/sitemap.xml"]


@pytest.mark.client("wget --mirror")
def test_wget_mirrors_the_whole_site_as_itself(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    run(tmp_path, "wget", "--quiet", "--mirror", site.url + "/")
    asked = {each.target for each in site.asked_beside_documents()}
    assert asked >= set(plain.targets())
    mirror = tmp_path / f"127.0.0.1:{site.port}"
    pages = [target for target in asked if "?" not in target]
    files = [
        (target, mirror / f"{target}index.html".lstrip("/") if target.endswith("/") else mirror / target[1:])
        for target in pages
    ]
    assert bodies_differ(site, plain, files) == []
    assert disallowed(site, "Wget") == []


@pytest.mark.client("wget --mirror, as GPTBot")
def test_wget_that_says_it_is_gptbot_is_stopped_by_the_guard_not_by_robots_txt(site: Site, tmp_path: Path) -> None:
    run(tmp_path, "wget", "--quiet", "--mirror", "--user-agent", "GPTBot/1.3", site.url + "/tracks/", code=8)
    assert site.let_in() == []
    assert not list(tmp_path.rglob("index.html"))


def crawl(home: Path, site: Site, *paths: str, **settings: object) -> set[str]:
    """Runs Scrapy from these paths on; returns the targets of the pages it kept, declarations left out."""
    require("scrapy")
    run(home, sys.executable, SPIDER, json.dumps(settings), *(site.url + path for path in paths))
    kept = json.loads((home / "kept.json").read_text())
    return {page["url"].removeprefix(site.url) for page in kept} - set(site.front.documents)


@pytest.mark.one_door
@pytest.mark.client("Scrapy")
def test_scrapy_as_itself_is_refused_everywhere(site: Site, tmp_path: Path) -> None:
    assert crawl(tmp_path, site, "/", "/tracks/", "/press/") == set()
    assert site.let_in() == []


@pytest.mark.one_door
@pytest.mark.client("Scrapy, obeying as GPTBot")
def test_scrapy_that_obeys_robots_txt_as_gptbot_fetches_nothing(site: Site, tmp_path: Path) -> None:
    assert crawl(tmp_path, site, "/", ROBOTSTXT_OBEY=True, USER_AGENT="GPTBot/1.3") == set()
    assert site.asked_beside_documents() == []


@pytest.mark.one_door
def test_what_scrapy_lets_slip_past_robots_txt_is_refused(site: Site, tmp_path: Path) -> None:
    # Scrapy 2.19.0 checks only the first two of several requests that wait for robots.txt together.
    starts = ("/", "/tracks/", "/artists/", "/podcast/")
    assert crawl(tmp_path, site, *starts, ROBOTSTXT_OBEY=True, USER_AGENT="GPTBot/1.3") == set()
    assert site.let_in() == []


@pytest.mark.one_door
@pytest.mark.client("Scrapy, ignoring as GPTBot")
def test_scrapy_that_ignores_robots_txt_as_gptbot_is_refused_everywhere(site: Site, tmp_path: Path) -> None:
    assert crawl(tmp_path, site, "/", "/press/", USER_AGENT="GPTBot/1.3") == set()
    assert site.let_in() == []


@pytest.mark.one_door
@pytest.mark.client("Scrapy, obeying as PerplexityBot")
def test_scrapy_that_obeys_robots_txt_gets_all_of_the_part_that_is_open_to_it(site: Site, tmp_path: Path) -> None:
    kept = crawl(tmp_path, site, "/press/", ROBOTSTXT_OBEY=True, USER_AGENT="PerplexityBot/1.0")
    assert kept == {"/press/", "/press/one-sheet.txt"}
    assert disallowed(site, "PerplexityBot") == []


@pytest.mark.one_door
@pytest.mark.client("Scrapy, obeying as Googlebot")
def test_scrapy_that_obeys_robots_txt_as_a_search_engine_gets_the_whole_site(
    site: Site, plain: PlainSite, tmp_path: Path
) -> None:
    kept = crawl(tmp_path, site, "/", ROBOTSTXT_OBEY=True, USER_AGENT="Googlebot/2.1")
    assert kept >= set(plain.targets())
    assert disallowed(site, "Googlebot") == []


@pytest.mark.client("HTTrack")
def test_httrack_mirrors_as_itself(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    fast = ("--disable-security-limits", "--max-rate=0", "--connection-per-second=0")
    run(tmp_path, "httrack", "-q", site.url + "/", "-O", "mirror", "--robots=2", *fast)
    mirror = tmp_path / "mirror" / f"127.0.0.1_{site.port}"
    assert (mirror / "audio" / "paper-boats.wav").read_bytes() == plain.body(AUDIO)
    assert disallowed(site, "HTTrack") == []


def keeps_image(home: Path, site: Site, token: str | None, directives: list[str]) -> str:
    """What img2dataset's own downloader says about a cover: the size of the image it keeps, or why it does not."""
    require("img2dataset")
    return run(home, sys.executable, DOWNLOADER, site.url + COVER, json.dumps(token), json.dumps(directives)).strip()


DIRECTIVES = ["noai", "noimageai", "noindex", "noimageindex"]
"""img2dataset's default."""


@pytest.mark.one_door
@pytest.mark.client("img2dataset's downloader")
def test_img2dataset_keeps_no_image_that_says_noai(site: Site, tmp_path: Path) -> None:
    assert keeps_image(tmp_path, site, None, DIRECTIVES) == "Use of image disallowed by X-Robots-Tag directive"


@pytest.mark.one_door
def test_img2dataset_that_ignores_the_header_and_names_nobody_keeps_the_image(
    site: Site, plain: PlainSite, tmp_path: Path
) -> None:
    assert keeps_image(tmp_path, site, None, []) == str(len(plain.body(COVER)))


@pytest.mark.one_door
@pytest.mark.client("img2dataset's downloader, naming itself")
def test_img2dataset_that_names_itself_is_refused(site: Site, tmp_path: Path) -> None:
    assert keeps_image(tmp_path, site, "img2dataset", []) == "HTTP Error 403: Forbidden"


@pytest.mark.one_door
@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("NOAI_FULL") != "1", reason="takes a minute and a half to install; NOAI_FULL=1 runs it"
)
def test_img2dataset_as_a_whole_keeps_no_image_that_says_noai(site: Site, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(site.url + COVER + "\n")
    run(tmp_path, "img2dataset", "--url_list", "urls.txt", "--output_folder", "kept", "--processes_count", "1")
    assert not list((tmp_path / "kept").rglob("*.jpg"))
    assert [each.status for each in site.asked()] == [200]
    (stats,) = (tmp_path / "kept").glob("*_stats.json")
    assert "X-Robots-Tag" in stats.read_text()
