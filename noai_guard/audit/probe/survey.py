"""The requests of an audit and their order: about 50, to one site."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Any, Protocol
from urllib.parse import urlsplit

from noai_guard.audit.interpretation import read_html, read_robots
from noai_guard.audit.probe.result import (
    CLIENTS,
    AudioBytes,
    CacheTrial,
    Client,
    ClientResponses,
    ClientType,
    Licence,
    Observations,
    Probe,
    ProbeResult,
    Resource,
)
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.audio_tags import AudioTags, read_tags
from noai_guard.audit.readers.html import WebPage
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.tdmrep import read_entries
from noai_guard.audit.readers.xml import enclosures
from noai_guard.core.web_addresses import absolute_url, leads_inside, origin_of
from noai_guard.declarations import ai_txt, robots_txt, rsl, tdmrep, trust_txt
from noai_guard.errors import NoAIGuardError

_MISSING_PATH = "/noai-guard-audit-asks-for-a-page-that-does-not-exist"
_MAX_BYTES = 4096
"""Bytes of a body that are read if the headers or the beginning are enough."""
_MAX_PAGE_BYTES = 64 * 1024
_MAX_LICENCES = 3
_MAX_POLICY_PAGES = 3
_GZIP = ("accept-encoding", "gzip")
"""The content codings that browsers accept and the audit can read."""
_RANGE = ("range", "bytes=0-1023")
_TAG_BYTES = 64 * 1024
_MAX_TAG_BYTES = 4 * 1024 * 1024
_MAX_TAG_REQUESTS = 12
"""Of as many parts tags are read, and of as many bytes."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})$")
_BROWSER_HEADERS = (("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("accept-language", "en"))


class Unreachable(NoAIGuardError):
    """The site does not respond at all."""


class Prober(Protocol):
    """Sends probes and counts its requests; over a network that is `fetch.Fetcher`."""

    requests: int

    def fetch(self, probe: Probe) -> ProbeResult: ...


def survey(
    prober: Prober,
    url: str,
    audio: str = "",
    user_agents: Mapping[str, str] | None = None,
    allow_private: bool = False,
) -> Observations:
    """Request the page at `url` and everything that belongs to it.

    `audio` is the address of a recording; without it the first one that the page leads to is used. `user_agents` has
    those of `CLIENTS` by their name; clients without one are not impersonated. Without `allow_private` a site on the
    open network cannot lead to addresses of this machine or its own network. Raises Unreachable.
    """
    return _Survey(prober, user_agents or {}, allow_private).run(url, audio)


class _Survey:
    def __init__(self, prober: Prober, user_agents: Mapping[str, str], allow_private: bool) -> None:
        self._prober = prober
        self._allow_private = allow_private
        self._user_agents = user_agents
        self._default_client: dict[str, str] = {}

    def _fetch(self, url: str, **options: Any) -> ProbeResult:
        return self._prober.fetch(Probe(url, **{**self._default_client, **options}))

    def run(self, url: str, audio: str) -> Observations:
        page = self._page(url)
        origin = origin_of(page.url)
        html = read_html(page)
        robots = self._fetch(f"{origin}{robots_txt.PATH}")
        documents = {path: self._fetch(f"{origin}{path}") for path in (tdmrep.PATH, ai_txt.PATH, trust_txt.PATH)}
        licences = tuple(self._licences(page, html, read_robots(robots)))
        policy_pages = tuple(
            self._fetch(address, max_bytes=_MAX_BYTES) for address in _policy_pages(page, html, documents[tdmrep.PATH])
        )
        recording = audio_robots = audio_bytes = None
        if address := audio or self._audio_address(page, html):
            get = self._fetch(address, max_bytes=_MAX_BYTES)
            partial = self._fetch(get.url, headers=(_RANGE,), max_bytes=_MAX_BYTES)
            recording = replace(self._resource(get), partial=partial)
            audio_bytes = self._audio_bytes(get, partial) if get.ok and not get.has_html_body else None
        if recording and origin_of(recording.get.url) != origin:
            audio_robots = self._fetch(f"{origin_of(recording.get.url)}{robots_txt.PATH}")
        files = (documents[tdmrep.PATH], *(licence.result for licence in licences))
        declaring = (*(file for file in files if not file.has_html_body), *policy_pages)
        declarations = [result for result in declaring if result.ok]
        compressed = self._fetch(page.url, headers=(_GZIP,)) if page.ok and page.is_html else None
        observations = Observations(
            page=replace(self._resource(page), compressed=compressed),
            robots=robots,
            audio=recording,
            audio_robots=audio_robots,
            audio_bytes=audio_bytes,
            not_found=self._fetch(f"{origin}{_MISSING_PATH}", max_bytes=_MAX_BYTES),
            markdown=self._fetch(page.url, headers=(("accept", "text/markdown"),), max_bytes=_MAX_BYTES),
            documents=documents,
            licences=licences,
            policy_pages=policy_pages,
        )
        return replace(
            observations,
            client_responses=tuple(
                self._responses_to(client, observations, declarations)
                for client in CLIENTS
                if client.name in self._user_agents
            ),
            without_user_agent=tuple(
                self._fetch(result.url, user_agent=None, max_bytes=_MAX_BYTES)
                for result in (robots, *declarations)
                if result.ok
            ),
            cache_trials=tuple(self._cache_trials(observations)),
            requests=self._prober.requests,
        )

    def _page(self, url: str) -> ProbeResult:
        """Request the page, and again as a browser if the audit is refused under its own name."""
        page = self._fetch(url)
        browser = CLIENTS[0].name
        if page.refuses and browser in self._user_agents:
            client = {"client": browser, "user_agent": self._user_agents[browser]}
            as_browser = self._fetch(url, headers=_BROWSER_HEADERS, **client)
            if as_browser.ok:
                self._default_client = client
                return as_browser
        if page.status == 0:
            raise Unreachable(f"{page.url} cannot be looked at: {page.problem}")
        return page

    def _resource(self, get: ProbeResult) -> Resource:
        validators = (("if-none-match", get.first("etag")), ("if-modified-since", get.first("last-modified")))
        condition = next((line for line in validators if get.ok and line[1]), None)
        conditional = self._fetch(get.url, headers=(condition,), max_bytes=_MAX_BYTES) if condition else None
        return Resource(get, self._fetch(get.url, method="HEAD", max_bytes=_MAX_BYTES), conditional=conditional)

    def _audio_bytes(self, get: ProbeResult, partial: ProbeResult) -> AudioBytes:
        """Request the parts of a recording that hold its tags, wherever in the file they are."""
        audio = AudioBytes(len(get.body), ((0, get.body),))
        if get.complete:
            return audio
        size = _size_and_start(partial)[0]
        if not size:
            whole = self._fetch(get.url)
            problem = "" if whole.complete else "the server does not send parts of the file, and the whole is too large"
            return AudioBytes(len(whole.body), ((0, whole.body),), problem)
        audio = replace(audio, size=size)
        received = 0
        for _ in range(_MAX_TAG_REQUESTS):
            wanted = read_tags(audio)
            if isinstance(wanted, AudioTags):
                return audio
            length = min(max(wanted.length, _TAG_BYTES), size - wanted.start)
            received += length
            if received > _MAX_TAG_BYTES:
                return replace(audio, problem=f"the tags are larger than {_MAX_TAG_BYTES:,} bytes")
            end = wanted.start + length - 1
            part = self._fetch(get.url, headers=(("range", f"bytes={wanted.start}-{end}"),), max_bytes=length)
            if _size_and_start(part) != (size, wanted.start) or len(part.body) < wanted.length:
                return replace(audio, problem=f"the server does not send bytes {wanted.start} to {end} of the file")
            audio = replace(audio, parts=(*audio.parts, (wanted.start, part.body)))
        return replace(audio, problem="the tags stand in too many places")

    def _audio_address(self, page: ProbeResult, html: WebPage) -> str:
        """Return the first recording of the page, else of its first feed; empty if there is none."""
        recordings = [address for address in html.audio if not self._leads_inside(page, address)]
        if not recordings and html.feeds and not self._leads_inside(page, html.feeds[0]):
            feed = self._fetch(html.feeds[0])
            addresses = [absolute_url(feed.url, address) for address in enclosures(feed.body) if feed.ok]
            recordings = [address for address in addresses if address and not self._leads_inside(page, address)]
        return recordings[0] if recordings else ""

    def _leads_inside(self, page: ProbeResult, address: str) -> bool:
        return not self._allow_private and leads_inside(page.url, address)

    def _licences(self, page: ProbeResult, html: WebPage, robots: RobotsFile) -> Iterator[Licence]:
        """Request each RSL document that is announced; if none is, the one at the usual path."""
        announced: dict[str, str] = {}
        for announced_by, addresses in (
            ("License in robots.txt", [line.value for line in robots.lines if line.key == "license"]),
            ("Link", [target for target, media_type in _licence_links(page) if media_type == rsl.MEDIA_TYPE]),
            ("An HTML link", html.licences(rsl.MEDIA_TYPE)),
        ):
            for address in addresses:
                absolute = absolute_url(page.url, address)
                if absolute and not self._leads_inside(page, absolute):
                    announced.setdefault(absolute, announced_by)
        for address, announced_by in list(announced.items())[:_MAX_LICENCES]:
            yield Licence(announced_by, self._fetch(address))
        if not announced:
            result = self._fetch(f"{origin_of(page.url)}{rsl.PATH}")
            if result.ok and not result.has_html_body:
                yield Licence("", result)

    def _responses_to(
        self, client: Client, observations: Observations, declarations: Iterable[ProbeResult]
    ) -> ClientResponses:
        user_agent, page, audio = self._user_agents[client.name], observations.page.get, observations.audio
        fetch = partial(self._fetch, client=client.name, user_agent=user_agent, max_bytes=_MAX_BYTES)
        return ClientResponses(
            client,
            fetch(page.url, headers=() if client.agent else _BROWSER_HEADERS, max_bytes=_MAX_PAGE_BYTES),
            fetch(audio.get.url, headers=(_RANGE,)) if audio else None,
            None if client.type is ClientType.PERSON else fetch(observations.robots.requested_url),
            tuple(fetch(result.url) for result in declarations) if client.type is ClientType.AI else (),
        )

    def _cache_trials(self, observations: Observations) -> Iterator[CacheTrial]:
        """Request page and audio as a crawler and then as a browser, and the other way round.

        Both send the same fields but the User-Agent, so that they differ for those caches alone that read it.
        """
        browser, crawler = CLIENTS[0].name, next(client.name for client in CLIENTS if client.type is ClientType.AI)
        if not self._user_agents.keys() >= {browser, crawler}:
            return
        for resource in observations.resources:
            if resource.get.ok:
                headers = _BROWSER_HEADERS if resource is observations.page else (_RANGE,)
                url, one, other = resource.get.url, _new_address(resource.get.url), _new_address(resource.get.url)
                responses = [
                    self._fetch(
                        address, client=name, user_agent=self._user_agents[name], headers=headers, max_bytes=_MAX_BYTES
                    )
                    for address, name in ((one, crawler), (one, browser), (other, browser), (other, crawler))
                ]
                yield CacheTrial(url, (responses[0], responses[1]), (responses[2], responses[3]))


def _size_and_start(part: ProbeResult) -> tuple[int, int]:
    """Return the size of the whole file, and where a part of it begins; 0 and 0 if the response is none."""
    match = _CONTENT_RANGE.match(part.first("content-range")) if part.status == 206 else None
    return (int(match[2]), int(match[1])) if match else (0, 0)


def _new_address(url: str) -> str:
    """Return an address of the same resource that no cache knows."""
    parts = urlsplit(url)
    return parts._replace(query=f"{parts.query}&" * bool(parts.query) + f"noai-guard-audit={token_hex(8)}").geturl()


def _licence_links(page: ProbeResult) -> Iterator[tuple[str, str]]:
    return header_values.links(page.values("link"), "license")


def _policy_pages(page: ProbeResult, html: WebPage, tdm_file: ProbeResult) -> list[str]:
    """Return the addresses of the site's own pages that its declarations link to."""
    linked = [
        *page.values("tdm-policy"),
        *html.contents("tdm-policy"),
        *(entry.policy for entry in (read_entries(tdm_file.body) if tdm_file.ok else ())),
        *(target for target, media_type in _licence_links(page) if media_type != rsl.MEDIA_TYPE),
        *(value for item in html.json_ld_objects for key in ("usageInfo", "license", "acquireLicensePage")
          if isinstance(value := item.get(key), str)),
    ]  # fmt: skip
    absolute = (absolute_url(page.url, address) for address in linked if address)
    same_site = (address for address in absolute if address and origin_of(address) == origin_of(page.url))
    return list(dict.fromkeys(same_site))[:_MAX_POLICY_PAGES]
