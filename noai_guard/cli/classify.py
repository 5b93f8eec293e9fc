"""noai-guard classify: user agents in, JSON lines out, fast enough for a day of logs."""

import json
import sys
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import BinaryIO

import click

from noai_guard.cli.options import chosen_policy, name_policy, policy_option
from noai_guard.config import load_catalog
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.guard import Guard
from noai_guard.core.model import UNCLAIMED_AGENTS, Verdict

_BLOCK = 256 * 1024

_MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line that are read; some servers accept user agents of 10 MB."""


@click.command("classify")
@policy_option
def command(policy_file: str | None) -> None:
    """Read user agents, one a line, and print one JSON object a line, in the same order.

    \b
    {"ua": "GPTBot/1.3", "agent": "GPTBot", "operator": "OpenAI", "usages": ["train-ai"], "ai": true,
     "action": "deny"}

    agent and operator are null and usages is empty for a client in no catalogue; ai is true where a usage is
    train-ai, ai-search, ai-input, ai-agent, scraper or data-broker; action is what the policy does with a
    request for /. Lines end with LF or CRLF. A line that is not UTF-8 is read as Latin-1.

    \b
    Examples:
      cut -d'"' -f6 access.log | noai-guard classify
      echo 'CCBot/2.0' | noai-guard classify --policy noai.yaml
    """
    guard = Guard(chosen_policy(policy_file), load_catalog())
    convert(sys.stdin.buffer, sys.stdout.buffer, classifier(guard))
    name_policy(policy_file)


def classifier(guard: Guard) -> Callable[[bytes], bytes]:
    """Return a function from a user agent (a line without LF) to its JSON line (with LF)."""
    tails: BoundedCache[Verdict, bytes] = BoundedCache(_tail)

    def classified(line: bytes) -> bytes:
        user_agent = line.removesuffix(b"\r")
        try:
            text = user_agent.decode()
        except UnicodeDecodeError:
            text = user_agent.decode("latin-1")
        encoded = encode_basestring_ascii(text).encode("ascii")
        return b'{"ua": %b, %b' % (encoded, tails[guard.judged("/", user_agent)])

    return BoundedCache(classified, max_entries=65_536, max_weight=8 * 1024 * 1024).__getitem__


def _tail(verdict: Verdict) -> bytes:
    agent = None if verdict.agent in UNCLAIMED_AGENTS else verdict.agent
    about: dict[str, object] = {"agent": None, "operator": None, "usages": [], "ai": False}
    if agent:
        about = {"agent": agent.name, "operator": agent.operator, "usages": list(agent.usages), "ai": agent.ai}
    return json.dumps({**about, "action": verdict.action}).encode("ascii")[1:] + b"\n"


def convert(source: BinaryIO, sink: BinaryIO, classified: Callable[[bytes], bytes]) -> None:
    """Convert all lines from `source`, each as soon as it is complete, so that a person at a pipe sees it at once."""
    read = getattr(source, "read1", source.read)
    pending = bytearray()
    while block := read(_BLOCK):
        head, newline, rest = block.rpartition(b"\n")
        if newline:
            pending += head
            sink.write(b"".join(map(classified, bytes(pending).split(b"\n"))))
            sink.flush()
            pending = bytearray(rest)
        else:
            pending += block[: max(0, _MAX_LINE - len(pending))]
    if pending:
        sink.write(classified(bytes(pending)))
    sink.flush()
