"""A plan as lookup tables: name -> agent id -> class, and (class, paths) -> decision id."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from noai_guard.core.model import Agent, Document, HeaderField
from noai_guard.core.text import ascii_text, listed
from noai_guard.responses.documents import document_headers
from noai_guard.targets.decisions import Decision
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import T, TargetPlan, grouped

VERDICT_HEADER = "X-NoAI-Verdict"
VERDICT_ALIASES = ("X_NoAI_Verdict", "X-NoAI_Verdict", "X_NoAI-Verdict", "X.NoAI.Verdict")
"""Other spellings that some backends read as X-NoAI-Verdict (CGI and WSGI: `HTTP_X_NOAI_VERDICT`)."""


class LookupTables:
    """Ids for agents (`a1`, `a2`) and decisions (`d1`, `d2`), and the tables between them.

    `agents` get ids, by default those that are restricted somewhere.
    """

    KNOWN = "known"
    """Id of every agent of the catalogue that is restricted nowhere."""

    UNKNOWN_BOT = "unknown"
    """Id of clients that call themselves bots and are in no catalogue."""

    UNREADABLE = "unreadable"
    """Id of clients that name a refused agent where a User-Agent is too long to be read closely."""

    NONE = "none"
    """Class of clients that are restricted nowhere."""

    def __init__(self, plan: TargetPlan, agents: Iterable[Agent] | None = None) -> None:
        self.plan = plan
        self.restricted_classes = tuple(agents for agents in plan.classes if agents.restricted)
        self.restricted_agents = tuple(agent for agents in self.restricted_classes for agent in agents.agents)
        numbered = enumerate(self.restricted_agents if agents is None else agents, 1)
        self.ids: dict[Agent, str] = {agent: f"a{number}" for number, agent in numbered}
        areas = dict.fromkeys(paths.area for paths in plan.row_path_sets)
        self.path_sets = tuple(paths for paths in areas if paths is not None and (paths.globs or paths.raw))
        unlisted = (
            agents for agents in (plan.unknown_bot, plan.unclaimed, plan.nameless, plan.unreadable) if agents.restricted
        )
        self._judged_classes = (*self.restricted_classes, *unlisted)
        alike = grouped((row for agents in self._judged_classes for row in agents.rows), lambda row: row.effect)
        self._decision_ids = {effect: f"d{number}" for number, effect in enumerate(alike, 1)}
        self.decisions: dict[Decision, str] = {rows[0]: self._decision_ids[effect] for effect, rows in alike.items()}
        self.refusals = {name: decision for decision, name in self.decisions.items() if decision.status}
        self.refusal_statuses = sorted({decision.status for decision in self.refusals.values()})

    @property
    def refused_names(self) -> str:
        """Some names of restricted agents for a comment: `a, b, c and 5 more`."""
        return listed(sorted({agent.name for agent in self.restricted_agents}, key=str.lower), 8)

    @cached_property
    def agent_texts(self) -> dict[str, tuple[str, str]]:
        """Name in a refusal and name in X-NoAI-Verdict of every id of a restricted agent."""
        return {
            self.ids[agent]: (self.plan.client_name(agent), ascii_text(agent.name)) for agent in self.restricted_agents
        }

    @cached_property
    def class_names(self) -> dict[str, str]:
        """Class of every id of a restricted agent, of KNOWN, UNKNOWN_BOT, UNREADABLE, and of "" (not recognised)."""
        plan = self.plan
        unknown_bot, unclaimed, unreadable = (
            agents.name if agents.restricted else self.NONE
            for agents in (plan.unknown_bot, plan.unclaimed, plan.unreadable)
        )
        return {
            **{self.ids[agent]: agents.name for agents in self.restricted_classes for agent in agents.agents},
            self.KNOWN: self.NONE,
            self.UNKNOWN_BOT: unknown_bot,
            self.UNREADABLE: unreadable,
            "": unclaimed,
        }

    @property
    def stronger_classes(self) -> tuple[str, ...]:
        """Names of the classes that are treated at least as strictly as UNREADABLE everywhere, and so stay."""
        strictness = self.plan.policy.unreadable.strictness
        stronger = (
            agents.name
            for agents in self._judged_classes
            if all(decision.verdict.action.strictness >= strictness for decision in agents.decisions)
        )
        return tuple(stronger)

    @cached_property
    def rows(self) -> tuple[tuple[str, PathSet | None, str], ...]:
        """(class, paths or None for everywhere, decision id); of one class the first row that matches applies."""
        return tuple(
            (agents.name, decision.paths, self._decision_ids[decision.effect])
            for agents in self._judged_classes
            for decision in agents.rows
        )

    @cached_property
    def refusal_fields(self) -> dict[HeaderField, tuple[str, ...]]:
        """Header fields of refusals that are not declared on every response -> ids of the decisions that have them."""
        pairs = ((field, name) for name, decision in self.refusals.items() for field in decision.headers)
        return _by_field(pair for pair in pairs if pair[0] not in self.declared_fields)

    @cached_property
    def declared_fields(self) -> dict[HeaderField, tuple[int, ...]]:
        """Header fields that responses declare -> the path policies whose responses have them."""
        declared = enumerate(self.plan.declarations)
        return _by_field((field, path_policy) for path_policy, section in declared for field in section.fields)


def _by_field(pairs: Iterable[tuple[HeaderField, T]]) -> dict[HeaderField, tuple[T, ...]]:
    groups = grouped(pairs, lambda pair: pair[0])
    return {field: tuple(value for _, value in group) for field, group in groups.items()}


def names_of(agent: Agent) -> Iterator[str]:
    """Yield what an agent's tokens capture, as the catalogue spells it; not the hosts."""
    for form in agent.expected_user_agent:
        if not form.startswith("//"):
            yield form.removeprefix("^").removesuffix("*")


def header_title(name: bytes) -> str:
    """Return the usual spelling of a field name: `X-Robots-Tag`."""
    return name.decode("ascii").title()


def file_server_headers(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the headers of a document, in their usual spelling, that a file server does not set by itself."""
    for name, value in document_headers(document):
        if name not in (b"content-type", b"content-length", b"etag"):
            yield header_title(name), value.decode("ascii")
