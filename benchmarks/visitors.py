"""User agents and tokens to measure with, the same in every run (seeded)."""

import re
from collections.abc import Mapping
from functools import cache
from random import Random
from string import ascii_lowercase
from typing import Any

from noai_guard import load_catalog
from noai_guard.config import rules_folder
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage

_VERSION = re.compile(rb"(?<=/)\d+")
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwxz", "aeiou"
_ENDINGS = ("Bot", "bot", "Spider", "-Crawler", "Fetcher", "-agent", "", "-bot")

MIX = {"browsers": 0.7, "apps": 0.15, "agents": 0.15}
"""Who visits: people's browsers, players and other apps, and agents."""


def _read(path: Any) -> Any:
    import yaml

    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def people() -> tuple[bytes, ...]:
    """User agents of people's software: rules/browsers.yaml."""
    groups = _read(rules_folder() / "browsers.yaml")["groups"]
    return tuple(text.encode("latin-1", "ignore") for group in groups for text in group["user_agents"])


@cache
def agents() -> tuple[bytes, ...]:
    """The sample user agents of rules/agents."""
    files = sorted((rules_folder() / "agents").glob("*.yaml"))
    return tuple(
        sample.encode("latin-1", "ignore")
        for file in files
        for agent in _read(file)["agents"]
        for sample in (agent.get("samples") or {}).get("match", ())
    )


def unique(kinds: Mapping[str, float], count: int, *, words: bool = False, seed: int = 1) -> list[bytes]:
    """`count` different user agents, of "browsers", "apps" and "agents" in the given shares.

    Made unique by their version numbers (one without any gets a number at its end), or, with `words`, by a word
    that never was before.
    """
    random = Random(seed)
    pools = {
        "browsers": [text for text in people() if text.startswith(b"Mozilla/")],
        "apps": [text for text in people() if not text.startswith(b"Mozilla/")],
        "agents": agents(),
    }
    made: dict[bytes, None] = {}
    while len(made) < count:
        sample = random.choice(pools[random.choices(list(kinds), list(kinds.values()))[0]])
        if words:
            changed = sample + b" " + bytes(random.choices(ascii_lowercase.encode(), k=9))
        else:
            number = b"%d" % random.randrange(1000, 10_000_000)
            changed = _VERSION.sub(number, sample, count=2)
        made[changed if changed != sample else sample + b" " + number] = None
    return list(made)


def copies(user_agents: list[bytes]) -> list[bytes]:
    """The same bytes in new objects, as a server makes them for each request: no hash is kept in them yet."""
    return [bytes(bytearray(user_agent)) for user_agent in user_agents]


def token_forms(count: int, seed: int = 2) -> list[str]:
    """`count` token forms: some of the packaged catalogue, or all of them and invented names beside them."""
    random = Random(seed)
    packaged = [form for agent in load_catalog().agents for form in agent.expected_user_agent]
    if count <= len(packaged):
        return random.sample(packaged, count)
    taken = {form.lower() for form in packaged}
    forms = list(packaged)
    while len(forms) < count:
        syllables = random.randrange(2, 5)
        stem = "".join(random.choice(_CONSONANTS) + random.choice(_VOWELS) for _ in range(syllables))
        form = stem.title() + random.choice(_CONSONANTS) + random.choice(_ENDINGS)
        if form.lower() not in taken:
            taken.add(form.lower())
            forms.append(form)
    return forms


def catalog_of(forms: list[str]) -> Catalog:
    """A catalogue with one agent for each token form."""
    return Catalog(Agent(f"agent-{number}", "bench", (Usage.TRAIN_AI,), (form,)) for number, form in enumerate(forms))
