"""The header Signature-Agent: a client says in it under which address its keys are published.

Web Bot Auth (draft-meunier-http-message-signatures-directory, IETF working group webbotauth, read 2026-11). As a claim
it is worth as much as a user agent: who names a refused agent in it is refused, and nobody is let in for it.
"""

import re
from collections.abc import Iterable, Sequence

from noai_guard.core.model import Agent

# A string, a dictionary of strings, parameters behind them, or a bare address: all forms name hosts after "//", and
# old clients the host alone.
_HOST = re.compile(rb'//(?:[^/@\s"\\]{0,256}@)?([a-z0-9._-]{1,253})', re.IGNORECASE)
_BARE_HOST = re.compile(rb'"?([a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){1,8})\.?"?', re.IGNORECASE)

MAX_HOSTS = 32
"""Hosts that are read of one header. Signers write one; who writes more is an unknown bot too."""


def named_hosts(value: bytes) -> tuple[str, ...]:
    """Return the hosts that a Signature-Agent names, in lower case; at most MAX_HOSTS."""
    hosts = dict.fromkeys(_clean(match[1]) for match in _HOST.finditer(value))
    if not hosts and (bare := _BARE_HOST.fullmatch(value.strip())):
        hosts = {_clean(bare[1]): None}
    return tuple(hosts)[:MAX_HOSTS]


def _clean(host: bytes) -> str:
    return host.decode("ascii").lower().rstrip(".")


def hosts_of(agent: Agent) -> tuple[str, ...]:
    """Return the hosts that an agent signs with; those that begin with a dot or `*` stand for many.

    `keys.*.example.com` has one label in the place of the star, `.example.com` any labels before it.
    """
    directories = (named_hosts(uri.encode()) for uri in agent.verify.get("web_bot_auth", ()))
    return tuple(dict.fromkeys((*agent.signature_agents, *(host for hosts in directories for host in hosts))))


class SignatureAgents:
    """The agents of a catalogue by the hosts that they sign with."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, agents: Iterable[Agent]) -> None:
        self._exact: dict[str, list[Agent]] = {}
        self._patterns: list[tuple[re.Pattern[str], Agent]] = []
        for agent in agents:
            for host in map(str.lower, hosts_of(agent)):
                if host.startswith(".") or "*" in host:
                    text = re.escape(host).replace(r"\*", "[^.]+")
                    text = f".+{text}" if host.startswith(".") else text
                    self._patterns.append((re.compile(text), agent))
                else:
                    self._exact.setdefault(host, []).append(agent)

    def named(self, value: bytes) -> Sequence[Agent]:
        """Return every agent whose host stands in a Signature-Agent, in the order of the hosts."""
        found: dict[Agent, None] = {}
        for host in named_hosts(value):
            found |= dict.fromkeys(self._exact.get(host, ()))
            found |= {agent: None for pattern, agent in self._patterns if pattern.fullmatch(host)}
        return tuple(found)
