"""Declarations and links of an HTML page."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

from noai_guard.audit.readers.guarded import describe, guarded

_MAX_LENGTH = 512 * 1024
"""Characters of a page that are read."""

_MAX_ITEMS = 1000
"""Metas, links, addresses, scripts and JSON-LD objects that are kept, of each."""

AUDIO_ENDINGS = ("mp3", "m4a", "aac", "ogg", "oga", "opus", "flac", "wav", "aif", "aiff", "wma", "weba")

_FEED_TYPES = ("application/rss+xml", "application/atom+xml")


@dataclass(slots=True)
class WebPage:
    """The parts of a page that an audit reads, in page order.

    `metas` are (name in lower case, content), `links` (relations, media type, address), `audio` and `feeds` addresses
    of recordings and feeds, `json_ld` the texts of scripts. All addresses are absolute and of the web. `problem` says
    why the page could not be read to its end; empty if it could.
    """

    title: str = ""
    metas: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[frozenset[str], str, str]] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    json_ld: list[str] = field(default_factory=list)
    problem: str = ""

    def contents(self, name: str) -> list[str]:
        """Return the contents of the metas of this name."""
        return [content for key, content in self.metas if key == name]

    def licences(self, media_type: str) -> list[str]:
        """Return the addresses of links to a licence of this media type."""
        return [address for relations, type_, address in self.links if "license" in relations and type_ == media_type]

    @property
    def json_ld_objects(self) -> list[dict[str, Any]]:
        """All objects in the JSON-LD, also nested ones; texts that are not JSON have none."""
        objects: list[dict[str, Any]] = []
        pending: list[Any] = [parsed for text in self.json_ld if (parsed := parsed_json(text)) is not None]
        while pending and len(objects) < _MAX_ITEMS:
            item = pending.pop()
            if isinstance(item, dict):
                objects.append(item)
                pending.extend(item.values())
            elif isinstance(item, list):
                pending.extend(item)
        return objects


def parsed_json(text: str | bytes) -> Any:
    """Return a JSON value, or None if the text is not JSON, is nested too deeply or has a number too long."""
    return guarded(lambda: json.loads(text), lambda error: None)


def read_page(text: str, url: str) -> WebPage:
    """Parse the page at an address. Never raises, whatever the text is."""
    reader = _Reader(url)
    # Not closed: an unfinished tag declares nothing, and closing is slow on hostile pages.
    page = reader.page
    page.problem = guarded(lambda: reader.feed(text[:_MAX_LENGTH]), describe) or ""
    for item in page.json_ld_objects:
        address = item.get("contentUrl")
        if isinstance(address, str) and (item.get("@type") == "AudioObject" or _is_audio(address)):
            reader.keep(page.audio, address)
    page.audio.extend(reader.linked_audio)
    return page


def _is_audio(address: str) -> bool:
    try:
        return urlsplit(address).path.lower().rpartition(".")[2] in AUDIO_ENDINGS
    except ValueError:
        return False


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.page = WebPage()
        self.linked_audio: list[str] = []
        self._base = url
        self._in_title = self._in_audio = False
        self._script: list[str] | None = None

    def keep(self, addresses: list[str], address: str) -> None:
        """Append the absolute form of an address of the web, once; an empty address is none."""
        with suppress(ValueError):
            absolute = urljoin(self._base, address.strip())
            is_web = address.strip() and urlsplit(absolute).scheme in ("http", "https")
            if is_web and absolute not in addresses and len(addresses) < _MAX_ITEMS:
                addresses.append(absolute)

    def parse_html_declaration(self, i: int) -> int:
        # `<![` outside of SVG is a comment up to the next `>` (WHATWG HTML, 13.2.5.42). html.parser knows only some of
        # them, as `<![if`, and fails at others (Python 3.11).
        bogus = self.rawdata.startswith("<![", i)
        return self.parse_bogus_comment(i) if bogus else super().parse_html_declaration(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in reversed(attrs)}
        if tag == "meta":
            self._meta(attributes)
        elif tag == "link":
            self._link(attributes)
        elif tag == "base" and "href" in attributes:
            with suppress(ValueError):
                self._base = urljoin(self._base, attributes["href"].strip())
        elif tag == "audio":
            self._in_audio = True
            self.keep(self.page.audio, attributes.get("src", ""))
        elif tag == "source" and (self._in_audio or attributes.get("type", "").lower().startswith("audio/")):
            self.keep(self.page.audio, attributes.get("src", ""))
        elif tag == "a" and _is_audio(attributes.get("href", "")):
            self.keep(self.linked_audio, attributes["href"])
        elif tag == "title" and not self.page.title:
            self._in_title = True
        elif tag == "script":
            is_data = attributes.get("type", "").strip().lower() == "application/ld+json"
            self._script = [] if is_data and len(self.page.json_ld) < _MAX_ITEMS else None

    def _meta(self, attributes: dict[str, str]) -> None:
        name, content = attributes.get("name") or attributes.get("property") or "", attributes.get("content", "")
        if name and len(self.page.metas) < _MAX_ITEMS:
            self.page.metas.append((name.strip().lower(), content))
        if name in ("og:audio", "og:audio:url", "og:audio:secure_url"):
            self.keep(self.page.audio, content)

    def _link(self, attributes: dict[str, str]) -> None:
        relations = frozenset(attributes.get("rel", "").lower().split())
        media_type = attributes.get("type", "").strip().lower()
        address: list[str] = []
        self.keep(address, attributes.get("href", ""))
        if address and len(self.page.links) < _MAX_ITEMS:
            self.page.links.append((relations, media_type, address[0]))
        if "alternate" in relations and media_type in _FEED_TYPES:
            self.keep(self.page.feeds, attributes.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "audio":
            self._in_audio = False
        elif tag == "title":
            self._in_title = False
        elif tag == "script" and self._script is not None:
            self.page.json_ld.append("".join(self._script))
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._in_title and len(self.page.title) < _MAX_ITEMS:
            self.page.title += data
        elif self._script is not None:
            self._script.append(data)
