"""rules/agents/*.yaml -> agents. `AGENTS_FILE` is the one table of what an operator's file may say."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noai_guard.config.schema_types import FLAG, Choice, Field, ListOf, Record, Text, Wrong
from noai_guard.config.yaml_nodes import NodeContext, ProblemLog, TooManyProblems, parse, shown
from noai_guard.core.model import Usage
from noai_guard.core.user_agent_matcher import token_problem
from noai_guard.errors import CatalogInvalid, Problem


def _token(text: str) -> str | Wrong:
    problem = token_problem(text)
    return Wrong("C001", f"bad token {shown(text)!r}: {problem}", "see rules/README.md") if problem else text


def _product_token(text: str) -> str | Wrong:
    if re.fullmatch(r"[A-Za-z_-]+", text):
        return text
    message = f"{shown(text)!r} is not an RFC 9309 product token"
    return Wrong("C002", message, "letters, - and _; else robots_txt_tokens")


def _robots_token(text: str) -> str | Wrong:
    if re.fullmatch(r"[A-Za-z0-9_.!-]+( [A-Za-z0-9_.!-]+)*", text):
        return text
    return Wrong("C002", f"{shown(text)!r} cannot stand in a robots.txt User-agent line", "letters, digits, - _ .")


def _words(*words: str) -> Choice:
    return Choice(dict.fromkeys(words, ""))


_usages = ListOf(Choice({usage.value: "" for usage in Usage}, code="P012", noun="usage"), least=1)
_texts = ListOf(Text())

_AGENT = Record(
    {
        "name": Field(Text(longest=100), "unique in the whole catalogue", required=True),
        "status": Field(_words("provisional", "stable", "retired"), "how sure we are", required=True),
        "rfc9309_product_token": Field(Text(_product_token, 100), "what robots.txt calls it"),
        "robots_txt_tokens": Field(ListOf(Text(_robots_token, 100)), "further names in robots.txt"),
        "expected_user_agent": Field(ListOf(Text(_token, 200)), "token forms, never regexes", required=True),
        "robots_only": Field(FLAG, "exists only in robots.txt, never as a user agent"),
        "trigger": Field(_words("crawler", "fetcher", "client"), "what sets it off", required=True),
        "usages": Field(_usages, "what the fetched content is used for", required=True),
        "opt_out": Field(
            Record(
                {
                    "usages": Field(_usages, "the AI usages served under the same user agent", required=True),
                    "by": Field(Text(longest=100), "a robots-only product token, or noarchive", required=True),
                }
            ),
            "how a site opts out of the AI part and keeps its search listing",
        ),
        "rfc9309_compliance": Field(_words("claimed", "ignored", "unknown"), "what the operator says"),
        "verify": Field(
            Record(
                {
                    "ips_uri": Field(_texts, "addresses of published ranges"),
                    "reverse_dns": Field(_texts, "host name suffixes, beginning with a dot"),
                    "web_bot_auth": Field(_texts, "signature agents"),
                }
            ),
            "how a claim can be checked",
        ),
        "note": Field(Text(longest=500), "a trap worth knowing"),
        "sources": Field(
            ListOf(
                Record(
                    {
                        "url": Field(Text(longest=500), "a public page", required=True),
                        "retrieved": Field(Text(longest=10), "YYYY-MM-DD", required=True),
                    }
                ),
                lone=False,
            ),
            "where the facts are from",
            required=True,
        ),
        "samples": Field(
            Record(
                {
                    "match": Field(ListOf(Text(longest=3000), lone=False), "user agents that must match"),
                    "not": Field(ListOf(Text(longest=3000), lone=False), "look-alikes that must not"),
                }
            ),
            "the conformance corpus",
            required=True,
        ),
    }
)
AGENTS_FILE = Record(
    {
        "operator": Field(Text(longest=100), "organisation that runs the agents", required=True),
        "url": Field(Text(longest=500), "its site"),
        "agents": Field(ListOf(_AGENT, lone=False), "one entry each", required=True),
    }
)
BROWSERS_FILE = Record(
    {
        "groups": Field(
            ListOf(
                Record(
                    {
                        "name": Field(Text(longest=100), "kind of client", required=True),
                        "user_agents": Field(ListOf(Text(longest=3000), lone=False), "real ones", required=True),
                    }
                ),
                lone=False,
            ),
            "user agents that must never be refused",
            required=True,
        )
    }
)


@dataclass(frozen=True, slots=True)
class Samples:
    """The conformance corpus of one agent."""

    agent: str
    match: tuple[str, ...]
    look_alikes: tuple[str, ...]


def agents_schema() -> dict[str, Any]:
    """The JSON Schema of rules/agents/*.yaml, generated from the table that reads them."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:noai-guard:schema:agent",
        "title": "noai-guard catalogue file (rules/agents/*.yaml)",
        **AGENTS_FILE.schema(),
    }


def _read(file: Path, table: Record) -> tuple[dict[str, Any], ProblemLog]:
    log = ProblemLog(file.name)
    said = None
    try:
        root = parse(file.read_bytes(), log)
        said = table.read(NodeContext(root, (), log)) if root is not None else None
        if root is None and log.sound():
            log.add("P021", "the file says nothing", "remove it, or write what it is for")
    except OSError as error:
        log.add("P001", f"cannot be read: {error.strerror}")
    except TooManyProblems:
        pass
    return said or {}, log


def read_agent_files(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Operator files -> agent entries as plain data. Raises CatalogInvalid with every problem of every file."""
    entries: list[dict[str, Any]] = []
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for file in sorted(files):
        said, log = _read(file, AGENTS_FILE)
        for number, entry in enumerate(said.get("agents", ())):
            name = (entry or {}).get("name", "")
            if first := seen.get(name.lower()):
                log.add("C003", f"agent {name!r} is already in {first}", "rename it", path=("agents", number, "name"))
            if name:
                seen[name.lower()] = file.name
            entries.append({"operator": said.get("operator", ""), **(entry or {})})
        problems += (problem for problem in log.problems if not problem.warning)
    if problems:
        raise CatalogInvalid(problems)
    return entries


def samples_from(entry: Mapping[str, Any]) -> Samples:
    samples = entry["samples"]
    return Samples(entry["name"], tuple(samples.get("match", ())), tuple(samples.get("not", ())))


def read_browsers(file: Path) -> dict[str, tuple[str, ...]]:
    """rules/browsers.yaml -> user agents by kind of client."""
    said, log = _read(file, BROWSERS_FILE)
    if not log.sound():
        raise CatalogInvalid(log.problems)
    return {group["name"]: tuple(group["user_agents"]) for group in said["groups"]}
