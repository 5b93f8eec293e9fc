"""Apache httpd 2.4, as lines of a .htaccess file, for those who may write nothing else.

Apache reads the file anew for every request, so what stands in it is compiled every time; a <VirtualHost> is
better (`targets.servers.apache`). Nothing of mod_rewrite is used: rules in a folder below would end ours. <If> stays
in force there. A refusal does not call its agent by name: that would take a line for each.
"""

from collections.abc import Iterable, Iterator, Sequence

from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.core.user_agent_matcher import Token
from noai_guard.errors import CannotExpress
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import user_agent_regex
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, Tables
from noai_guard.targets.plan import AgentClass, Decision, PathSet, TargetPlan, listed
from noai_guard.targets.servers.apache import declared, expression, header_value
from noai_guard.targets.target import Feature, File, Target, document_files, head

_LONGEST = 7900
"""Characters of one regular expression: a line has 8,190 at most (HUGE_STRING_LEN, seen in 2.4.71)."""

_LONGEST_LINE = 8189

_SENT = "req_novary('User-Agent')"
"""The user agent, without `Vary: User-Agent` on every response."""


def quote(text: str) -> str:
    """A text that means itself as a string in an expression of Apache's, as one argument of a directive."""
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""}
    string = "".join(named.get(sign, f"\\{sign}" if sign in "%${}\\\"'" else sign) for sign in text)
    return '"' + string.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _like(pattern: str, any_case: bool = True) -> str:
    return f"{_SENT} =~ {_regex(pattern)}{'i' if any_case else ''}"


def _regex(pattern: str) -> str:
    return "m#" + expression(pattern.replace("#", r"\x23"))[1:-1] + "#"


def _in(paths: PathSet) -> str:
    return f"%{{REQUEST_URI}} =~ {_regex('|'.join(map(glob_to_regex, paths.globs)))}"


