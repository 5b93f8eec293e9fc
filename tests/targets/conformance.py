"""The corpus of User-Agents, the expected refusals, and an HTTP client that sends them to a running server."""

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog, rules_folder
from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from
from noai_guard.core.catalog import rank
from noai_guard.core.model import Action, Usage, Verdict
from noai_guard.core.policy import Policy
from noai_guard.targets.plan import TargetPlan

GPTBOT = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot"
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"

Request = tuple[str, bytes]
"""Path as in the request line, User-Agent."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of a header field, line by line."""
        return [value for field, value in self.headers if field == name.lower()]


@cache
def corpus() -> tuple[bytes, ...]:
    """Return every sample and look-alike of the catalogue and every browser, as written and in lower case."""
    entries = read_agent_files((rules_folder() / "agents").glob("*.yaml"))
    samples = [samples_from(entry) for entry in entries]
    browsers = read_browsers(rules_folder() / "browsers.yaml").values()
    texts = [text for sample in samples for text in (*sample.match, *sample.look_alikes)]
    texts += [text for group in browsers for text in group]
    spelled = (spelling for text in texts for spelling in (text, text.lower()))
    return tuple(dict.fromkeys(spelling.encode() for spelling in spelled if "\n" not in spelling))


NAMES = ("GPTBot", "gptbot", "ClaudeBot", "CCBot", "Bytespider-x", "Bytespider", "Diffbot", "Cursor/1", "Ai2Bot Dolma",
         "Chrome", "Mozilla/5.0", "Safari/605.1", "facebookexternalhit/1.1", "Exabot/3.0", "NotGPTBot", "GPTBotter",
         "compatible; Claude/1", "AI2Bot", "img2dataset", "WordPress/6.1", "Zorgo", "Plix-5")  # fmt: skip
GLUE = (" ", "; ", "/1.2 ", " (", ") ", ", ", "/", "+", "-", "_", ".", ".1 ", ".com/", "@x.org ", "?a=", " +https://example.org/",
        " http://www.diffbot.com ", "://", "//", "=", ":", '"', "'", "|", "%")  # fmt: skip


def is_plain(user_agent: str) -> bool:
    """Return True if expressions without look-around are exact for this text (`noai_guard.targets.user_agent_regex`)."""
    if set("%\\?") & set(user_agent) or "." in re.sub(r"\.\d|diffbot\.com|example\.org", "", user_agent):
        return False
    if " " not in user_agent and set("+_") & set(user_agent):
        return False
    in_a_row = re.search(r"[.:][.:/]|/[.:]|///", user_agent.replace("://", ""))
    several = {agent.name for agent in load_catalog().candidates(user_agent.encode())}
    return user_agent.count("://") == user_agent.count("http") and not in_a_row and len(several) < 2


@cache
def names_in_context(count: int = 2000) -> tuple[bytes, ...]:
    """Return names in random contexts, some after many unknown words; the same in every run."""
    random = Random(5)
    texts: list[str] = []
    while len(texts) < count:
        before = "".join(f"Zo{number}rgo/1 " for number in range(random.choice((0, 0, 0, 5, 12, 13, 60))))
        parts = range(random.randrange(1, 4))
        text = "".join(random.choice(GLUE) + random.choice(NAMES) + random.choice(GLUE) for _ in parts)
        if is_plain((before + text).strip()):
            texts.append((before + text).strip())
    return tuple(text.encode() for text in texts)


SEVERAL_NAMES = (
    b"http.rb/2.2.2 (Mastodon/1.5.1; +https://example-masto-instance.org/)",
    b"okhttp/4.12.0/40.0 (Linux;Android 13) AndroidXMedia3/1.4.0",
    b"curl/7.69.1 Dalvik/2.1.0",
    b"IPF/1 CFNetwork/901.1 Darwin/17.6.0 Bytespider-x",
    b"Bytespider-x CFNetwork/901.1 Darwin/17.6.0",
    b"MoonshotBot/1.0 Radioline Stream Monitoring (tech@radioline.co)",
)
"""User-Agents of which the name that decides is not the first, and no plain word."""


