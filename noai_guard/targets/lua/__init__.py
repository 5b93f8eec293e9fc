"""A policy as Lua: the judge and all that it looks up, for servers that run Lua (5.1 to 5.4, LuaJIT).

The judge reads user agents and paths as the Python does, step by step: the two must be changed together, and
tests/targets/lua/test_lua.py holds them against each other.
"""

import re
from collections.abc import Iterable, Iterator

from noai_guard.core.catalog import rank
from noai_guard.core.model import Agent, HeaderField
from noai_guard.core.path_patterns import glob_chains
from noai_guard.core.user_agent_matcher import Token
from noai_guard.responses.documents import document_headers
from noai_guard.targets.lua import addresses, judge, paths, user_agents
from noai_guard.targets.plan import AgentClass, Decision, TargetPlan

Answer = tuple[int, tuple[HeaderField, ...]]

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\\n"}


def quote(text: str | bytes) -> str:
    """A text as a Lua string that means its bytes, in UTF-8. A line feed stays one, behind a backslash."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return '"' + "".join(map(_in_string, raw.decode("utf-8", "surrogateescape"))) + '"'


def _in_string(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03d}" for byte in character.encode("utf-8", "surrogateescape"))


def guard_source(plan: TargetPlan) -> str:
    """A chunk that leaves `guard` behind, a local; the same plan gives the same text.

    `guard.agent(user_agent)` and `guard.path_of(target)` give what `guard.decision(agent, path)` takes.
    """
    parts = (user_agents.SOURCE, paths.SOURCE, addresses.SOURCE, judge.SOURCE)
    return "".join(parts) + "\n".join(_policy(plan)) + "\n"


def _policy(plan: TargetPlan) -> Iterator[str]:
    harmful = [found for found in (*plan.classes, plan.unclaimed, plan.unknown_bot) if not found.harmless]
    decisions = list(dict.fromkeys(decision for found in harmful for decision in found.decisions))
    path_sets = {path_set.name: number for number, path_set in enumerate(plan.path_sets, 1)}
    # Sorted by name, which decides last (`noai_guard.core.catalog`).
    agents = sorted({token.value for token in plan.tokens}, key=lambda agent: agent.name)
    yield "local guard = new_guard({"
    yield "-- What outweighs what (0: all), class, name, whom a refusal speaks to; by name."
    yield f"agents = {quote(_lines(_agent(plan, agent) for agent in agents))},"
    yield "-- The word by which a user agent is first looked at, place of the agent above, token."
    places = {agent: place for place, agent in enumerate(agents, 1)}
    yield f"tokens = {quote(_lines(_token(token, places) for token in plan.tokens))},"
    yield f"unknown_bots = {_true(plan.asks_unknown_bots or not plan.unclaimed.harmless)},"
    yield "classes = {"
    yield from (f"  {found.name} = {{{_class(found, decisions, path_sets)}}}," for found in harmful)
    yield "},"
    yield "decisions = {"
    refusals = answers(plan)
    yield from (f"  {_decision(plan, decision, refusals)}," for decision in decisions)
    yield "},"
    yield "answers = {"
    yield from (f"  {{status = {status}, headers = {_fields(own)}}}," for status, own in refusals)
    yield "},"
    yield "path_sets = {"
    yield from (f"  {{{', '.join(map(_glob, path_set.globs))}}}," for path_set in plan.path_sets)
    yield "},"
    path_policies = (
        f"{{paths = {path_sets[path_set.name]}, number = {number}}}" for path_set, number in plan.path_policies
    )
    yield f"sections = {{{', '.join(path_policies)}}},"
    yield f"declared = {declared(plan)},"
    yield f"addresses = {{{', '.join(quote(str(network)) for network in plan.exempt_networks)}}},"
    yield "documents = {"
    for document in plan.documents:
        headers = [field for field in document_headers(document) if field[0] != b"content-length"]
        etag = dict(headers)[b"etag"].decode("ascii")
        body = quote(document.body)
        yield f"  [{quote(document.path)}] = {{headers = {_fields(headers)}, etag = {quote(etag)}, body = {body}}},"
    yield "},"
    yield "})"


def _agent(plan: TargetPlan, agent: Agent) -> str:
    name = re.sub(r"[^ -~]", "?", agent.name)
    return f"{rank(agent)}\t{plan.class_of(agent).name}\t{name}\t{plan.who(agent)}"


def _token(token: Token[Agent], places: dict[Agent, int]) -> str:
    text = token.text.decode("ascii")
    if token.host:
        form = f"//{text}{token.path.decode('ascii')}"
    else:
        form = f"{'^' * token.at_start}{text}{'*' * token.family}"
    return f"{token.anchor.decode('ascii')}\t{places[token.value]}\t{form}"


def _class(found: AgentClass, decisions: list[Decision], path_sets: dict[str, int]) -> str:
    rows = []
    for decision in found.decisions:
        where = "" if decision.paths is None else f"paths = {path_sets[decision.paths.name]}, "
        rows.append(f"{{{where}decision = {decisions.index(decision) + 1}}}")
    return ", ".join(rows)


def _decision(plan: TargetPlan, decision: Decision, refusals: list[Answer]) -> str:
    said = re.sub(r"[^ -~]", "?", f"{decision.word}; rule={decision.verdict.rule}; agent=")
    if not decision.status:
        return f"{{said = {quote(said)}}}"
    answer = refusals.index(_answer(plan, decision)) + 1
    return f"{{said = {quote(said)}, answer = {answer}, tail = {quote(decision.tail)}}}"


def answers(plan: TargetPlan) -> list[Answer]:
    """The status of each kind of refusal, and its header fields beside those that every response declares."""
    classes = (*plan.classes, plan.unclaimed, plan.unknown_bot)
    decisions = (decision for found in classes for decision in found.decisions if decision.status)
    return list(dict.fromkeys(_answer(plan, decision) for decision in decisions))


def _answer(plan: TargetPlan, decision: Decision) -> Answer:
    everywhere = plan.compiled.declared[decision.verdict.path_policy].fields
    return decision.status, tuple(field for field in decision.headers if field not in everywhere)


def declared(plan: TargetPlan) -> str:
    """The header fields of every response as a Lua table, by number of the section; 0 is everywhere else."""
    rows = (f"  [{number}] = {_fields(found.fields)},\n" for number, found in enumerate(plan.compiled.declared))
    return f"{{\n{''.join(rows)}}}"


def _fields(found: Iterable[HeaderField]) -> str:
    """Header fields as a list of pairs."""
    pairs = (f"{{{quote(name.decode('ascii'))}, {quote(value.decode('ascii'))}}}" for name, value in found)
    return f"{{{', '.join(pairs)}}}"


def _glob(pattern: str) -> str:
    """The chains of a path pattern (`noai_guard.core.paths.glob_chains`)."""
    chains = []
    for lead, chunks in glob_chains(pattern):
        items = ("{" + ", ".join(_ITEMS.get(kind) or quote(text) for kind, text in chunk) + "}" for chunk in chunks)
        chains.append(f"{{lead = {quote(lead)}, {', '.join(items)}}}")
    return f"{{{', '.join(chains)}}}"


_ITEMS = {"one": "1", "below": "2", "end": "3"}


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def _true(found: bool) -> str:
    return "true" if found else "false"
