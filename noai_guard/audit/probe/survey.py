"""What is asked for, and in which order: about 40 requests to one site."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from noai_guard.audit.addresses import joined, leads_inside, origin_of
from noai_guard.audit.interpretation import is_page, robots_file
from noai_guard.audit.probe.result import (
    OWN_NAME,
    OWN_USER_AGENT,
    VISITORS,
    Licence,
    Observations,
    Probe,
    ProbeResult,
    Resource,
    Role,
    Visit,
)
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import WebPage, read_page
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.tdmrep import read_entries
from noai_guard.audit.readers.xml import enclosures
from noai_guard.declarations import ai_txt, robots_txt, rsl, tdmrep, trust_txt
from noai_guard.errors import NoAIGuardError

_NOWHERE = "/noai-guard-audit-asks-for-a-page-that-does-not-exist"
_LITTLE = 4096
_SOME = 64 * 1024
_MOST_LICENCES = 3
_MOST_POLICIES = 3
_RANGE = ("range", "bytes=0-1023")
_AS_BROWSER = (("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("accept-language", "en"))


class Unreachable(NoAIGuardError):
    """The site gave no answer at all."""


class Looks(Protocol):
    """Makes one request, as `fetch.Fetcher` does."""

    requests: int

    def look(self, ask: Probe) -> ProbeResult: ...


def survey(looks: Looks, url: str, audio: str = "", user_agents: Mapping[str, str] | None = None) -> Observations:
    """Everything there is to see of the site at an address.

    `audio` is the address of a recording; found from the page when empty. `user_agents` are those of visitors by
    their name; without any, nobody is impersonated. Raises Unreachable.
    """
    return _Survey(looks, user_agents or {}).of(url, audio)


class _Survey:
    def __init__(self, looks: Looks, user_agents: Mapping[str, str]) -> None:
        self._looks = looks
        self._user_agents = user_agents
        self._as: tuple[str, str] = (OWN_NAME, OWN_USER_AGENT)

    def _ask(self, url: str, **ways: Any) -> ProbeResult:
        name, user_agent = self._as
        return self._looks.look(Probe(url, **{"client": name, "user_agent": user_agent, **ways}))

    def of(self, url: str, audio: str) -> Observations:
        page = self._page(url)
        origin = origin_of(page.url)
        html = read_page(page.text, page.url) if page.ok and page.is_html else WebPage()
        robots = self._ask(f"{origin}{robots_txt.PATH}")
        documents = {path: self._ask(f"{origin}{path}") for path in (tdmrep.PATH, ai_txt.PATH, trust_txt.PATH)}
        licences = tuple(self._licences(page, html, robots_file(robots)))
        policies = tuple(
            self._ask(address, most_bytes=_LITTLE) for address in _policies(page, html, documents[tdmrep.PATH])
        )
        recording = self._recording(audio or self._found_audio(page, html))
        elsewhere = None
        if recording and origin_of(recording.get.url) != origin:
            elsewhere = self._ask(f"{origin_of(recording.get.url)}{robots_txt.PATH}")
        files = (documents[tdmrep.PATH], *(licence.look for licence in licences))
        declared = [look for look in (*(file for file in files if not is_page(file)), *policies) if look.ok]
        seen = Observations(
            page=self._resource(page),
            robots=robots,
            audio=recording,
            audio_robots=elsewhere,
            missing=self._ask(f"{origin}{_NOWHERE}", most_bytes=_LITTLE),
            markdown=self._ask(page.url, headers=(("accept", "text/markdown"),), most_bytes=_LITTLE),
            documents=documents,
            licences=licences,
            policies=policies,
            visits=tuple(self._visits(page, recording, robots, declared)),
            unnamed=tuple(
                self._ask(look.url, user_agent=None, most_bytes=_LITTLE) for look in (robots, *declared) if look.ok
            ),
        )
        return replace(seen, requests=self._looks.requests)

    def _page(self, url: str) -> ProbeResult:
        """The page; as a browser sees it when the audit's own name is refused."""
        page = self._ask(url)
        browser = VISITORS[0].name
        if page.refuses and browser in self._user_agents:
            as_browser = self._ask(url, client=browser, user_agent=self._user_agents[browser], headers=_AS_BROWSER)
            if as_browser.ok:
                self._as = (browser, self._user_agents[browser])
                return as_browser
        if page.status == 0:
            raise Unreachable(f"{page.url} cannot be looked at: {page.problem}")
        return page

    def _resource(self, get: ProbeResult, **ways: Any) -> Resource:
        again = None
        for name, condition in (("etag", "if-none-match"), ("last-modified", "if-modified-since")):
            if get.ok and get.first(name):
                again = self._ask(get.url, headers=((condition, get.first(name)),), most_bytes=_LITTLE)
                break
        return Resource(get, self._ask(get.url, method="HEAD", most_bytes=_LITTLE), again=again)

    def _recording(self, address: str) -> Resource | None:
        if not address:
            return None
        get = self._ask(address, most_bytes=_LITTLE)
        ranged = self._ask(get.url, headers=(_RANGE,), most_bytes=_LITTLE)
        return replace(self._resource(get), ranged=ranged)

    def _found_audio(self, page: ProbeResult, html: WebPage) -> str:
        """The first recording that the page, or a feed that it names, leads to."""
        for address in html.audio:
            if not leads_inside(page.url, address):
                return address
        for feed in html.feeds[:1]:
            if not leads_inside(page.url, feed):
                look = self._ask(feed)
                for address in enclosures(look.body) if look.ok else ():
                    absolute = joined(look.url, address)
                    if absolute and not leads_inside(page.url, absolute):
                        return absolute
        return ""

    def _licences(self, page: ProbeResult, html: WebPage, robots: RobotsFile) -> Iterator[Licence]:
        """Each RSL document that something announces; else the one at the usual place, if there is one."""
        announced: dict[str, str] = {}
        lines = [*robots.orphans, *(line for group in robots.groups for line in group.lines)]
        for by, addresses in (
            ("License in robots.txt", [line.value for line in lines if line.key == "license"]),
            ("Link", [target for target, kind in _licence_links(page) if kind == rsl.MEDIA_TYPE]),
            ("An HTML link", html.licences(rsl.MEDIA_TYPE)),
        ):
            for address in addresses:
                absolute = joined(page.url, address)
                if absolute and not leads_inside(page.url, absolute):
                    announced.setdefault(absolute, by)
        for address, by in list(announced.items())[:_MOST_LICENCES]:
            yield Licence(by, self._ask(address))
        if not announced:
            usual = self._ask(f"{origin_of(page.url)}{rsl.PATH}")
            if usual.ok and not is_page(usual):
                yield Licence("", usual)

    def _visits(
        self, page: ProbeResult, recording: Resource | None, robots: ProbeResult, declared: Iterable[ProbeResult]
    ) -> Iterator[Visit]:
        for visitor in VISITORS:
            if visitor.name not in self._user_agents:
                continue
            who: dict[str, Any] = {"client": visitor.name, "user_agent": self._user_agents[visitor.name]}
            own = _AS_BROWSER if not visitor.agent else ()
            is_crawler = visitor.role is not Role.PERSON
            yield Visit(
                visitor,
                self._ask(page.url, headers=own, most_bytes=_SOME, **who),
                self._ask(recording.get.url, headers=(_RANGE,), most_bytes=_LITTLE, **who) if recording else None,
                self._ask(robots.asked, most_bytes=_LITTLE, **who) if is_crawler else None,
                tuple(self._ask(look.url, most_bytes=_LITTLE, **who) for look in declared)
                if visitor.role is Role.AI
                else (),
            )


def _licence_links(page: ProbeResult) -> Iterator[tuple[str, str]]:
    return header_values.links(page.values("link"), "license")


def _policies(page: ProbeResult, html: WebPage, tdm_file: ProbeResult) -> list[str]:
    """Pages of the site itself that its declarations lead to."""
    entries = read_entries(tdm_file.body) if tdm_file.ok else ()
    said = [
        *page.values("tdm-policy"),
        *html.contents("tdm-policy"),
        *(entry.policy for entry in (() if isinstance(entries, str) else entries)),
        *(target for target, kind in _licence_links(page) if kind != rsl.MEDIA_TYPE),
        *(value for item in html.json_ld_objects for key in ("usageInfo", "license", "acquireLicensePage")
          if isinstance(value := item.get(key), str)),
    ]  # fmt: skip
    absolute = (joined(page.url, address) for address in said if address)
    own = (address for address in absolute if address and origin_of(address) == origin_of(page.url))
    return list(dict.fromkeys(own))[:_MOST_POLICIES]
