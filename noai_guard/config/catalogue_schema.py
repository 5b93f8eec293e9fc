"""Reader of rules/agents/*.yaml. `AGENTS_FILE` is the one table of the keys in an operator's file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from noai_guard.config import scalars
from noai_guard.config.regular_file import read_regular_file
from noai_guard.config.schema_types import FLAG, Choice, Field, ListOf, MapOf, Record, Rejection, Text
from noai_guard.config.yaml_nodes import MAX_BYTES, NodeContext, ProblemLog, TooManyProblems, parse, printable
from noai_guard.core.model import Usage
from noai_guard.core.user_agent_matcher import token_problem
from noai_guard.errors import CatalogInvalid, Problem


def _token(text: str) -> str | Rejection:
    problem = token_problem(text)
    return Rejection("C001", f"bad token {printable(text)!r}: {problem}", "see rules/README.md") if problem else text


def _product_token(text: str) -> str | Rejection:
    if re.fullmatch(r"[A-Za-z_-]+", text):
        return text
    hint = "letters, - and _; else robots_txt_tokens"
    return Rejection("C002", f"{printable(text)!r} is not an RFC 9309 product token", hint)


def _robots_token(text: str) -> str | Rejection:
    if re.fullmatch(r"[A-Za-z0-9_.!-]+( [A-Za-z0-9_.!-]+)*", text):
        return text
    message = f"{printable(text)!r} cannot stand in a robots.txt User-agent line"
    return Rejection("C002", message, "letters, digits, - _ .")


def _signature_agent(text: str) -> str | Rejection:
    if re.fullmatch(r"\.?([a-z0-9_-]+|\*)(\.([a-z0-9_-]+|\*))+", text):
        return text
    message = f"{printable(text)!r} is not a host of a Signature-Agent"
    return Rejection("C007", message, "keys.example.com; .example.com for all below; * for one label")


def _date(text: str) -> str | Rejection:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return Rejection("C008", f"{printable(text)!r} is not a date", "write YYYY-MM-DD")


def _words(*words: str) -> Choice:
    return Choice(dict.fromkeys(words, ""))


_usages = ListOf(Choice({usage.value: "" for usage in Usage}, code="P012", noun="usage"), min_items=1)
_texts = ListOf(Text())
_name = Text(max_length=100)
_long_text = Text(max_length=500)
_user_agents = ListOf(Text(max_length=3000), allow_single=False)

_OPT_OUT = Record(
    {
        "usages": Field(_usages, "the AI usages served under the same user agent", required=True),
        "by": Field(_name, "a robots-only product token, or noarchive; left out if the operator offers no way"),
    }
)
_VERIFY = Record(
    {
        "ips_uri": Field(_texts, "addresses of published ranges"),
        "reverse_dns": Field(_texts, "host name suffixes, beginning with a dot"),
        "web_bot_auth": Field(_texts, "signature agents"),
    }
)
_NETWORK = Text(scalars.network, 100)
_SOURCE = Record(
    {
        "url": Field(_long_text, "a public page", required=True),
        "retrieved": Field(Text(max_length=10), "YYYY-MM-DD", required=True),
    }
)
_SAMPLES = Record(
    {
        "match": Field(_user_agents, "user agents that must match"),
        "not": Field(_user_agents, "look-alikes that must not"),
    }
)
_AGENT = Record(
    {
        "name": Field(_name, "unique in the whole catalogue", required=True),
        "status": Field(_words("provisional", "stable", "retired"), "how sure we are", required=True),
        "rfc9309_product_token": Field(Text(_product_token, 100), "what robots.txt calls it"),
        "robots_txt_tokens": Field(ListOf(Text(_robots_token, 100)), "further names in robots.txt"),
        "expected_user_agent": Field(ListOf(Text(_token, 200)), "token forms, never regexes", required=True),
        "robots_only": Field(FLAG, "exists only in robots.txt, never as a user agent"),
        "trigger": Field(_words("crawler", "fetcher", "client"), "what sets it off", required=True),
        "usages": Field(_usages, "what the fetched content is used for", required=True),
        "opt_out": Field(_OPT_OUT, "how a site opts out of the AI part and keeps its search listing"),
        "rfc9309_compliance": Field(_words("claimed", "ignored", "unknown"), "what the operator says"),
        "verify": Field(_VERIFY, "how a claim can be checked"),
        "signature_agents": Field(ListOf(Text(_signature_agent, 255)), "hosts in its Signature-Agent, if others too"),
        "note": Field(_long_text, "a trap worth knowing"),
        "sources": Field(ListOf(_SOURCE, allow_single=False), "where the facts are from", required=True),
        "samples": Field(_SAMPLES, "the conformance corpus", required=True),
    }
)
HEADERS = MapOf(
    Text(scalars.header_name, max_length=64),
    ListOf(Text(scalars.header_word, max_length=100), min_items=1, max_items=50),
    max_items=10,
)
"""Conditions on header fields: name -> words of which one must be in the value, or the one word `present`."""

_NETWORK_LIST = ListOf(Text(scalars.network, max_length=64), max_items=10_000)
_OWN_AGENT = Record(
    {
        **{key: replace(entry, required=key in ("name", "usages")) for key, entry in _AGENT.fields.items()},
        "operator": Field(_name, "organisation that runs it"),
        "networks": Field(_NETWORK_LIST, "networks from which every request is the agent's"),
        "headers": Field(HEADERS, "header fields that every request of the agent has, and nobody else's"),
    }
)
OWN_AGENTS = ListOf(_OWN_AGENT, allow_single=False, max_items=500)
"""Agents that a site knows itself: entries of the catalogue of which only name and usages are needed."""

OWN_AGENTS_FILE = Record(
    {
        "operator": Field(_name, "organisation that runs the agents"),
        "url": Field(_long_text, "its site"),
        "agents": Field(OWN_AGENTS, "one entry each", required=True),
    }
)
AGENTS_FILE = Record(
    {
        "operator": Field(_name, "organisation that runs the agents", required=True),
        "url": Field(_long_text, "its site"),
        "agents": Field(ListOf(_AGENT, allow_single=False), "one entry each", required=True),
    }
)
RANGES_FILE = Record(
    {
        "uri": Field(_long_text, "where the operator publishes the list: an ips_uri of its agents", required=True),
        "published": Field(Text(_date, 10), "the day that the list itself says, YYYY-MM-DD", required=True),
        "networks": Field(ListOf(_NETWORK, max_items=100_000, min_items=1), "what it holds", required=True),
    }
)
_BROWSERS = Record(
    {
        "name": Field(_name, "kind of client", required=True),
        "user_agents": Field(_user_agents, "real ones", required=True),
    }
)
BROWSERS_FILE = Record(
    {"groups": Field(ListOf(_BROWSERS, allow_single=False), "user agents that must never be refused", required=True)}
)


@dataclass(frozen=True, slots=True)
class Samples:
    """The conformance corpus of one agent: user agents that must match, and look-alikes that must not."""

    agent: str
    match: tuple[str, ...]
    look_alikes: tuple[str, ...]


def agents_schema() -> dict[str, Any]:
    """Return the JSON Schema of rules/agents/*.yaml, generated from the table that reads them."""
    return AGENTS_FILE.root_schema("agent", "noai-guard catalogue file (rules/agents/*.yaml)")


def _read(file: Path, table: Record) -> tuple[dict[str, Any], ProblemLog]:
    try:
        text = read_regular_file(file, MAX_BYTES + 1)
    except OSError as error:
        log = ProblemLog(file.name)
        log.add("P001", f"cannot be read: {error.strerror}")
        return {}, log
    return _read_text(text, file.name, table)


def _read_text(text: bytes, name: str, table: Record) -> tuple[dict[str, Any], ProblemLog]:
    log = ProblemLog(name)
    data = None
    try:
        root = parse(text, log)
        data = table.read(NodeContext(root, (), log)) if root is not None else None
        if root is None and log.is_valid():
            log.add("P021", "the file says nothing", "remove it, or write what it is for")
    except TooManyProblems:
        pass
    return data or {}, log


def read_agent_files(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the agents of operator files as plain data. Raises CatalogInvalid with every problem of every file."""
    entries: list[dict[str, Any]] = []
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for file in sorted(files):
        data, log = _read(file, AGENTS_FILE)
        for index, entry in enumerate(data.get("agents", ())):
            name = (entry or {}).get("name", "")
            if first := seen.get(name.lower()):
                log.add("C003", f"agent {name!r} is already in {first}", "rename it", path=("agents", index, "name"))
            if name:
                seen[name.lower()] = file.name
            entries.append({"operator": data.get("operator", ""), **(entry or {})})
        problems += (problem for problem in log.problems if not problem.warning)
    if problems:
        raise CatalogInvalid(problems)
    return entries


def read_ranges_files(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the lists of networks of rules/ranges as plain data. Raises CatalogInvalid with every problem."""
    lists: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for file in sorted(files):
        data, log = _read(file, RANGES_FILE)
        if any(each.get("uri") == data.get("uri") for each in lists):
            log.add("C003", f"{data.get('uri')} stands in another file too", "remove one", path=("uri",))
        lists.append(data)
        problems += (problem for problem in log.problems if not problem.warning)
    if problems:
        raise CatalogInvalid(problems)
    return lists


def read_own_agents_file(file: Path) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    """Return the agents of one file of a site's own, as plain data, and its problems."""
    entries, problems = _own_agents(*_read(file, OWN_AGENTS_FILE))
    return entries, tuple(replace(problem, file=str(file)) for problem in problems)


def read_own_agents_text(text: bytes, name: str) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    """Return what `read_own_agents_file` returns, for the content of a file."""
    return _own_agents(*_read_text(text, name, OWN_AGENTS_FILE))


def _own_agents(data: Mapping[str, Any], log: ProblemLog) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    operator = {"operator": data["operator"]} if data.get("operator") else {}
    entries = [
        {**operator, **entry}
        for index, entry in enumerate(data.get("agents") or ())
        if entry and log.is_valid("agents", index)
    ]
    return entries, tuple(log.problems)


def samples_from(entry: Mapping[str, Any]) -> Samples:
    """Return the samples of an entry as `read_agent_files` returns it."""
    samples = entry["samples"]
    return Samples(entry["name"], tuple(samples.get("match", ())), tuple(samples.get("not", ())))


def read_browsers(file: Path) -> dict[str, tuple[str, ...]]:
    """Return the user agents of rules/browsers.yaml by group of clients. Raises CatalogInvalid with every problem."""
    data, log = _read(file, BROWSERS_FILE)
    if not log.is_valid():
        raise CatalogInvalid(log.problems)
    return {group["name"]: tuple(group["user_agents"]) for group in data["groups"]}
