"""The corpus, what the judge says of it, and a client that asks a running server all of it."""

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, rules_folder
from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from
from noai_guard.core.model import Action

Ask = tuple[str, bytes]
"""Path as it stands in the request line, user agent."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header field, line by line."""
        return [value for found, value in self.headers if found == name.lower()]


@cache
def corpus() -> tuple[bytes, ...]:
    """Every sample and look-alike of the catalogue and every browser, as written and in lower case."""
    entries = read_agent_files((rules_folder() / "agents").glob("*.yaml"))
    samples = [samples_from(entry) for entry in entries]
    browsers = read_browsers(rules_folder() / "browsers.yaml").values()
    texts = [text for found in samples for text in (*found.match, *found.look_alikes)]
    texts += [text for group in browsers for text in group]
    spelled = (spelling for text in texts for spelling in (text, text.lower()))
    return tuple(dict.fromkeys(spelling.encode() for spelling in spelled if "\n" not in spelling))


NAMES = ("GPTBot", "gptbot", "ClaudeBot", "CCBot", "Bytespider-x", "Bytespider", "Diffbot", "Cursor/1", "Ai2Bot Dolma",
         "Chrome", "Mozilla/5.0", "Safari/605.1", "facebookexternalhit/1.1", "Exabot/3.0", "NotGPTBot", "GPTBotter",
         "compatible; Claude/1", "AI2Bot", "img2dataset", "WordPress/6.1", "Zorgo", "Plix-5")  # fmt: skip
GLUE = (" ", "; ", "/1.2 ", " (", ") ", ", ", "/", "+", "-", "_", ".", ".1 ", ".com/", "@x.org ", "?a=", " +https://example.org/",
        " http://www.diffbot.com ", "://", "//", "=", ":", '"', "'", "|", "%")  # fmt: skip


def is_plain(user_agent: str) -> bool:
    """Whether expressions without look-around read it as the judge does (`noai_guard.targets.user_agent_regex`)."""
    if set("%\\?") & set(user_agent) or "." in re.sub(r"\.\d|diffbot\.com|example\.org", "", user_agent):
        return False
    if " " not in user_agent and set("+_") & set(user_agent):
        return False
    in_a_row = re.search(r"[.:][.:/]|/[.:]|///", user_agent.replace("://", ""))
    several = {agent.name for agent in load_catalog().candidates(user_agent.encode())}
    return user_agent.count("://") == user_agent.count("http") and not in_a_row and len(several) < 2


@cache
def neighbourhoods(count: int = 2000) -> tuple[bytes, ...]:
    """Names in every neighbourhood, some behind many words that nobody knows; the same in every run."""
    random = Random(5)
    found: list[str] = []
    while len(found) < count:
        before = "".join(f"Zo{number}rgo/1 " for number in range(random.choice((0, 0, 0, 5, 12, 13, 60))))
        parts = range(random.randrange(1, 4))
        text = "".join(random.choice(GLUE) + random.choice(NAMES) + random.choice(GLUE) for _ in parts)
        if is_plain((before + text).strip()):
            found.append((before + text).strip())
    return tuple(text.encode() for text in found)


def refusal(compiled: CompiledPolicy, path: str, user_agent: bytes) -> tuple[int, str]:
    """The status and the text of the refusal that the judge decides on; (0, "") where it lets in."""
    verdict = compiled.guard.judged(path, user_agent)
    if not verdict.refuses or verdict.action is Action.THROTTLE:
        return 0, ""
    found = compiled.refusal(verdict, path, "GET", ())
    return found.status, found.body.decode()


def ask_all(port: int, asks: Iterable[Ask], method: bytes = b"GET") -> Iterator[tuple[Ask, Answer]]:
    """Sends each request over kept connections, one after the other."""
    connection: _Connection | None = None
    for path, user_agent in asks:
        for attempt in (1, 2):
            if connection is None:
                connection = _Connection(port)
            try:
                answer, keep = connection.ask(path, user_agent, method)
            except (OSError, EOFError):
                connection.close()
                connection = None
                if attempt == 2:
                    raise
                continue
            break
        yield (path, user_agent), answer
        if not keep and connection is not None:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


def ask(port: int, path: str, user_agent: bytes, method: bytes = b"GET", headers: Sequence[bytes] = ()) -> Answer:
    connection = _Connection(port)
    try:
        return connection.ask(path, user_agent, method, headers)[0]
    finally:
        connection.close()


class _Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, path: str, user_agent: bytes, method: bytes, headers: Sequence[bytes] = ()) -> tuple[Answer, bool]:
        named = [b"User-Agent: " + user_agent] if user_agent else []
        lines = [method + b" " + path.encode() + b" HTTP/1.1", b"Host: music.example", *named, *headers, b"", b""]
        self._socket.sendall(b"\r\n".join(lines))
        return self._answer(method)

    def _answer(self, method: bytes) -> tuple[Answer, bool]:
        line = self._file.readline()
        if not line:
            raise EOFError
        status = int(line.split()[1])
        headers = []
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.strip().lower(), value.strip()))
        known = dict(headers)
        if method == b"HEAD" or status in (204, 304):
            body = b""
        elif known.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(iter(self._chunk, b""))
        elif "content-length" in known:
            body = self._file.read(int(known["content-length"]))
        else:
            body = self._file.read()
            known["connection"] = "close"
        return Answer(status, tuple(headers), body), known.get("connection", "").lower() != "close"

    def _chunk(self) -> bytes:
        size = int(self._file.readline().split(b";")[0], 16)
        data = self._file.read(size)
        self._file.readline()
        return data
