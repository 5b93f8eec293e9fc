"""The shape of a proxy that asks the gateway, and what its configuration is made from."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Action, Agent, Document
from noai_guard.core.path_patterns import by_specificity, in_both_forms, pattern_to_regex
from noai_guard.core.site_addresses import site_host
from noai_guard.core.works import MARK
from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import AUTHORIZATION, CDN, READ, REASON, SIGNATURE_AGENT, SOURCES, STATUS, VERDICT
from noai_guard.resources import filled, placeholders
from noai_guard.responses.header_fields import REPEATABLE, one_line_per_name
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import suspects, user_agent_regex
from noai_guard.targets.plan import AgentToken, TargetPlan
from noai_guard.targets.target import File, Target, safe_document_files
from noai_guard.version import __version__

UNUSUAL_PATH = r"^[^/]|[^!-~]|[%#;\\]|//|/[.]"
"""Matches a path that may be read as another one, or that is none."""

_OF_THE_QUESTION = frozenset(
    {
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that mean something else in a question to the gateway, or are none of its business."""


@dataclass(frozen=True)
class GatewaySetup:
    """A policy, where the `gateway` and the site behind the proxy (`origin`) listen, and the folder in which the proxy
    may `cache` verdicts (None: it asks about each request).

    `arguments` are those of the command that made the files, which say so; `name` is the one that it gave the policy.
    `suspects_only`: the proxy asks about suspects alone (`asks_about`).
    """

    compiled: CompiledPolicy
    gateway: SocketAddress
    origin: SocketAddress
    cache: str | None = None
    arguments: str = ""
    name: str = ""
    suspects_only: bool = False

    @property
    def policy_name(self) -> str:
        """The given name of the policy, or the host of its site; empty if neither is known."""
        return self.name or site_host(self.compiled.policy.site)

    @cached_property
    def fail_open(self) -> bool:
        """True if a request is let in when the gateway does not answer."""
        return self.compiled.policy.on_unknown is Action.ALLOW

    @cached_property
    def declared_names(self) -> tuple[str, ...]:
        """Names of the header fields that a verdict may declare on the response."""
        all_declared = self.compiled.declared.values()
        return tuple(dict.fromkeys(name.decode("ascii") for declared in all_declared for name, _ in declared.fields))

    @property
    def documents(self) -> tuple[Document, ...]:
        """Documents that the gateway serves."""
        return tuple(self.compiled.documents.values())

    @cached_property
    def document_paths(self) -> tuple[str, ...]:
        """Paths that the gateway serves."""
        return tuple(self.compiled.documents)

    def stored_documents(self, folder: str) -> list[tuple[Document, File]]:
        """Return the documents and their files below a folder, which a proxy serves while the gateway does not answer.

        To a crawler, a robots.txt with status 502 or 503 disallows the whole site (RFC 9309 section 2.3.1.4).
        """
        note = "served while the gateway does not answer"
        return [(document, replace(file, note=note)) for document, file in safe_document_files(self, folder)]

    @cached_property
    def path_classes(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Lists of (pattern, name of the class), of which the first that matches counts. Paths with equal classes in
        every list get equal verdicts."""
        policy = self.compiled.policy
        patterns = [path_policy.pattern for path_policy in policy.path_policies]
        lists = [[(patterns[index], str(index)) for index in by_specificity(patterns)]]
        plain = (policy.open_paths, *(rule.paths for rule in policy.rules), self.document_paths)
        lists += [[(pattern, "x") for pattern in paths] for paths in plain]
        return tuple(tuple(rows) for rows in lists if rows)

    @cached_property
    def plan(self) -> TargetPlan:
        # What a creator wishes may change while the proxy runs.
        return TargetPlan(self.compiled.with_sections(0, any_wish=True))

    @cached_property
    def everybody_matters(self) -> str:
        """Why a look at the user agent and `claim_headers` does not tell who is not restricted; empty if it does."""
        policy = self.compiled.policy
        if suspects.suspects_everybody(self.plan):
            return "the policy restricts clients that name no agent"
        if policy.second_look and self.plan.unknown_bot.restricted:
            return "second_look of the policy looks at all user agents"
        if rules := [rule.id for rule in policy.rules if rule.identities and rule.action.restricts]:
            return f"the policy restricts by identity ({', '.join(rules)})"
        names = [f"the rule {rule.id}" for rule in policy.rules if rule.needs_origin and rule.action.restricts]
        own = (agent for agent in self.compiled.catalog.agents if agent.networks or agent.headers)
        names += [f"the agent {agent.name}" for agent in own if self._is_restricted(agent)]
        return f"the policy restricts by networks or header fields ({', '.join(names)})" if names else ""

    def _is_restricted(self, agent: Agent) -> bool:
        return any(decision.verdict.action.restricts for decision in self.plan.decisions_of(agent))

    @property
    def claim_headers(self) -> tuple[str, ...]:
        """Names of the header fields, beside User-Agent, with which a client says or proves who it is: the proxy asks
        about every request that has one."""
        return (SIGNATURE_AGENT, AUTHORIZATION) if self.asks_for_keys else (SIGNATURE_AGENT,)

    def first_look(self, max_length: int) -> list[str]:
        """Return expressions (PCRE, without regard to case) of which one matches each suspect: a user agent with a word
        of the name of an agent that is restricted, or whose claim the guard checks, or that is not read closely.
        Everybody else without any of `claim_headers` is let in by the policy everywhere.

        Raises CannotExpress if the policy restricts others too.
        """
        return suspects.first_look(self.plan, max_length, also=self.unrestricted_suspects)

    @property
    def unrestricted_suspects(self) -> frozenset[Agent]:
        """Agents that the proxy asks about though none is restricted: those whose claim the guard checks.

        Raises CannotExpress if the policy restricts others than agents too.
        """
        if self.everybody_matters:
            raise CannotExpress(f"--ask suspects: {self.everybody_matters}, so the proxy has to ask about everybody")
        return self.compiled.guard.checked_agents

    @property
    def suspect_anchors(self) -> frozenset[str]:
        """Runs of letters of which every user agent with a name that `first_look` looks for has at least one."""
        checked = self.compiled.guard.checked_agents
        anchors = (token.anchor.decode("ascii") for token in self.plan.tokens if token.value in checked)
        return self.plan.anchors.union(anchors)

    @cached_property
    def sections_that_declare_otherwise(self) -> tuple[str, ...]:
        """Expressions for paths in lower case, where who is not asked about would get another section's declaration."""
        declared = self.compiled.declared
        sections = self.compiled.policy.path_policies
        others = (one for one in sections if declared[one].fields != self.compiled.site_declared.fields)
        patterns = [one.pattern for one in others]
        if self.compiled.has_wishes:
            patterns += (pattern.replace(MARK, "*") for pattern in self.compiled.policy.works.patterns)
        return tuple(pattern_to_regex(pattern.lower()) for pattern in in_both_forms(patterns))

    @cached_property
    def site_fields(self) -> Mapping[str, str]:
        """The declarations of the whole site, one line for each name."""
        fields = one_line_per_name(self.compiled.site_declared.fields)
        return {name.decode("ascii"): value.decode("ascii") for name, value in fields.items()}

    @property
    def not_asked_about(self) -> list[str]:
        """What becomes of requests that the proxy does not ask about, as lines of a comment without their sign."""
        if not self.suspects_only:
            return []
        sections = " or in a section that declares otherwise" if self.sections_that_declare_otherwise else ""
        return [
            "--ask suspects: the gateway is asked about user agents that may have the name of an agent which the",
            "policy restricts or whose claim it checks, or hide one, about requests with",
            f"{' or '.join(name.title() for name in self.claim_headers)}, and about paths that may be read in several "
            f"ways{sections}.",
            "Everybody else is let in unasked: not counted, not logged, not throttled, and without X-NoAI-Verdict.",
            "Generate these files again when the policy or the catalogue changes.",
        ]

    @property
    def refuses_by_name(self) -> bool:
        """True if a request is let in when the gateway does not answer, unless it has the name of a refused agent."""
        return self.fail_open and bool(self.refused_tokens)

    @cached_property
    def refused_tokens(self) -> tuple[AgentToken, ...]:
        """Names of the agents that the policy refuses somewhere, for requests about which a proxy cannot ask; none if
        `unreadable` of the policy lets them in."""
        if not self.compiled.policy.unreadable.refuses:
            return ()
        plan = self.plan
        refusing = (agents for agents in plan.classes if any(decision.status for decision in agents.decisions))
        refused = {agent for agents in refusing for agent in agents.agents}
        return tuple(token for token in plan.tokens if token.value in refused and not token.host)

    @cached_property
    def refused_names(self) -> tuple[str, ...]:
        """`refused_tokens` in the forms of the catalogue."""
        forms = (f"{'^' * token.at_start}{token.text.decode()}{'*' * token.family}" for token in self.refused_tokens)
        return tuple(sorted(set(forms)))

    def refused_expressions(self, max_length: int) -> tuple[str, ...]:
        """Return regular expressions for `refused_tokens`, to be matched without regard to case."""
        context = user_agent_regex.short_context
        found = user_agent_regex.expressions(self.refused_tokens, max_length, context)
        return tuple(f"{expression.before}{expression.names}{expression.after}" for expression in found)

    @cached_property
    def asks_for_keys(self) -> bool:
        """True if a partner proves itself by a key, so that Authorization is passed on to the gateway."""
        return any(partner.api_keys for partner in self.compiled.policy.partners)

    @property
    def read(self) -> tuple[str, ...]:
        """Names of the client's headers that the gateway reads, each once."""
        names = (*READ, AUTHORIZATION) if self.asks_for_keys else READ
        return tuple(dict.fromkeys((*names, *self._condition_names)))

    @cached_property
    def _condition_names(self) -> tuple[str, ...]:
        """Names of the headers that rules and agents ask for, without those that a proxy writes itself."""
        rules, agents = self.compiled.policy.rules, self.compiled.catalog.agents
        conditions = (
            condition
            for each in (*(rule.headers for rule in rules), *(agent.headers for agent in agents))
            for condition in each
        )
        names = {condition.name for condition in conditions}
        return tuple(sorted(names.difference(_OF_THE_QUESTION, SOURCES, CDN, {self.client_address_header})))

    @property
    def client_address_header(self) -> str:
        """Name of the header in which the policy expects the client's address."""
        return self.compiled.policy.trusted_proxies.header or "x-forwarded-for"

    def header_comment(self, proxy: str) -> str:
        """Return the first line of every file, without a comment sign."""
        outcome = "refuses every request"
        if self.fail_open:
            outcome = "lets every request in" + " that names no refused agent" * self.refuses_by_name
        return (
            f"noai-guard {__version__}, generated by `noai-guard config {proxy} --ask-gateway{self.arguments}`. "
            f"While the gateway does not answer, this {outcome} (on_unknown)."
        )

    def generated(
        self, proxy: str, templates: Mapping[str, tuple[str, str]], **values: str | Iterable[str]
    ) -> list[File]:
        """Return a file for each of the templates beside this module: path -> (template, note).

        Each value fills a placeholder of at least one of them. `header_comment`, the first line, is added. Raises
        KeyError for a value without a placeholder.
        """
        values["header_comment"] = self.header_comment(proxy)
        names = {path: f"gateway/proxies/{template}" for path, (template, _) in templates.items()}
        if unused := values.keys() - set().union(*map(placeholders, names.values())):
            raise KeyError(f"no placeholder for {', '.join(sorted(unused))}")
        texts = {path: filled(name, **{key: values[key] for key in placeholders(name)}) for path, name in names.items()}
        return [File(path, text.encode(), templates[path][1]) for path, text in texts.items()]

    def reject_forwarded(self, proxy: str) -> None:
        """Raise CannotExpress for a proxy that lets through a Forwarded header which the client wrote itself."""
        if self.client_address_header == "forwarded":
            advice = "set trusted_proxies.header to x-forwarded-for"
            raise CannotExpress(f"{proxy} passes a client's Forwarded on; {advice}")


@dataclass(frozen=True, slots=True)
class Proxy(Target[GatewaySetup]):
    """A proxy that can ask the gateway.

    Its configuration usually stands in the folder `root`.
    """

    root: str = ""


def unquoted(path: str, proxy: str) -> str:
    """Return a path that needs no quoting. Raises CannotExpress for any other."""
    if not re.fullmatch(r"/[A-Za-z0-9/._~-]*", path):
        raise CannotExpress(f"{proxy}: the path {path!r} of a document would need quoting; choose a plainer one")
    return path


def without_characters(special: str, path: str, proxy: str) -> str:
    """Return a path. Raises CannotExpress if it contains one of these characters."""
    if any(character in path for character in special):
        raise CannotExpress(f"{proxy}: the path {path!r} of a document has a character with a meaning of its own there")
    return path


def lua_names(setup: GatewaySetup) -> list[str]:
    """Return the lines of a Lua function that looks for refused agents' names."""
    rows = [", ".join(f'"{name}"' for name in batch) + "," for batch in batched(setup.refused_names, 8)]
    return filled("gateway/proxies/refused_names.lua", names=rows).splitlines()


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the items in groups of `size`."""
    yield from (items[start : start + size] for start in range(0, len(items), size))


def spoofable_names(separators: str = "-_.") -> Iterator[str]:
    """Yield the request headers that only the gateway may set, in every spelling that some server or language takes
    for the same name."""
    for name in (*VERDICT, STATUS, REASON):
        first, second, third = name.title().split("-")
        yield from (f"{first}{a}{second}{b}{third}" for a, b in product(separators, repeat=2))


def repeatable(name: str) -> bool:
    """Return True if a response field may stand beside the site's own; of the others, the site's own stands alone."""
    return name.encode("ascii") in REPEATABLE


def variable(name: str) -> str:
    """Return a header name as an identifier."""
    return name.replace("-", "_")