RANDOM_SECTIONS = {
    "/press/**": "/press/2026/a",
    "/press/*.mp3": "/press/x.mp3",
    "/*/live/**": "/tracks/live/1",
    "/tracks/**": "/tracks/1",
    "/audio": "/audio",
    "/audio/*/stems/**": "/audio/x/stems/y",
}
"""Patterns of sections and rules of random policies -> a path that matches them."""


def random_policy(random: Random) -> bytes:
    """Return a policy of random actions for some usages, sections and agents."""
    actions = ("allow", "deny", "license_required")

    def usages(share: float) -> str:
        chosen = (f"{usage}: {random.choice(actions)}" for usage in Usage if random.random() < share)
        return f"usages: {{{', '.join(chosen)}}}"

    lines = [f"extends: {random.choice(('no-ai', 'search-only', 'no-training'))}", usages(0.5), "paths:"]
    sections = random.sample(list(RANDOM_SECTIONS), random.randrange(4))
    lines += [f'  "{glob}": {{{usages(0.3)}}}' for glob in sections] if sections else ["  {}"]
    if random.random() < 0.3:
        agent = random.choice([agent.name for agent in load_catalog().agents if agent.expected_user_agent])
        paths = random.choice(("", f'paths: ["{random.choice(list(RANDOM_SECTIONS))}"], '))
        lines.append(f'rules: [{{id: one, agents: ["{agent}"], {paths}action: {random.choice(actions)}}}]')
    return "\n".join((*lines, "")).encode()


def random_user_agents(random: Random, plan: TargetPlan, count: int) -> list[bytes]:
    """Return texts of one to three User-Agents of the corpus, without those that expressions do not tell apart.

    These are a name with plus signs beside one with blanks, and a longer name that masks a shorter one beside a third.
    No semicolon stands between them, with which some names begin.
    """
    samples = [text for text in corpus() if len(text) < 300 and (b" " in text or b"+" not in text)]
    masking = {token.value for token, inner in plan.containing_tokens if min(map(rank, inner)) <= rank(token.value)}
    texts: list[bytes] = []
    while len(texts) < count:
        text = random.choice((b" ", b", ", b" (")).join(random.choices(samples, k=random.choice((1, 2, 2, 3))))
        named = plan.compiled.catalog.candidates(text)
        if len(named) < 2 or masking.isdisjoint(named):
            texts.append(text)
    return texts


RICH = b"""
extends: search-only
site: {url: "https://music.example", owner: 'Example "$Records"', contact: "mailto:rights@music.example"}
usages: {ai-search: license_required}
paths:
  /press/**: {usages: {train-ai: allow, ai-search: allow}}
  /tracks/*/stems/**: {usages: {search: deny}}
  /caf\xc3\xa9/*.mp3: {usages: {preview: deny}}
rules:
  - {id: partner, agents: [ClaudeBot], paths: [/partner/**], action: allow}
  - {id: nobody, agents: [GPTBot], paths: [/open/**], action: license_required, message: 'Ask "us" for $5 \\ a {copy}; thanks'}
exemptions: {paths: [/health], agents: [CCBot], addresses: [192.0.2.0/24]}
"""
"""A policy with every feature that targets can have."""


@cache
def policy(text: bytes) -> Policy:
    """Return the policy of a text; the same object for the same text."""
    parsed, problems = check_policy_text(text)
    assert parsed is not None, problems
    return parsed


NO_AI = policy(b"extends: no-ai")


def judged_target(compiled: CompiledPolicy, target: bytes, user_agent: bytes) -> Verdict:
    """Return the guard's verdict on a target as it stands in the request line."""
    guard = compiled.guard
    return guard.table.verdict(guard.claims[user_agent], guard.table.target_classes[(target.partition(b"?")[0],)])


def refusal(compiled: CompiledPolicy, path: str | bytes, user_agent: bytes) -> tuple[int, str]:
    """Return the status and the text of the refusal that the guard decides on; (0, "") if it allows.

    A path in bytes is a target as it stands in the request line.
    """
    if isinstance(path, bytes):
        verdict = judged_target(compiled, path, user_agent)
        path = "/"
    else:
        verdict = compiled.guard.judged(path, user_agent)
    if not verdict.refuses or verdict.action is Action.THROTTLE:
        return 0, ""
    response = compiled.refusal(verdict, path, "GET", ())
    return response.status, response.body.decode()