def _short_enough(tokens: Sequence[Token[Agent]]) -> Iterator[str]:
    """Expressions that find these tokens, each of which fits on a line."""
    pattern, _ = user_agent_regex.alternatives(tokens)
    if len(pattern) <= _LONGEST or len(tokens) == 1:
        yield pattern
        return
    yield from _short_enough(tokens[: len(tokens) // 2])
    yield from _short_enough(tokens[len(tokens) // 2 :])


class _Chain:
    """<If>, <ElseIf> ... <Else>."""

    def __init__(self) -> None:
        self._word = "If"

    def then(self, condition: str, lines: Iterable[str]) -> Iterator[str]:
        yield f'<{self._word} "{condition}">'
        yield from lines
        yield f"</{self._word}>"
        self._word = "ElseIf"

    def otherwise(self, lines: Iterable[str]) -> Iterator[str]:
        """Alone where nothing came before it."""
        inside = self._word == "ElseIf"
        yield from ["<Else>"] * inside
        yield from lines
        yield from ["</Else>"] * inside


class _Config:
    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tables = Tables(plan)

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'htaccess')}"
        yield "# Put these lines into the .htaccess of your site's folder, above everything else in it, and what is in"
        yield "# noai-guard/documents into that folder. Wants AllowOverride All, mod_headers, mod_setenvif, mod_alias."
        yield f"# Refused: {listed(agent for found in self.tables.harmful for agent in found.agents)}."
        yield from self._sections()
        yield from (f"RequestHeader unset {alias}" for alias in VERDICT_ALIASES)
        yield "RequestHeader set X-NoAI-Verdict allow env=!REDIRECT_STATUS"
        yield from self._judged()
        yield from declared(self.tables, "%{reqenv:NOAI_SECTION}")

    @property
    def _is_document(self) -> str:
        paths = "|".join(glob_to_regex(document.path)[1:-1] for document in self.plan.documents)
        return f"%{{REQUEST_METHOD}} in {{'GET', 'HEAD'}} && %{{REQUEST_URI}} =~ {_regex(f'^(?:{paths})$')}"

    def _sections(self) -> Iterator[str]:
        yield "# Where Apache goes on with another address, the first one counts."
        yield "SetEnvIfExpr \"reqenv('REDIRECT_NOAI_SECTION') =~ m#(.+)#\" NOAI_SECTION=$1"
        first = "-z reqenv('REDIRECT_STATUS')"
        for paths, path_policy in reversed(self.plan.path_policies):
            yield f'SetEnvIfExpr "{first} && {_in(paths)}" NOAI_SECTION={path_policy}'
        if self.plan.documents:
            yield f'SetEnvIfExpr "{first} && {self._is_document}" NOAI_SECTION=document'
        for document in self.plan.documents:
            index = r"(?:index\x2ehtml)?$" if document.path.endswith("/") else "$"
            path = glob_to_regex(document.path).removesuffix("$") + index
            yield f'<If "{first} && %{{REQUEST_URI}} =~ {_regex(path)}">'
            yield f"    ForceType {quote(document.media_type)}"
            for name, value in document_headers(document):
                if name not in (b"content-type", b"content-length", b"etag"):
                    yield f"    Header set {name.decode('ascii').title()} {header_value(value)}"
            yield "</If>"

    def _judged(self) -> Iterator[str]:
        plan = self.plan
        conditions = ["-z reqenv('REDIRECT_STATUS') && %{IS_SUBREQ} == 'false'"]
        if plan.documents:
            conditions.append(f"!({self._is_document})")
        networks = [f"-R '{network}'" for network in plan.exempt_networks]
        conditions += [f"!({' || '.join(networks[n : n + 100])})" for n in range(0, len(networks), 100)]
        usual = user_agent_regex.usual_browser_expression(plan.anchors)
        if usual and plan.unclaimed.harmless:
            conditions.append(f"!({_like(usual, any_case=False)})")
        conditions += self._sighting()
        yield from (f'<If "{condition}">' for condition in conditions)
        yield from self._chain()
        yield from ["</If>"] * len(conditions)

    def _sighting(self) -> Sequence[str]:
        """A condition that is quick to fail, where it is not too long for a line."""
        plan = self.plan
        if plan.asks_unknown_bots:
            return ()
        hosts = user_agent_regex.trie(sorted({token.text.decode("ascii") for token in plan.hosts}))
        found = " || ".join(map(_like, filter(None, [*user_agent_regex.sighting(plan.wanted, _LONGEST), hosts])))
        return (found,) if found and len(found) < _LONGEST else ()

    def _chain(self) -> Iterator[str]:
        """The first class whose condition holds counts."""
        plan = self.plan
        chain = _Chain()
        for tier in plan.tiers:
            by_class: dict[str, list[Token[Agent]]] = {}
            for token in tier:
                by_class.setdefault(plan.class_of(token.value).name, []).append(token)
            for tokens in by_class.values():
                for names in _short_enough(tokens):
                    yield from chain.then(_like(names), self._answers(plan.class_of(tokens[0].value)))
        if plan.hosts:
            yield from chain.then(f"!({_like(user_agent_regex.NO_URL)})", self._hosts())
        yield from self._nameless(chain)

    def _hosts(self) -> Iterator[str]:
        """Addresses, where no name of the whole catalogue stands."""
        plan = self.plan
        chain = _Chain()
        for found in user_agent_regex.expressions(plan.others, _LONGEST):
            yield from chain.then(_like(found.pattern()), ())
        for token in plan.hosts:
            host = user_agent_regex.host_expression(token)
            yield from chain.then(_like(host), self._answers(plan.class_of(token.value)))
        yield from self._nameless(chain)

    def _nameless(self, chain: _Chain) -> Iterator[str]:
        plan = self.plan
        if plan.asks_unknown_bots:
            yield from chain.then(_like(user_agent_regex.CALLS_ITSELF_A_BOT), self._answers(plan.unknown_bot))
        if not plan.unclaimed.harmless:
            yield from chain.otherwise(self._answers(plan.unclaimed))

    def _answers(self, found: AgentClass) -> Iterator[str]:
        if found.harmless:
            return
        chain = _Chain()
        for decision in found.decisions:
            if decision.paths is None:
                yield from chain.otherwise(self._answer(decision))
            else:
                yield from chain.then(_in(decision.paths), self._answer(decision))

    def _answer(self, decision: Decision) -> Iterator[str]:
        rule = ascii_text(decision.verdict.rule)
        yield f"RequestHeader set X-NoAI-Verdict {header_value(f'{decision.word}; rule={rule}; agent='.encode())}"
        if not decision.status:
            return
        yield f"ErrorDocument {decision.status} {quote('This client' + decision.tail)}"
        yield f"Redirect {decision.status} /"
        fields = [field for field in self.tables.refusal_fields if field in decision.headers]
        for name, value in fields:
            act = "add" if name in REPEATABLE else "set"
            yield f"Header always {act} {name.decode('ascii').title()} {header_value(value)}"


def _render(plan: TargetPlan, root: str) -> list[File]:
    lines = list(_Config(plan).lines())
    if max(map(len, lines)) > _LONGEST_LINE:
        raise CannotExpress(f"Apache: a line of .htaccess would have more than {_LONGEST_LINE:,} characters")
    text = "".join(f"{line}\n" for line in lines)
    return [File("noai-guard/htaccess", text.encode("utf-8")), *document_files(plan, "noai-guard/documents")]


TARGET = Target(
    "htaccess",
    "Apache (.htaccess)",
    frozenset(Feature) - {Feature.BODIES},
    _render,
    notes=lambda plan: ("Apache (.htaccess): the agent's name is neither in the refusal nor told to the backend.",),
)
