"""What was seen: every request that an audit made, and what came back. Facts only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from noai_guard.version import __version__

Lines = tuple[tuple[str, str], ...]
"""Header lines as they came, unmerged and in order; values are Latin-1 without blanks around them."""

OWN_NAME = "the audit"
"""The name of the client that does not pretend to be another."""


OWN_USER_AGENT = f"noai-guard-audit/{__version__}"

_MOST_BYTES = 512 * 1024 + 1


@dataclass(frozen=True, slots=True)
class Probe:
    """One request to make. `user_agent` None sends no User-Agent line; `most_bytes` is how much of a body is read."""

    url: str
    client: str = OWN_NAME
    user_agent: str | None = OWN_USER_AGENT
    method: str = "GET"
    headers: Lines = ()
    most_bytes: int = _MOST_BYTES


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect: its status and where it leads."""

    status: int
    location: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One request, its redirects followed, and the last answer.

    `status` is 0 when no answer came, and `problem` then says why. `problem` beside a status says what was wrong
    with the rest. `complete` is False when the body is only the beginning. `hops` are the redirects on the way to
    `url`; `asked` is where they began.
    """

    asked: str
    url: str
    method: str = "GET"
    client: str = OWN_NAME
    status: int = 0
    lines: Lines = ()
    body: bytes = b""
    complete: bool = True
    hops: tuple[Redirect, ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refuses(self) -> bool:
        """No answer, or one that turns the client away."""
        return self.status == 0 or self.status >= 400

    def values(self, name: str) -> list[str]:
        """The value of each line of this name, in order. `name` is in lower case."""
        return [value for key, value in self.lines if key.lower() == name]

    def first(self, name: str) -> str:
        return next(iter(self.values(name)), "")

    @property
    def media_type(self) -> str:
        """The media type in lower case without its parameters; empty when none is said."""
        return self.first("content-type").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        return self.media_type in ("text/html", "application/xhtml+xml")

    @property
    def text(self) -> str:
        """The body as UTF-8, a byte-order mark left out, whatever the bytes are."""
        return self.body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Resource:
    """One address, asked for in several ways; None for those that were not tried."""

    get: ProbeResult
    head: ProbeResult | None = None
    ranged: ProbeResult | None = None
    again: ProbeResult | None = None

    @property
    def variants(self) -> tuple[ProbeResult, ...]:
        return tuple(look for look in (self.head, self.ranged, self.again) if look)


class Role(StrEnum):
    """For whom a visitor comes."""

    PERSON = "person"
    SEARCH = "search"
    AI = "ai"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client that the audit looks through the eyes of.

    `agent` is its name in the catalogue and `source` the file there that has its user agents; both empty for a browser.
    """

    name: str
    role: Role
    agent: str
    source: str


VISITORS: tuple[Visitor, ...] = (
    Visitor("a browser", Role.PERSON, "", ""),
    Visitor("AntennaPod", Role.PERSON, "AntennaPod", "antennapod"),
    Visitor("facebookexternalhit", Role.PERSON, "facebookexternalhit", "meta"),
    Visitor("Googlebot", Role.SEARCH, "Googlebot", "google"),
    Visitor("GPTBot", Role.AI, "GPTBot", "openai"),
    Visitor("ClaudeBot", Role.AI, "ClaudeBot", "anthropic"),
)
"""Whom an audit goes by the name of: people's clients, one search engine, two AI crawlers that say they obey."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visitor got. `documents` are the declarations' own files; only AI crawlers ask for them."""

    visitor: Visitor
    page: ProbeResult
    audio: ProbeResult | None = None
    robots: ProbeResult | None = None
    documents: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Licence:
    """An RSL document, and how it was found: what announces it, empty when nothing does."""

    announced: str
    look: ProbeResult


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that an audit saw of a site.

    `documents` holds the files at fixed places by their path, `policies` the pages of the site itself that its
    declarations lead to, `unnamed` documents asked for without a user agent.
    """

    page: Resource
    robots: ProbeResult
    audio: Resource | None = None
    audio_robots: ProbeResult | None = None
    missing: ProbeResult | None = None
    markdown: ProbeResult | None = None
    documents: Mapping[str, ProbeResult] = field(default_factory=dict)
    licences: tuple[Licence, ...] = ()
    policies: tuple[ProbeResult, ...] = ()
    visits: tuple[Visit, ...] = ()
    unnamed: tuple[ProbeResult, ...] = ()
    requests: int = 0

    def looks(self) -> tuple[ProbeResult, ...]:
        """Every look of the audit by its own name."""
        of_audio = (self.audio.get, *self.audio.variants, self.audio_robots) if self.audio else ()
        several = (
            self.page.get, *self.page.variants, self.robots, *of_audio, self.missing, self.markdown,
            *self.documents.values(), *(licence.look for licence in self.licences), *self.policies, *self.unnamed,
        )  # fmt: skip
        return tuple(look for look in several if look)
