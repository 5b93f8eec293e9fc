"""Requests as clients send them, and what the judge says of each: what a replay of their log must come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.client_address import client_address
from noai_guard.core.identity.addresses import doubt
from noai_guard.core.paths import normal_path
from noai_guard.core.questions import run
from noai_guard.core.request import PlainRequest
from noai_guard.replay.judge import DOCUMENT, Decision
from noai_guard.replay.tally import Tally
from noai_guard.stores.memory import MemoryStore

POLICY = b"""
extends: no-ai
works: ["/audio/{work}.mp3", "/hls/{work}/**", "/tracks/{work}"]
paths:
  /press/**: {usages: {train-ai: allow}}
  /Archive/*.mp3: {usages: {search: deny}}
exemptions:
  paths: ["/feed.xml"]
rules:
  - {id: no-curl, agents: [curl], paths: ["/audio/**"], action: deny}
"""

OTHER_POLICY = b"extends: no-training\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it goes over the wire."""

    target: bytes
    user_agent: bytes | None = None
    method: bytes = b"GET"
    referer: bytes = b""
    address: str = "127.0.0.1"

    def head(self, connection: bytes = b"close") -> bytes:
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"Host: music.example", b"Connection: " + connection]
        if self.user_agent is not None:
            lines.append(b"User-Agent: " + self.user_agent)
        if self.referer:
            lines.append(b"Referer: " + self.referer)
        return b"\r\n".join(lines) + b"\r\n\r\n"


BROWSER = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
GPTBOT = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)"

_TARGETS = (
    b"/", b"/robots.txt", b"/tracks/night", b"/audio/night.mp3?t=1", b"/audio/night.mp3", b"/hls/night/seg1.ts",
    b"/hls/night/seg2.ts", b"/press/kit.zip", b"/PRESS/kit.zip", b"/Archive/old.mp3", b"/archive/OLD.MP3", b"/feed.xml",
    b"/a/../press/x", b"//press/x", b"/press%2fx", b"/tr%61cks/night", b"/tracks/caf%C3%A9", b"/audio/a;b.mp3",
    b"/static/app.css", b"/.well-known/noai",
)  # fmt: skip
_USER_AGENTS = (
    BROWSER, GPTBOT, b"curl/8.5.0", b"-", None, b"SomeNewBot/1.0 (+https://bot.example)", b"Googlebot/2.1",
    b'quoted "GPTBot/1.3" \\ back', b"caf\xc3\xa9/1.0 ClaudeBot", b"Foo%20GPTBot/1.0", b"tab\tCCBot/2.0",
    b"brace{d}|pipe#x GPTBot",
)  # fmt: skip

REQUESTS: Sequence[Sent] = (
    *(Sent(target, user_agent) for target in _TARGETS for user_agent in _USER_AGENTS),
    *(Sent(b"/robots.txt", GPTBOT, method) for method in (b"HEAD", b"POST")),
    *(Sent(b"/audio/night.mp3", GPTBOT, referer=b"https://music.example/tracks/night") for _ in range(5)),
)


def compiled(text: bytes = POLICY) -> CompiledPolicy:
    """Return a policy with the packaged catalogue."""
    policy, problems = check_policy_text(text)
    assert policy is not None, problems
    return CompiledPolicy(policy, load_catalog())


Counts = Counter[tuple[str, str, str]]
"""Requests by agent, action and rule."""


def judged(policy: CompiledPolicy, requests: Sequence[Sent], at: float) -> Counts:
    """Return what the judge says of each request, one by one."""
    counts: Counts = Counter()
    store = MemoryStore()
    for sent in requests:
        raw = sent.target.partition(b"?")[0]
        path = normal_path(unquote_to_bytes(raw).decode("utf-8", "replace"))
        if path in policy.documents and sent.method in (b"GET", b"HEAD"):
            counts["", "allow", DOCUMENT] += 1
            continue
        headers = [(b"user-agent", sent.user_agent)] if sent.user_agent not in (None, b"-") else []
        client = client_address(sent.address, ())
        request = PlainRequest(path, headers)
        examination = policy.guard.examine(
            request, client.address, at, path_class=policy.guard.table.target_classes[(raw,)],
            doubt=doubt(client, (), policy.policy.trusted_proxies),
        )  # fmt: skip
        verdict = run(examination, store, lambda question, error: None)
        agent = verdict.agent.name if verdict.agent and verdict.agent.name not in ("unknown-bot", "nameless") else ""
        counts[agent, str(verdict.action), verdict.rule] += 1
    return counts


def counted(tally: Tally, number: int = 0) -> Counts:
    """Return what a replay has counted, by the policy with a number."""
    counts: Counts = Counter()
    for outcome, sums in zip(tally.outcomes, tally.sums, strict=True):
        decision: Decision = outcome[number]
        counts[decision.agent, str(decision.action), decision.rule] += sums.requests
    return counts


def works(requests: Sequence[Sent], policy: CompiledPolicy) -> int:
    """Return the number of distinct works that requests are for."""
    named: set[Any] = {
        policy.policy.works.work_of(normal_path(unquote_to_bytes(each.target.partition(b"?")[0]).decode("utf-8", "replace")))
        for each in requests
    }  # fmt: skip
    return len(named - {""})
