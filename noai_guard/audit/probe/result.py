"""Every request that an audit makes, and its response. Facts only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from noai_guard.version import __version__

Headers = tuple[tuple[str, str], ...]
"""Header lines as sent, unmerged and in order; values are Latin-1 without surrounding blanks."""

AUDITOR_NAME = "the audit"
"""Name of the client that impersonates nobody."""

AUDITOR_USER_AGENT = f"noai-guard-audit/{__version__}"

_MAX_BYTES = 512 * 1024 + 1


@dataclass(frozen=True, slots=True)
class Probe:
    """One request to make.

    `user_agent` None sends no User-Agent line; `max_bytes` is how much of the response body is read.
    """

    url: str
    client: str = AUDITOR_NAME
    user_agent: str | None = AUDITOR_USER_AGENT
    method: str = "GET"
    headers: Headers = ()
    max_bytes: int = _MAX_BYTES


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect: its status and its target."""

    status: int
    location: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The last response to one request, its redirects followed.

    `status` is 0 if there was no response, and `problem` then says why; beside a status, `problem` says what was wrong
    with the body. `complete` is False if `body` is only its beginning. `redirects` lead from `requested_url` to `url`.
    """

    requested_url: str
    url: str
    method: str = "GET"
    client: str = AUDITOR_NAME
    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    complete: bool = True
    redirects: tuple[Redirect, ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        """True for a status of 2xx."""
        return 200 <= self.status < 300

    @property
    def refuses(self) -> bool:
        """True for 4xx, 5xx, and if there was no response."""
        return self.status == 0 or self.status >= 400

    @property
    def failure(self) -> str:
        """The status, or why there is none, in words."""
        return f"HTTP {self.status}" if self.status else self.problem

    def values(self, name: str) -> list[str]:
        """Return the value of each line of this header, in order. `name` is in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: str) -> str:
        """Return the value of the first line of this header; empty if there is none."""
        return next(iter(self.values(name)), "")

    @property
    def media_type(self) -> str:
        """The media type in lower case without its parameters; empty if none is sent."""
        return self.first("content-type").partition(";")[0].strip().lower()

    @property
    def content_type_line(self) -> str:
        """The line Content-Type for a report."""
        return f"Content-Type: {self.first('content-type') or 'not sent'}"

    @property
    def is_html(self) -> bool:
        """True if the media type is one of HTML."""
        return self.media_type in ("text/html", "application/xhtml+xml")

    @property
    def has_html_body(self) -> bool:
        """True if the body is an HTML page, whatever its media type."""
        return self.text[:1000].lstrip().lower().startswith(("<!doctype html", "<html", "<head", "<body"))

    @property
    def text(self) -> str:
        """The body decoded as UTF-8 without a byte-order mark; other bytes are replaced."""
        return self.body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Resource:
    """One address, requested in several ways; None for those that were not tried.

    `partial` is with a Range, `conditional` with If-None-Match or If-Modified-Since, `compressed` with Accept-Encoding.
    """

    get: ProbeResult
    head: ProbeResult | None = None
    partial: ProbeResult | None = None
    conditional: ProbeResult | None = None
    compressed: ProbeResult | None = None

    @property
    def variants(self) -> tuple[ProbeResult, ...]:
        """All results but the one of the plain GET."""
        return tuple(result for result in (self.head, self.partial, self.conditional, self.compressed) if result)


class ClientType(StrEnum):
    """Group of impersonated clients, of which each should be served alike."""

    PERSON = "person"
    SEARCH = "search"
    AI = "ai"


@dataclass(frozen=True, slots=True)
class Client:
    """A client that the audit impersonates.

    `agent` is its name in the catalogue and `source` the file there that holds its user agents; both are empty for a
    browser.
    """

    name: str
    type: ClientType
    agent: str
    source: str


CLIENTS: tuple[Client, ...] = (
    Client("a browser", ClientType.PERSON, "", ""),
    Client("AntennaPod", ClientType.PERSON, "AntennaPod", "antennapod"),
    Client("facebookexternalhit", ClientType.PERSON, "facebookexternalhit", "meta"),
    Client("Googlebot", ClientType.SEARCH, "Googlebot", "google"),
    Client("GPTBot", ClientType.AI, "GPTBot", "openai"),
    Client("ClaudeBot", ClientType.AI, "ClaudeBot", "anthropic"),
)
"""The clients that an audit impersonates: people's software, a search engine, AI crawlers that claim to obey."""


@dataclass(frozen=True, slots=True)
class ClientResponses:
    """The responses to one client. `documents` are the files of declarations, which only AI crawlers request."""

    client: Client
    page: ProbeResult
    audio: ProbeResult | None = None
    robots: ProbeResult | None = None
    documents: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioBytes:
    """Parts of a recording of `size` bytes, each with its position; `problem` says why there are no more of them."""

    size: int
    parts: tuple[tuple[int, bytes], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CacheTrial:
    """Who gets what of `url` where a shared cache may stand in front.

    Each pair are the responses to two clients, one after the other, about an address of its own that no cache has yet.
    """

    url: str
    crawler_first: tuple[ProbeResult, ProbeResult]
    browser_first: tuple[ProbeResult, ProbeResult]


@dataclass(frozen=True, slots=True)
class Licence:
    """An RSL document. `announced_by` is what leads to it, in words; empty if nothing does."""

    announced_by: str
    result: ProbeResult


@dataclass(frozen=True, slots=True)
class Observations:
    """All results of one audit.

    `not_found` is of a path that no site has, `documents` are the files at well-known places by their path,
    `audio_bytes` the parts of the audio that hold its tags, `policy_pages` the pages of the site that its declarations
    link to, `without_user_agent` documents requested
    without a User-Agent line, `cache_trials` those of the page and the audio.
    """

    page: Resource
    robots: ProbeResult
    audio: Resource | None = None
    audio_robots: ProbeResult | None = None
    audio_bytes: AudioBytes | None = None
    not_found: ProbeResult | None = None
    markdown: ProbeResult | None = None
    documents: Mapping[str, ProbeResult] = field(default_factory=dict)
    licences: tuple[Licence, ...] = ()
    policy_pages: tuple[ProbeResult, ...] = ()
    client_responses: tuple[ClientResponses, ...] = ()
    without_user_agent: tuple[ProbeResult, ...] = ()
    cache_trials: tuple[CacheTrial, ...] = ()
    requests: int = 0

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The page, and the audio if there is some."""
        return (self.page, self.audio) if self.audio else (self.page,)

    def results(self) -> Iterator[ProbeResult]:
        """Yield every result of a request that impersonates nobody, but those of robots.txt."""
        for resource in self.resources:
            yield from (resource.get, *resource.variants)
        yield from filter(None, (self.not_found, self.markdown, *self.documents.values()))
        yield from (licence.result for licence in self.licences)
        yield from (*self.policy_pages, *self.without_user_agent)

    def text_file(self, path: str) -> ProbeResult | None:
        """Return the file at a well-known path; None if it is missing or an HTML page."""
        result = self.documents.get(path)
        return result if result and result.ok and not result.is_html else None
