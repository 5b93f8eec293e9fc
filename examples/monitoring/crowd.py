"""Who visits the site, and what goes wrong there: a script in shares of the time it is given."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from random import Random

from examples.music_site.visitors import VISITORS, Kind, Line, Visitor

from .site import Site

_PATIENCE = 20.0


def _bot(name: str, kind: Kind, user_agent: str, *paths: str) -> Visitor:
    headers = ((b"Host", b"{host}"), (b"User-Agent", user_agent.encode()), (b"Accept", b"*/*"))
    return Visitor(name, kind, tuple(Line("GET", path, headers) for path in paths))


_MORE = (
    _bot(
        "meta-externalagent",
        "ai",
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "/robots.txt",
        "/tracks/paper-boats",
        "/audio/paper-boats.wav",
    ),
    _bot(
        "Amazonbot",
        "ai",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Amazonbot/0.1; "
        "+https://developer.amazon.com/support/amazonbot) Chrome/119.0.6045.214 Safari/537.36",
        "/robots.txt",
        "/artists/moth-atlas",
    ),
    _bot("OAI-SearchBot", "ai", "OAI-SearchBot/1.0; +https://openai.com/searchbot", "/robots.txt", "/tracks/"),
    _bot("Claude-User", "ai", "Mozilla/5.0 (compatible; Claude-User/1.0; +Claude-User@anthropic.com)", "/press/"),
    _bot("python-requests", "tool", "python-requests/2.32.5", *["/audio/slow-signal.wav", "/tracks/"] * 3),
    _bot("GPTBot in the middle of 4 KB", "odd", f"{'x' * 2000} GPTBot/1.2 {'x' * 2000}", *["/tracks/"] * 3),
    _bot("A crawler nobody knows", "odd", "HarbourCrawler/0.1 (+https://harbour.example/bot)", "/", "/tracks/"),
    _bot(
        "A reader of declarations",
        "listener",
        "Mozilla/5.0 (X11; Linux x86_64; rv:157.0) Gecko/20100101 Firefox/157.0",
        "/.well-known/noai",
        "/.well-known/tdmrep.json",
    ),
)

CROWD = VISITORS + _MORE
_OFTEN: dict[Kind, float] = {
    "listener": 6, "player": 4, "podcast": 3, "feed": 2, "search": 1, "preview": 2, "ai": 1.5, "tool": 1, "odd": 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wave:
    """From `begin` to `end` (shares of the time), visitors of `kind` come `times` as often."""

    kind: Kind
    begin: float
    end: float
    times: float


WAVES = (
    Wave("ai", 0.4, 0.55, 3),
    Wave("ai", 0.62, 0.85, 6),
    Wave("listener", 0.45, 0.75, 1.6),
    Wave("player", 0.5, 0.8, 1.6),
    Wave("tool", 0.4, 0.6, 4),
)


class Script:
    """Plays visitors and troubles for `seconds`. `play` it, one call for each visitor; the same each time."""

    def __init__(self, site: Site, seconds: float) -> None:
        self._site = site
        self._seconds = seconds
        self._random = Random(7)
        self._policy = site.policy.read_text(encoding="utf-8")
        self._written = self._policy
        self._catalogue = site.catalogue.read_text(encoding="utf-8")
        self._catalogue_broken = False
        self._proxy_well = True
        self._all = iter(CROWD)

    def play(self, elapsed: float) -> None:
        """One visit, at `elapsed` seconds. Everybody comes once before somebody comes again."""
        share = elapsed / self._seconds
        self._trouble(share)
        visitor = next(self._all, None)
        if visitor is None:
            weights = [_OFTEN[each.kind] * _wave(each.kind, share) for each in CROWD]
            visitor = self._random.choices(CROWD, weights)[0]
        for line in self._through_proxy(visitor):
            _send(self._site.host, line)

    def _trouble(self, share: float) -> None:
        enforcing = self._policy.replace("mode: monitor", "mode: enforce")
        if share < 0.2:
            self._save(self._policy)
        elif share < 0.35:
            self._save(enforcing.replace("train-ai: no", "trian-ai: no"))
        else:
            self._save(enforcing)
        self._save_catalogue(broken=0.55 <= share < 0.65)
        self._site.store.down = 0.45 <= share < 0.5
        self._site.log.full = 0.7 <= share < 0.76
        self._proxy_well = not 0.8 <= share < 0.9

    def _save(self, policy: str) -> None:
        if policy != self._written:
            self._written = policy
            self._site.policy.write_text(policy, encoding="utf-8")

    def _save_catalogue(self, *, broken: bool) -> None:
        if broken != self._catalogue_broken:
            self._catalogue_broken = broken
            text = self._catalogue.replace("disallow", "disalow") if broken else self._catalogue
            self._site.catalogue.write_text(text, encoding="utf-8")

    def _through_proxy(self, visitor: Visitor) -> Iterator[Line]:
        """The visitor's requests as the site's proxy passes them on."""
        place = CROWD.index(visitor)
        address = f"198.51.100.{place + 1}"
        if not self._proxy_well:
            address = "unknown" if place % 2 else ""
        for line in visitor.lines:
            headers = (*line.headers, (b"X-Forwarded-For", address.encode())) if address else line.headers
            yield replace(line, headers=headers)


def _wave(kind: Kind, share: float) -> float:
    times = 1.0
    for wave in WAVES:
        if wave.kind == kind and wave.begin <= share < wave.end:
            times *= wave.times
    return times


def _send(host: str, line: Line) -> None:
    address, _, port = host.partition(":")
    try:
        with socket.create_connection((address, int(port)), timeout=_PATIENCE) as connection:
            connection.sendall(line.wire(host))
            response = HTTPResponse(connection, method=line.method)
            response.begin()
            response.read()
    except (OSError, HTTPException):
        return  # a few of the odd ones are answered by hanging up