def fetch_all(port: int, requests: Iterable[Request], method: bytes = b"GET") -> Iterator[tuple[Request, Response]]:
    """Send the requests one after the other over persistent connections, and yield each with its response."""
    connection: _Connection | None = None
    for path, user_agent in requests:
        for attempt in (1, 2):
            if connection is None:
                connection = _Connection(port)
            try:
                response, keep = connection.fetch(path, user_agent, method)
            except (OSError, EOFError):
                connection.close()
                connection = None
                if attempt == 2:
                    raise
                continue
            break
        yield (path, user_agent), response
        if not keep and connection is not None:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


def fetch(port: int, path: str, user_agent: bytes, method: bytes = b"GET", headers: Sequence[bytes] = ()) -> Response:
    connection = _Connection(port)
    try:
        return connection.fetch(path, user_agent, method, headers)[0]
    finally:
        connection.close()


class _Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def fetch(
        self, path: str, user_agent: bytes, method: bytes, headers: Sequence[bytes] = ()
    ) -> tuple[Response, bool]:
        client = [b"User-Agent: " + user_agent] if user_agent else []
        return self.send(path.encode(), [*client, *headers], method)

    def send(self, target: bytes, headers: Sequence[bytes], method: bytes) -> tuple[Response, bool]:
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: music.example", *headers, b"", b""]
        self._socket.sendall(b"\r\n".join(lines))
        return self._read_response(method)

    def _read_response(self, method: bytes) -> tuple[Response, bool]:
        line = self._file.readline()
        if not line:
            raise EOFError
        status = int(line.split()[1])
        headers = []
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.strip().lower(), value.strip()))
        fields = dict(headers)
        if method == b"HEAD" or status in (204, 304):
            body = b""
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(iter(self._chunk, b""))
        elif "content-length" in fields:
            body = self._file.read(int(fields["content-length"]))
        else:
            body = self._file.read()
            fields["connection"] = "close"
        return Response(status, tuple(headers), body), fields.get("connection", "").lower() != "close"

    def _chunk(self) -> bytes:
        size = int(self._file.readline().split(b";")[0], 16)
        data = self._file.read(size)
        self._file.readline()
        return data


def ask(port: int, target: bytes, lines: Sequence[bytes], method: bytes = b"GET") -> int:
    """Send one request with exactly this target and these header lines; return the status, 0 if there was no response."""
    connection = _Connection(port)
    try:
        return connection.send(target, lines, method)[0].status
    except (OSError, EOFError):
        return 0
    finally:
        connection.close()


def user_agent_lines(*user_agents: bytes) -> list[bytes]:
    return [b"User-Agent: " + user_agent for user_agent in user_agents]


