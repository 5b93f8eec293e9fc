"""What an HTML page declares and leads to."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

MOST_BYTES = 512 * 1024
"""How much of a page is read."""

_MOST = 1000
"""How many elements of a kind are kept."""

AUDIO_ENDINGS = ("mp3", "m4a", "aac", "ogg", "oga", "opus", "flac", "wav", "aif", "aiff", "wma", "weba")

_FEED_TYPES = ("application/rss+xml", "application/atom+xml")


@dataclass(slots=True)
class WebPage:
    """Metas by name (lower case) and content, links as (relations, media type, address), all in page order.

    `audio` are addresses of recordings, `feeds` of feeds; all addresses are absolute and of the web. `json_ld` are
    texts of scripts.
    """

    title: str = ""
    metas: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[frozenset[str], str, str]] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    json_ld: list[str] = field(default_factory=list)

    def contents(self, name: str) -> list[str]:
        return [content for key, content in self.metas if key == name]

    def licences(self, media_type: str) -> list[str]:
        """Addresses of links to a licence of this media type."""
        return [address for relations, kind, address in self.links if "license" in relations and kind == media_type]

    @property
    def json_ld_objects(self) -> list[dict[str, Any]]:
        """Every object in the JSON-LD, nested ones too; texts that are not JSON say nothing."""
        found: list[dict[str, Any]] = []
        left: list[Any] = [parsed for text in self.json_ld if (parsed := parsed_json(text)) is not None]
        while left and len(found) < _MOST:
            item = left.pop()
            if isinstance(item, dict):
                found.append(item)
                left.extend(item.values())
            elif isinstance(item, list):
                left.extend(item)
        return found


def parsed_json(text: str | bytes) -> Any:
    """A JSON value, or None where the text is none (deep nesting and huge numbers included)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_page(text: str, url: str) -> WebPage:
    """A page of this address. Never raises, whatever the text is."""
    reader = _Reader(url)
    # Not closed: what an unfinished tag holds says nothing, and closing is slow on hostile pages.
    reader.feed(text[:MOST_BYTES])
    page = reader.page
    for item in page.json_ld_objects:
        address = item.get("contentUrl")
        if isinstance(address, str) and (item.get("@type") == "AudioObject" or _is_audio(address)):
            reader.keep(page.audio, address)
    page.audio.extend(reader.linked)
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
        self.linked: list[str] = []
        self._base = url
        self._in_title = self._in_audio = False
        self._script: list[str] | None = None

    def keep(self, where: list[str], address: str) -> None:
        """Keeps an absolute address of the web, once."""
        if not address.strip():
            return
        try:
            absolute = urljoin(self._base, address.strip())
            if urlsplit(absolute).scheme in ("http", "https") and absolute not in where and len(where) < _MOST:
                where.append(absolute)
        except ValueError:
            return

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in reversed(attrs)}
        if tag == "meta":
            self._meta(said)
        elif tag == "link":
            self._link(said)
        elif tag == "base" and "href" in said:
            self._rebase(said["href"])
        elif tag == "audio":
            self._in_audio = True
            if "src" in said:
                self.keep(self.page.audio, said["src"])
        elif tag == "source" and "src" in said:
            if self._in_audio or said.get("type", "").lower().startswith("audio/"):
                self.keep(self.page.audio, said["src"])
        elif tag == "a" and _is_audio(said.get("href", "")):
            self.keep(self.linked, said["href"])
        elif tag == "title" and not self.page.title:
            self._in_title = True
        elif tag == "script":
            is_data = said.get("type", "").strip().lower() == "application/ld+json"
            self._script = [] if is_data and len(self.page.json_ld) < _MOST else None

    def _rebase(self, address: str) -> None:
        try:
            self._base = urljoin(self._base, address.strip())
        except ValueError:
            return

    def _meta(self, said: dict[str, str]) -> None:
        name, content = said.get("name") or said.get("property") or "", said.get("content", "")
        if name and len(self.page.metas) < _MOST:
            self.page.metas.append((name.strip().lower(), content))
        if name in ("og:audio", "og:audio:url", "og:audio:secure_url"):
            self.keep(self.page.audio, content)

    def _link(self, said: dict[str, str]) -> None:
        relations = frozenset(said.get("rel", "").lower().split())
        kind = said.get("type", "").strip().lower()
        address: list[str] = []
        self.keep(address, said.get("href", ""))
        if address and len(self.page.links) < _MOST:
            self.page.links.append((relations, kind, address[0]))
        if "alternate" in relations and kind in _FEED_TYPES:
            self.keep(self.page.feeds, said.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "audio":
            self._in_audio = False
        elif tag == "title":
            self._in_title = False
        elif tag == "script" and self._script is not None:
            self.page.json_ld.append("".join(self._script))
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._in_title and len(self.page.title) < _MOST:
            self.page.title += data
        elif self._script is not None:
            self._script.append(data)
