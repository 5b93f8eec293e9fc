"""Apache httpd 2.4, as lines of a .htaccess file, for sites without access to the server's configuration.

Apache reads and compiles the file for every request; a <VirtualHost> is better (`targets.servers.apache`). mod_rewrite
is not used, because rules in a subfolder would replace ours; <If> stays in force there. A refusal does not contain the
agent's name: that would take a line for each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.targets import user_agent_regex
from noai_guard.targets.apache_directives import (
    declared_fields,
    expression,
    header_directive,
    header_value,
    in_request_line,
)
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, LookupTables, file_server_headers
from noai_guard.targets.plan import AgentClass, AgentToken, Decision, PathSet, TargetPlan, grouped
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, document_files, head, text_file

_MAX_EXPRESSION = 7700
"""Characters of one regular expression: a line has at most 8,190 (HUGE_STRING_LEN, seen in 2.4.71)."""

_MAX_LINE = 8189

_USER_AGENT = "req_novary('User-Agent')"
"""The User-Agent, without `Vary: User-Agent` on every response."""


def quote(text: str) -> str:
    """Return a text as a literal string of an Apache expression, as one argument of a directive."""
    escapes = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""} | {special: f"\\{special}" for special in "%${}\\\"'"}
    string = "".join(escapes.get(character, character) for character in text)
    return '"' + string.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _user_agent_matches(pattern: str, any_case: bool = True) -> str:
    return f"{_USER_AGENT} =~ {_regex(pattern)}{'i' if any_case else ''}"


def _regex(pattern: str) -> str:
    return "m#" + expression(pattern.replace("#", r"\x23"))[1:-1] + "#"


def _in(paths: PathSet) -> str:
    if paths.raw:
        return " && ".join(f"%{{THE_REQUEST}} =~ {_regex(in_request_line(pattern))}" for pattern in paths.raw)
    return f"%{{REQUEST_URI}} =~ {_regex(paths.regex)}"


def _any_of(tokens: Sequence[AgentToken]) -> str:
    return user_agent_regex.alternatives(tokens)[0]


def _short_enough(tokens: Sequence[AgentToken], of: Callable[[Sequence[AgentToken]], str] = _any_of) -> Iterator[str]:
    """Yield expressions that match these tokens, each short enough for a line."""
    pattern = of(tokens)
    if len(pattern) <= _MAX_EXPRESSION or len(tokens) == 1:
        yield pattern
        return
    yield from _short_enough(tokens[: len(tokens) // 2], of)
    yield from _short_enough(tokens[len(tokens) // 2 :], of)


class _IfChain:
    """A chain of <If>, <ElseIf> ... <Else>."""

    def __init__(self) -> None:
        self._word = "If"

    def then(self, condition: str, lines: Iterable[str]) -> Iterator[str]:
        yield f'<{self._word} "{condition}">'
        yield from lines
        yield f"</{self._word}>"
        self._word = "ElseIf"

    def otherwise(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield these lines in <Else>, or alone if the chain has no condition."""
        has_condition = self._word == "ElseIf"
        yield from ["<Else>"] * has_condition
        yield from lines
        yield from ["</Else>"] * has_condition