NAMED_SOMEWHERE = {
    "User-Agent is named in Connection": [b"Connection: close, User-Agent", *user_agent_lines(b"GPTBot/1.3")],
    "in several lines and any case": [
        b"connection: keep-alive",
        b"CONNECTION: x,uSER-aGENT ",
        *user_agent_lines(GPTBOT),
    ],
    "the last of two lines": user_agent_lines(BROWSER, b"GPTBot/1.3"),
    "the first of two lines": user_agent_lines(GPTBOT, BROWSER),
    "the third of five lines": user_agent_lines(BROWSER, BROWSER, b"ClaudeBot/1.0", BROWSER, BROWSER),
    "behind 90 other fields": [*(b"x%d: a" % number for number in range(60)), *user_agent_lines(GPTBOT)],
    "in the middle": user_agent_lines(b"Mozilla/5.0" + b" Foo/1.0" * 180 + b" CCBot/2.0 " + b"Foo/1.0 " * 180),
    "in the middle, inside of a word": user_agent_lines(b"x" * 1800 + b"gPtBoT" + b"x" * 900),
    "after 24 that look alike": user_agent_lines(b"xgptbot " * 24 + b"GPTBot/1.3"),
    "after many that look alike": user_agent_lines(b"xccbot gptbots " * 40 + b"CCBot/2.0"),
    "at the end of 7 KB": user_agent_lines(BROWSER + b" Foo/1.0" * 860 + b" GPTBot/1.3"),
    "after 1,400 letters": user_agent_lines(b"a" * 1400 + b" GPTBot/1.3"),
    "after 1,400 characters of one chunk": user_agent_lines(b"x.1/" * 350 + b" GPTBot/1.3"),
    "inside of a word, in several lines that are long together": user_agent_lines(
        b"x" * 1100 + b"GPTBot" + b"x" * 100, b"y" * 800
    ),
    "before an escape": user_agent_lines(b"GPTBot%41"),
    "behind an escaped blank": user_agent_lines(b"Mozilla/5.0%20GPTBot/1.3"),
    "behind a blank that is escaped twice": user_agent_lines(b"Mozilla/5.0%2520GPTBot/1.3"),
    "behind an escape that ends with a letter": user_agent_lines(b"Mozilla/5.0 (compatible;%2CGPTBot/1.3)"),
    "behind a line feed as in a log": user_agent_lines(b"Mozilla/5.0\\nGPTBot/1.3"),
    "of two words behind a line feed as in a log": user_agent_lines(b"Mozilla/5.0\\naranea web"),
    "behind a quote as in a log": user_agent_lines(b"Mozilla/5.0 x\\x22GPTBot/1.3 x"),
    "with an escaped hyphen": user_agent_lines(b"tongyi\\x2dbot/1.0"),
    "beside a byte that is no character": user_agent_lines(b"Mozilla/5.0 \xff (GPTBot/1.3)"),
    "behind a sign that folds to a letter": user_agent_lines("Mozilla/5.0 (\u212aGPTBot/1.3)".encode()),
    "before a sign that folds to a letter": user_agent_lines("Mozilla/5.0 (GPTBot\u017f)".encode()),
    "in the middle of 1,600 bytes of two each": user_agent_lines("é".encode() * 550 + b"xGPTBotx" + b"x" * 500),
    "in the middle of 1,600 bytes that are no characters": user_agent_lines(b"\xe9" * 1100 + b"xGPTBotx" + b"x" * 500),
    "by an escaped letter": user_agent_lines(b"Mozilla/5.0 (compatible; %47PTBot/1.3)"),
    "by a letter that is escaped twice": user_agent_lines(b"%2547PTBot/1.3"),
    "by a letter that is escaped as in a log": user_agent_lines(b"GPT\\x42ot/1.3"),
    "before an escape of a log": user_agent_lines(b"Mozilla/5.0 (compatible; GPTBot\\x41)"),
}
"""Header lines of requests that name a refused agent somewhere."""

NAMED_NOWHERE = {
    "a browser": user_agent_lines(BROWSER),
    "nobody": [],
    "nobody, with Connection": [b"Connection: keep-alive"],
    "nobody, with other fields": [b"Accept: */*", b"Range: bytes=0-", b"Icy-MetaData: 1", b"X-Forwarded-For: 192.0.2.1"],
    "2,212 bytes": user_agent_lines(b"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; " + b".NET CLR 3.5.30729; " * 108 + b")"),
    "7 KB": user_agent_lines(b"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; " + b".NET CLR 3.5.30729; " * 340 + b")"),
    "1,500 letters": user_agent_lines(b"a" * 1500),
    "an app that encodes its name": user_agent_lines(b"My%20Band%26Friends/3 CFNetwork/1408.0.4 Darwin/22.5.0"),
    "an app in Chinese": user_agent_lines(b"%E9%85%B7%E6%88%91%E9%9F%B3%E4%B9%90/1 CFNetwork/1408.0.4 Darwin/22.5.0"),
    "two browsers": user_agent_lines(BROWSER, b"VLC/3.0.20 LibVLC/3.0.20"),
    "Connection names the User-Agent of a browser": [b"Connection: close, User-Agent", *user_agent_lines(BROWSER)],
}  # fmt: skip
"""Header lines of requests that name nobody who is refused."""

