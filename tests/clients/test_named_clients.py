"""Clients that cannot be run here, by their user agents and headers: apps, previews, search engines, scrapers."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest
from protego import Protego

from examples.music_site.visitors import VISITORS, Line, Visitor
from noai_guard.config import rules_folder
from noai_guard.config.catalogue_schema import read_browsers
from tests.clients.site import AUDIO, FEED, TRACK, PlainSite, Site, fetched

BROWSERS = read_browsers(rules_folder() / "browsers.yaml")

PREVIEWS = {
    "facebookexternalhit": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot": "Twitterbot/1.0",
    "Slackbot-LinkExpanding": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Discordbot": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "WhatsApp": "WhatsApp/2.25.20.80 A",
    "TelegramBot": "TelegramBot (like TwitterBot)",
    "LinkedInBot": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Mastodon": "Mastodon/4.5.2 (http.rb/5.3.1; +https://social.example/) Bot",
}
SEARCH_ENGINES = {
    "Googlebot": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "bingbot": "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Applebot": "Mozilla/5.0 (compatible; Applebot/0.1; +http://www.apple.com/go/applebot)",
    "DuckDuckBot": "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
    "Qwantbot": "Mozilla/5.0 (compatible; Qwantbot/1.0; +https://help.qwant.com/bot/)",
    "YandexBot": "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
}


def answers(site: Site, target: str, user_agents: Iterable[str], **headers: str) -> Iterator[tuple[str, int, bytes]]:
    """What each user agent gets, one after the other on one connection."""
    with closing(HTTPConnection(urlsplit(site.url).netloc, timeout=20)) as connection:
        for user_agent in user_agents:
            connection.request("GET", target, headers={"User-Agent": user_agent.encode(), **headers})
            response = connection.getresponse()
            yield user_agent, response.status, response.read()


def test_every_listener_player_app_and_reader_gets_its_part_of_a_recording(site: Site, plain: PlainSite) -> None:
    part = plain.body(AUDIO)[100:200]
    everybody = [user_agent for group in BROWSERS.values() for user_agent in group]
    got = answers(site, AUDIO, everybody, Range="bytes=100-199")
    assert [(user_agent, status) for user_agent, status, body in got if (status, body) != (206, part)] == []


@pytest.mark.parametrize("group", ["podcast apps", "podcast hosts and directories", "feed readers"])
def test_every_podcast_app_and_feed_reader_gets_the_feed(site: Site, plain: PlainSite, group: str) -> None:
    got = answers(site, FEED, BROWSERS[group])
    assert [(user_agent, status) for user_agent, status, body in got if (status, body) != (200, plain.body(FEED))] == []


class Metas(HTMLParser):
    """The named metas of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.contents: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and (name := given.get("property") or given.get("name")):
            self.contents[name] = given.get("content") or ""


@pytest.mark.parametrize("name", PREVIEWS)
def test_a_link_preview_finds_title_picture_and_recording(site: Site, plain: PlainSite, name: str) -> None:
    agent = PREVIEWS[name]
    robots = Protego.parse(site.robots)
    seen = Metas(fetched(site.url, TRACK, User_Agent=agent).body.decode()).contents
    there = Metas(plain.body(TRACK).decode()).contents
    assert {key: seen.get(key) for key in there} == there
    for target in (TRACK, seen["og:image"].removeprefix(site.url), seen["og:audio"].removeprefix(site.url)):
        assert robots.can_fetch(target, name)
        assert fetched(site.url, target, User_Agent=agent).status == 200


@pytest.mark.parametrize("name", SEARCH_ENGINES)
def test_a_search_engine_may_read_and_list_every_page(site: Site, plain: PlainSite, name: str) -> None:
    agent = SEARCH_ENGINES[name]
    robots = Protego.parse(site.robots)
    for target in ("/", "/tracks/", TRACK, "/press/", "/sitemap.xml"):
        assert robots.can_fetch(target, name)
        page = fetched(site.url, target, User_Agent=agent)
        said = " ".join(
            [*page.headers.get_all("x-robots-tag", ()), Metas(page.body.decode()).contents.get("robots", "")]
        )
        assert page.status == 200
        assert not {"noindex", "none", "nosnippet", "nofollow"} & set(said.replace(",", " ").split())


def sent(url: str, line: Line, host: str) -> tuple[int, bytes]:
    """Status and body for one request, its bytes sent as they are written."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=20) as connection:
        connection.sendall(line.wire(host))
        response = HTTPResponse(connection, method=line.method)
        response.begin()
        return response.status, response.read()


SPOOFED = next(each for each in VISITORS if each.name == "spoofed Googlebot")


def test_a_visitor_of_the_demonstration_that_takes_another_name_is_refused(guarded_site: Site) -> None:
    # The log of the site, by which every other client is compared with the policy, holds no addresses.
    host = urlsplit(guarded_site.url).netloc
    statuses = {line.path: sent(guarded_site.url, line, host)[0] for line in SPOOFED.lines}
    assert statuses == {"/robots.txt": 200, "/tracks/": 403}


@pytest.mark.parametrize(
    "visitor",
    [each for each in VISITORS if each.kind != "odd" and each is not SPOOFED],
    ids=lambda visitor: visitor.name,
)
def test_a_visitor_of_the_demonstration_gets_what_the_policy_says(
    site: Site, plain: PlainSite, visitor: Visitor
) -> None:
    host = urlsplit(site.url).netloc
    for line in visitor.lines:
        path = line.path.partition("?")[0]
        status, body = sent(site.url, line, host)
        if path in site.front.documents:
            assert status == 200
        elif visitor.kind == "ai":
            assert status == 403
        else:
            assert (status, body.replace(site.tags(path), b"")) == sent(plain.url, line, host)
