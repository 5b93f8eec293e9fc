"""Lists of networks in the forms in which operators publish them, and when a list is not taken."""

import html
import json
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Any

from noai_guard.core.networks import merged, parse_network

MAX_NETWORKS = 100_000
WIDEST = {4: 8, 6: 19}
"""Shortest prefix of a network that is taken: nobody crawls from more, and a list that says so is wrong."""

MAX_CHANGE = 4
"""A list that covers so many times more or fewer addresses than the one before is not taken."""

_KEYS = ("ipv4Prefix", "ipv6Prefix", "ip_prefix", "ipv6_prefix")
_MAX_LOOKBACK = 4096


class BadRanges(ValueError):
    """A list that is not taken; the message says why."""


def read_ranges(body: bytes) -> tuple[str, ...]:
    """Return the networks of a document, canonical, merged and sorted. Raises BadRanges.

    Read are the JSON that Google, Bing, OpenAI, Apple and others publish, JAFAR 1, Amazon's (also inside an HTML page),
    a JSON list of texts, and one network a line.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRanges("it is not UTF-8 text") from None
    networks = []
    for listed in _texts(text):
        try:
            networks.append(parse_network(listed))
        except ValueError:
            raise BadRanges(f"it holds {listed[:60]!r}, which is no network") from None
        if len(networks) > MAX_NETWORKS:
            raise BadRanges(f"it holds more than {MAX_NETWORKS:,} networks")
    if not networks:
        raise BadRanges("it holds no network")
    for network in networks:
        if network.prefixlen < WIDEST[network.version]:
            raise BadRanges(f"it holds {network}, which is wider than /{WIDEST[network.version]}")
        if not network.is_global or network.is_multicast:
            raise BadRanges(f"it holds {network}, which is not of the public network")
    return tuple(map(str, merged(networks)))


def change_problem(before: Sequence[str], after: Sequence[str]) -> str:
    """Return why a list cannot take the place of the one before, or an empty text."""
    for version in (4, 6):
        old, new = _size(before, version), _size(after, version)
        # A family that an operator begins with is none that it had before.
        if old and new > MAX_CHANGE * old:
            return f"it covers {new / old:.1f} times as many IPv{version} addresses as before"
        if old > MAX_CHANGE * new:
            return f"it covers {100 * new / old:.0f} % of the IPv{version} addresses of before"
    return ""


def _size(networks: Iterable[str], version: int) -> int:
    """Return the number of addresses; of IPv6, of /64 networks, since nobody counts less."""
    parsed = (ip_network(text) for text in networks)
    bits = 32 if version == 4 else 64
    return sum(1 << max(0, bits - network.prefixlen) for network in parsed if network.version == version)


def _texts(text: str) -> Iterable[str]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _of_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            if isinstance(error, BadRanges):
                raise
            raise BadRanges("it is JSON that cannot be read") from None
    if "<" in text:
        return _of_json(_embedded(html.unescape(text)))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _of_json(content: list[Any] | dict[str, Any]) -> list[str]:
    if isinstance(content, list):
        return [str(each) for each in content]
    version = str(content.get("formatVersion", "1"))
    if version.partition(".")[0] != "1":
        raise BadRanges(f"its format is of version {version[:20]}, and only 1 is known")
    texts = []
    for entries in (content.get("prefixes"), content.get("ipv6_prefixes")):
        for entry in entries if isinstance(entries, list) else ():
            named = [entry[key] for key in _KEYS if key in entry] if isinstance(entry, dict) else [entry]
            # JAFAR: an entry with both families is to be ignored.
            texts += [str(each) for each in named] if len(named) == 1 else []
    return texts


def _embedded(page: str) -> Any:
    """Return the JSON object with `prefixes` that stands in a page."""
    at = page.find('"prefixes"')
    start = at
    while at >= 0 and (start := page.rfind("{", max(0, at - _MAX_LOOKBACK), start)) >= 0:
        try:
            content, _ = json.JSONDecoder().raw_decode(page, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict) and "prefixes" in content:
            return content
    raise BadRanges("it is a page without a list")