SECTIONS = b"""
extends: no-ai
usages: {ai-search: allow}
paths:
  /press/**: {usages: {train-ai: allow}}
  /Shop/**: {usages: {train-ai: license_required}}
  /Tracks/**: {usages: {ai-search: deny}}
  /\xc3\x89t\xc3\xa9/**: {usages: {ai-search: deny}}
exemptions: {paths: [/health]}
"""
"""A policy whose sections are milder, in between, stricter, and stricter in a spelling with upper case, than the whole
site."""

ODD_PATHS = (
    b"/songs/1/../../press/y", b"/songs/1/..%2f..%2fpress%2fy", b"/songs/1/%2e%2e/%2E%2e/press/y", b"/songs/.%2e/press/y",
    b"/press/..%2f../songs/1", b"/press/../songs/1", b"/press/%2e%2e/songs/1", b"//songs/1", b"/press//../songs/1",
    b"/press/..;/songs/1", b"/songs/1;/../../press/y", b"/songs/1/..;/../press/y", b"/songs/x/..%3b/../press/y",
    b"/press\\..\\..\\songs\\1", b"/songs/..%5cpress/y", b"/press/%252e%252e/songs/1", b"/press/..%252fsongs/1",
    b"/press/..%c0%afsongs/1", b"/press/%c0%ae%c0%ae/songs/1", b"/press/%e0%80%ae%e0%80%ae/songs", b"/press/x%00/../../songs/1",
    b"/health%00/../songs/1", b"/health/..%2fsongs/1", b"/press%2f..%2fsongs/1", b"//press/songs/1", b"/./press/y",
    b"/songs%2f1/../press/y", b"http://music.example/songs/../press/y", b"/press/y?a=/../b", b"/%70ress/y", b"/press/y%0a",
    b"/songs/1/..%2f..%2frobots.txt", b"/songs/1/../../robots.txt", b"//robots.txt", b"/songs/1/..%2f..%2f.well-known%2facme-challenge%2fx",
    b"/.well-known/acme-challenge/../../songs/1", b"/.well-known/acme-challenge/..%2f..%2fsongs/1",
    b"/tracks/1", b"/TRACKS/1", b"/tRACKS/", b"/%74racks/1", b"/Tracks/1", b"/PRESS/y", b"/Shop/1", b"/SHOP/1", b"/%C3%89t%C3%A9/a", b"/%C3%A9T%C3%89/a", b"*",
    b"/Tracks#x", b"/tracks#", b"/Tracks#?x", b"/press/x#/../../songs/1", b"/songs#/../press/y",
)  # fmt: skip
"""Targets that servers read in different ways."""

_PIECES = ("/", "/", "press", "songs", "members", "Members", "Tracks", "tracks", "TRACKS", "health", "1", "y", ".", "..", "/../", "/./", "//", "%2f", "%2F",
           "%2e", "%252e", "%252f", "%25", ";", ";a=1", "%3b", "\\", "%5c", "%00", "%c0%ae", "%C0%AF", "%e0%80%af", "%CA%BF", "%C3%A9",
           "%C3%89t", "robots.txt", ".well-known/acme-challenge/", "%70", "?a=b", "*")  # fmt: skip


def odd_paths(count: int) -> list[bytes]:
    """Return random targets of such pieces; the same in every run."""
    random = Random(7)
    return [("/" + "".join(random.choices(_PIECES, k=random.randrange(2, 9)))).encode() for _ in range(count)]


MEMBERS = b"""
extends: no-ai
rules:
  - {id: members, identities: [unclaimed], paths: ["/Members/**", "/\xc3\xa9tage/*.mp3"], action: deny}
  - {id: stems, agents: [Googlebot], paths: [/tracks/*/stems/**], action: license_required}
"""
"""A policy that refuses people on some paths."""

LETTERS = (b"/song/%CA%BF%C0%AE.html", b"/music/%C0%AE%B0%C8.html", b"/%C0%AF.html", b"/song/\xca\xbf\xc0\xae.html",
           b"/caf%C3%A9/a%20b;v=1//x", b"/100%25.mp3")  # fmt: skip
"""Paths in EUC-JP (Heisei), GBK (laba), EUC-KR (yu) and other odd ones, as people have them."""

CERTIFICATE_CHECKS = (b"/.well-known/acme-challenge/tok_En-1", b"/.well-known/pki-validation/fileauth.txt")
