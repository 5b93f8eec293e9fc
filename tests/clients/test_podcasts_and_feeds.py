"""A podcast app, a feed reader and a feed library find every episode."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.programs import run
from tests.clients.site import FEED, PlainSite, Site
from tests.servers import require


def episodes(plain: PlainSite) -> list[tuple[str, str]]:
    """Title and address of the recording, as in the feed of the site without a guard."""
    items = ElementTree.fromstring(plain.body(FEED)).iter("item")
    return [(str(item.findtext("title")), next(item.iter("enclosure")).attrib["url"]) for item in items]


@pytest.mark.client("gPodder")
def test_gpodder_subscribes_lists_and_downloads_every_episode(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    run(tmp_path, "gpo", "subscribe", site.url + FEED)
    listed = run(tmp_path, "gpo", "episodes")
    assert [title for title, _ in episodes(plain) if title not in listed] == []
    assert f"{len(episodes(plain))} episodes downloaded" in run(tmp_path, "gpo", "download")
    for _, address in episodes(plain):
        (file,) = (tmp_path / "gPodder" / "Downloads").rglob(address.rpartition("/")[2])
        assert file.read_bytes() == plain.body(address.removeprefix(site.url))


@pytest.mark.client("Newsboat")
def test_newsboat_shows_every_article_with_its_recording(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(site.url + FEED + "\n")
    said = run(tmp_path, "newsboat", "-u", "urls", "-c", "cache.db", "-C", "/dev/null", "-x", "reload", "print-unread")
    assert said.strip() == f"{len(episodes(plain))} unread articles"
    with closing(sqlite3.connect(tmp_path / "cache.db")) as cache:
        shown = cache.execute("select title, enclosure_url from rss_item").fetchall()
    assert sorted(shown) == sorted(episodes(plain))


@pytest.mark.client("feedparser (Python)")
def test_feedparser_reads_every_episode(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    require("feedparser")
    script = """
import feedparser, json, sys
feed = feedparser.parse(sys.argv[1])
assert feed.status == 200 and not feed.bozo
print(json.dumps([[entry.title, entry.enclosures[0].href] for entry in feed.entries]))"""
    read = json.loads(run(tmp_path, sys.executable, "-c", script, site.url + FEED))
    assert [tuple(episode) for episode in read] == episodes(plain)
