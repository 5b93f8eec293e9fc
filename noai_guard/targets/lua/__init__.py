"""A policy as Lua: the judge and its tables, for servers that run Lua (5.1 to 5.4, LuaJIT).

The .lua files here recognise User-Agents and match paths by the same algorithm as the Python code. Change the two
together: tests/targets/lua/test_lua.py compares them.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote as percent_encoded

from noai_guard import resources
from noai_guard.core.catalog import rank
from noai_guard.core.model import HeaderField
from noai_guard.core.path_patterns import WORK, pattern_chains
from noai_guard.core.wish_index import UNSET
from noai_guard.core.works import MARK
from noai_guard.responses.documents import document_headers
from noai_guard.targets.decisions import Decision
from noai_guard.targets.lookup_tables import LookupTables
from noai_guard.targets.path_sets import OPEN, PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan, host_form
from noai_guard.targets.work_map import WorkMap, plain_ranges

Refusal = tuple[int, tuple[HeaderField, ...]]
"""Status, and the header fields that are not declared on every response."""

_FILES = ("user_agents", "paths", "works", "addresses", "judge")


def quote(value: str | bytes) -> str:
    """Return a Lua string literal for these bytes, or for a text in UTF-8. A line feed stays one, after a backslash."""
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    return '"' + re.sub(r"[^ !#-\[\]-~]", _escaped, raw.decode("utf-8", "surrogateescape")) + '"'


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\\n':
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03d}" for byte in character.encode("utf-8", "surrogateescape"))


def guard_source(plan: TargetPlan, lookup: str = "") -> str:
    """Return a chunk that ends with the local variable `guard` (see judge.lua); the same plan gives the same text.

    `lookup` is Lua for a function from the name of a work, in lower case, to its number in the `WorkMap`; without it
    the names are part of the chunk.
    """
    parts = "".join(resources.text(f"targets/lua/{name}.lua") for name in _FILES)
    return f"{parts}{chr(10).join(_policy(plan, lookup))}\n"


def _policy(plan: TargetPlan, lookup: str) -> Iterator[str]:
    tables = LookupTables(plan)
    decisions = {decision.effect: number for number, decision in enumerate(tables.decisions, 1)}
    all_path_sets = (OPEN, *dict.fromkeys(paths.area for paths in plan.path_sets if paths.area))
    path_sets = {path_set.name: number for number, path_set in enumerate(all_path_sets, 1)}
    # Sorted by name: the last criterion of precedence (`noai_guard.core.catalog`).
    agents = sorted({token.value for token in plan.tokens}, key=lambda agent: agent.name)
    yield "local guard = new_guard({"
    yield "-- By name: rank (0 outweighs all), class, name, name in a refusal."
    rows = [
        f"{rank(agent)}\t{plan.class_of(agent).name}\t{printable}\t{plan.client_name(agent)}\n"
        for agent, printable in ((agent, re.sub(r"[^ -~]", "?", agent.name)) for agent in agents)
    ]
    yield f"agents = {quote(''.join(rows))},"
    yield "-- Anchor, index of the agent above, token."
    indexes = {agent: index for index, agent in enumerate(agents, 1)}
    rows = [f"{token.anchor.decode('ascii')}\t{indexes[token.value]}\t{_form(token)}\n" for token in plan.tokens]
    yield f"tokens = {quote(''.join(rows))},"
    yield f"detects_unknown_bots = {str(plan.detects_unknown_bots).lower()},"
    yield f"detects_nameless = {str(plan.detects_nameless).lower()},"
    yield "classes = {"
    for agent_class in plan.all_classes:
        if agent_class.restricted:
            decided = (
                f"{_where(each.paths, path_sets)}decision = {decisions[each.effect]}"
                for each in (agent_class.open, *agent_class.decisions)
            )
            yield f"  {agent_class.name} = {{{', '.join(f'{{{row}}}' for row in decided)}}},"
    yield "},"
    yield "decisions = {"
    all_refusals = refusals(plan)
    yield from (f"  {_decision(plan, decision, all_refusals)}," for decision in tables.decisions)
    yield "},"
    yield f"unreadable = {decisions[plan.unreadable.decisions[-1].effect] if plan.unreadable.restricted else 0},"
    yield "refusals = {"
    yield from (f"  {{status = {status}, headers = {_fields(fields)}}}," for status, fields in all_refusals)
    yield "},"
    yield f"has_sections = {str(bool(plan.path_sets)).lower()},"
    yield "path_sets = {"
    yield from (f"  {{{', '.join(map(_glob, path_set.globs))}}}," for path_set in all_path_sets)
    yield "},"
    yield "lower_path_sets = {"
    lower = [[glob.lower() for glob in path_set.globs] for path_set in all_path_sets]
    yield from (f"  {{{', '.join(map(_glob, globs))}}}," for globs in lower)
    yield "},"
    letters = sorted({letter for globs in lower for glob in globs for letter in glob if not letter.isascii()})
    folded = ((upper, letter) for letter in letters if (upper := letter.upper()) != letter and len(upper) == 1)
    yield f"folded = {{{', '.join(f'[{quote(upper)}] = {quote(letter)}' for upper, letter in folded)}}},"
    sections = (f"{{{_where(paths, path_sets)}number = {number}}}" for paths, number in plan.path_policies)
    yield f"sections = {{{', '.join(sections)}}},"
    if plan.works:
        yield from _works(plan.works, lookup)
    yield f"declared = {declared(plan)},"
    yield f"addresses = {{{', '.join(quote(str(network)) for network in plan.exempt_networks)}}},"
    yield "documents = {"
    for document in plan.documents:
        headers = [field for field in document_headers(document) if field[0] != b"content-length"]
        etag = dict(headers)[b"etag"].decode("ascii")
        body = quote(document.body)
        # Browsers and commands encode what is not ASCII; what has nothing to encode has one spelling.
        for path in dict.fromkeys((document.path, percent_encoded(document.path))):
            yield f"  [{quote(path)}] = {{headers = {_fields(headers)}, etag = {quote(etag)}, body = {body}}},"
    yield "},"
    yield "})"


def _where(paths: PathSet | None, path_sets: dict[str, int]) -> str:
    """Return the paths and the wish of a row, each with a comma."""
    area = paths and paths.area
    wish = "" if paths is None or paths.wish is None else f"wish = {paths.wish}, "
    return f"{f'paths = {path_sets[area.name]}, ' if area else ''}{wish}"


def _works(works: WorkMap, lookup: str) -> Iterator[str]:
    """Yield the field `works` of the policy (works.lua)."""
    patterns = [pattern.replace(MARK, WORK) for pattern in works.patterns]
    names = (
        ""
        if lookup
        else "".join(f"{key.encode().lower().decode()}\t{number}\n" for key, number in sorted(works.keys.items()))
    )
    yield "works = {"
    yield f"patterns = {{{', '.join(map(_glob, patterns))}}},"
    yield f"lower_patterns = {{{', '.join(_glob(pattern.lower()) for pattern in patterns)}}},"
    yield f"lookup = {lookup.rstrip() or f'numbers_by_name({quote(names)})'},"
    yield f"numbers = {{{', '.join(f'[{number}] = true' for number in works.numbers)}}},"
    yield f"unset = {UNSET}, strictest = {works.strictest},"
    yield f"plain = {{{', '.join(f'{{{first}, {last}}}' for first, last in plain_ranges())}}},"
    yield "},"


def _form(token: AgentToken) -> str:
    """Return a token as the catalogue writes it."""
    if token.host:
        return host_form(token)
    return f"{'^' * token.at_start}{token.text.decode('ascii')}{'*' * token.family}"


def _decision(plan: TargetPlan, decision: Decision, all_refusals: list[Refusal]) -> str:
    action = decision.verdict.action
    facts = [f"verdict = {quote(decision.verdict_prefix)}", f"strictness = {action.strictness}"]
    if action.restricts:
        facts.append("restricts = true")
    if decision.status:
        facts.append(f"refusal = {all_refusals.index(_refusal(plan, decision)) + 1}, tail = {quote(decision.tail)}")
    return f"{{{', '.join(facts)}}}"


def refusals(plan: TargetPlan) -> list[Refusal]:
    """Return the distinct refusals without their texts."""
    decisions = (decision for agents in plan.all_classes for decision in agents.decisions if decision.status)
    return list(dict.fromkeys(_refusal(plan, decision) for decision in decisions))


def _refusal(plan: TargetPlan, decision: Decision) -> Refusal:
    everywhere = plan.compiled.declared[decision.verdict.path_policy].fields
    return decision.status, tuple(field for field in decision.headers if field not in everywhere)


def declared(plan: TargetPlan) -> str:
    """Return a Lua table: number of a section (0 is everywhere else) -> header fields of every response."""
    sections = enumerate(plan.declarations)
    rows = (f"  [{number}] = {_fields(section.fields)},\n" for number, section in sections)
    return f"{{\n{''.join(rows)}}}"


def _fields(fields: Iterable[HeaderField]) -> str:
    """Return header fields as a Lua list of pairs."""
    pairs = (f"{{{quote(name.decode('ascii'))}, {quote(value.decode('ascii'))}}}" for name, value in fields)
    return f"{{{', '.join(pairs)}}}"


def _glob(pattern: str) -> str:
    """Return the chains of a path pattern (`noai_guard.core.path_patterns.pattern_chains`) as a Lua list."""
    chains = []
    for lead, chunks in pattern_chains(pattern):
        items = ("{" + ", ".join(_ITEMS.get(kind) or quote(part) for kind, part in chunk) + "}" for chunk in chunks)
        chains.append(f"{{lead = {quote(lead)}, {', '.join(items)}}}")
    return f"{{{', '.join(chains)}}}"


_ITEMS = {"one": "1", "below": "2", "end": "3", "work": "4"}
"""ONE, BELOW, END and WORK of paths.lua."""