class Htaccess:
    """The lines of .htaccess for one plan."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tables = LookupTables(plan)
        is_document = f"%{{REQUEST_URI}} =~ {_regex(plan.documents_regex)}"
        self.is_document = f"%{{REQUEST_METHOD}} in {{'GET', 'HEAD'}} && {is_document}"

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'htaccess')}"
        yield "# Put these lines into the .htaccess of your site's folder, above everything else in it, and copy"
        yield "# noai-guard/documents into that folder. Needs AllowOverride All; mod_headers, mod_setenvif, mod_alias."
        yield f"# Refused: {self.tables.refused_names}."
        yield from self._sections()
        yield from (f"RequestHeader unset {alias}" for alias in VERDICT_ALIASES)
        yield "RequestHeader set X-NoAI-Verdict allow env=!REDIRECT_STATUS"
        yield from self._decided()
        yield from declared_fields(self.tables, "%{reqenv:NOAI_SECTION}")

    def _sections(self) -> Iterator[str]:
        yield "# If Apache restarts with another path, the first one counts."
        yield "SetEnvIfExpr \"reqenv('REDIRECT_NOAI_SECTION') =~ m#(.+)#\" NOAI_SECTION=$1"
        first = "-z reqenv('REDIRECT_STATUS')"
        for paths, path_policy in reversed(self.plan.path_policies):
            yield f'SetEnvIfExpr "{first} && {_in(paths)}" NOAI_SECTION={path_policy}'
        if self.plan.documents:
            yield f'SetEnvIfExpr "{first} && {self.is_document}" NOAI_SECTION=document'
        for document in self.plan.documents:
            index = r"(?:index\x2ehtml)?$" if document.path.endswith("/") else "$"
            path = pattern_to_regex(document.path).removesuffix("$") + index
            yield f'<If "{first} && %{{REQUEST_URI}} =~ {_regex(path)}">'
            yield f"    ForceType {quote(document.media_type)}"
            for name, value in file_server_headers(document):
                yield f"    Header set {name} {header_value(value)}"
            yield "</If>"

    def _decided(self) -> Iterator[str]:
        plan = self.plan
        conditions = ["-z reqenv('REDIRECT_STATUS') && %{IS_SUBREQ} == 'false'"]
        if plan.documents:
            conditions.append(f"!({self.is_document})")
        networks = [f"-R '{network}'" for network in plan.exempt_networks]
        conditions += [f"!({' || '.join(networks[n : n + 100])})" for n in range(0, len(networks), 100)]
        common = user_agent_regex.common_browser_expression(plan.anchors)
        if common and not plan.unclaimed.restricted:
            conditions.append(f"!({_user_agent_matches(common, any_case=False)})")
        conditions += self._prefilter()
        yield from (f'<If "{condition}">' for condition in conditions)
        yield from self._chain()
        yield from ["</If>"] * len(conditions)

    def _prefilter(self) -> Sequence[str]:
        """Return a fast condition that is false for most clients, unless it is too long for a line."""
        plan = self.plan
        if plan.detects_unknown_bots:
            return ()
        hosts = user_agent_regex.trie(sorted({token.text.decode("ascii") for token in plan.host_tokens}))
        names = user_agent_regex.prefilters(plan.relevant_tokens, _MAX_EXPRESSION)
        long = user_agent_regex.LONG if plan.hidden_tokens else ""
        condition = " || ".join(map(_user_agent_matches, filter(None, [*names, hosts, long])))
        return (condition,) if condition and len(condition) < _MAX_EXPRESSION else ()

    def _chain(self) -> Iterator[str]:
        """Yield a condition for each class; the first that is true decides."""
        plan = self.plan
        chain = _IfChain()
        if plan.hidden_tokens:
            long = _user_agent_matches(user_agent_regex.LONG)
            for hidden in _short_enough(plan.hidden_tokens, user_agent_regex.hidden_expression):
                yield from chain.then(f"{long} && {_user_agent_matches(hidden)}", self._decisions(plan.unreadable))
        for tier in plan.tiers:
            for agents, tokens in grouped(tier, lambda token: plan.class_of(token.value)).items():
                for names in _short_enough(tokens):
                    yield from chain.then(_user_agent_matches(names), self._decisions(agents))
        if plan.host_tokens:
            yield from chain.then(f"!({_user_agent_matches(user_agent_regex.NO_URL)})", self._hosts())
        yield from self._unrecognised(chain)

    def _hosts(self) -> Iterator[str]:
        """Yield conditions on URLs, for User-Agents without a name of the whole catalogue."""
        plan = self.plan
        chain = _IfChain()
        for names in user_agent_regex.expressions(plan.other_tokens, _MAX_EXPRESSION):
            yield from chain.then(_user_agent_matches(names.pattern()), ())
        for token in plan.host_tokens:
            host = user_agent_regex.host_expression(token)
            yield from chain.then(_user_agent_matches(host), self._decisions(plan.class_of(token.value)))
        yield from self._unrecognised(chain)

    def _unrecognised(self, chain: _IfChain) -> Iterator[str]:
        plan = self.plan
        if plan.detects_unknown_bots:
            bot = _user_agent_matches(user_agent_regex.CALLS_ITSELF_A_BOT)
            yield from chain.then(bot, self._decisions(plan.unknown_bot))
        if plan.unclaimed.restricted:
            yield from chain.otherwise(self._decisions(plan.unclaimed))

    def _decisions(self, agents: AgentClass) -> Iterator[str]:
        if not agents.restricted:
            return
        chain = _IfChain()
        for decision in agents.rows:
            if decision.paths is None:
                yield from chain.otherwise(self._response(decision))
            else:
                yield from chain.then(_in(decision.paths), self._response(decision))

    def _response(self, decision: Decision) -> Iterator[str]:
        yield f"RequestHeader set X-NoAI-Verdict {header_value(decision.verdict_prefix)}"
        if decision.status:
            yield f"ErrorDocument {decision.status} {quote(decision.unnamed_text)}"
            yield f"Redirect {decision.status} /"
            yield from (header_directive(field) for field in self.tables.refusal_fields if field in decision.headers)


def _render(plan: TargetPlan, root: str) -> list[File]:
    lines = list(Htaccess(plan).lines())
    if max(map(len, lines)) > _MAX_LINE:
        raise CannotExpress(f"Apache: a line of .htaccess would have more than {_MAX_LINE:,} characters")
    return [text_file("noai-guard/htaccess", lines), *document_files(plan, "noai-guard/documents")]


TARGET = ServerTarget(
    "htaccess",
    "Apache (.htaccess)",
    _render,
    supports=USUAL - {Feature.BODIES},
    specific_limitations=lambda plan: (
        "Apache (.htaccess): the agent's name is neither in the refusal nor told to the backend.",
    ),
)
