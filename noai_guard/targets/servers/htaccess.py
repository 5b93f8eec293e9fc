"""Apache httpd 2.4, as lines of a .htaccess file, for sites without access to the server's configuration.

Apache reads and compiles the file for every request (28 ns for each character of an expression, 2026-11-29); a
<VirtualHost> is better (`targets.servers.apache`). So the file has only a first look for suspects. The expressions that
read as the judge does are in files of their own, which Apache reads only for a suspect: the .htaccess in a folder with
one empty file for each group of agents that are treated alike. The condition `-F` asks by a subrequest whether the
client is accepted for such a file. Hosts, and names where nothing is read closely, are in further folders, and asked
for by the first in the same way.

mod_rewrite is not used, because rules in a subfolder would replace ours; <If> stays in force there. A refusal does not
contain the agent's name: that would take a line for each.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.targets import suspects, user_agent_regex
from noai_guard.targets.apache_directives import (
    declared_fields,
    expression,
    header_directive,
    header_value,
    in_request_line,
)
from noai_guard.targets.decisions import AgentClass, Decision
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, LookupTables, file_server_headers
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan, grouped
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, document_files, head, text_file

_MAX_EXPRESSION = 7700
"""Characters of one regular expression: a line has at most 8,190 (HUGE_STRING_LEN, seen in 2.4.71)."""

_MAX_LINE = 8189

_NOBODY = 0
"""The number of the group of those who are restricted nowhere."""

_FOLDER = "noai-guard"
"""The folder of the further files, below DocumentRoot."""

_REFUSED = "NOAI_REFUSED"
"""The variable that the subrequests of a refused request have."""

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


def _is_accepted(folder: str, group: int) -> str:
    """Return a condition: this folder accepts the client for the file of this group."""
    return f"-F '%{{DOCUMENT_ROOT}}/{_FOLDER}/{folder}/{group}'" if group else "false"


def _accepted(group: int) -> Iterator[str]:
    """Yield the line that accepts a client for the file of this group and no other."""
    if group:
        yield f"Require expr \"%{{REQUEST_FILENAME}} -strmatch '*/{group}'\""


def _treatment(agents: AgentClass) -> tuple[object, ...]:
    """Return what agents of one group have in common: all but the usage that their refusal names."""
    return tuple((row.paths, row.label, row.status, row.verdict.message) for row in agents.rows)


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
    """The lines of .htaccess for one plan, and those of the second one, which Apache reads for suspects only."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tables = LookupTables(plan)
        is_document = f"%{{REQUEST_URI}} =~ {_regex(plan.documents_regex)}"
        self.is_document = f"%{{REQUEST_METHOD}} in {{'GET', 'HEAD'}} && {is_document}"
        restricted = [agents for agents in plan.all_classes if agents.restricted]
        self.groups = list(grouped(restricted, _treatment).values())
        self._numbers = {agents.name: number for number, group in enumerate(self.groups, 1) for agents in group}

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'htaccess')}"
        yield "# Put these lines into the .htaccess of your DocumentRoot, above everything else in it, and copy"
        yield "# what is in noai-guard/documents there, also the folder noai-guard: without it nobody is refused."
        yield "# Needs AllowOverride All; mod_headers, mod_setenvif, mod_alias."
        yield "# Apache does not read it for what its own configuration proxies, or takes from elsewhere (Alias)."
        yield f"# Refused: {self.tables.refused_names}."
        yield from self._sections()
        yield from (f"RequestHeader unset {alias}" for alias in VERDICT_ALIASES)
        yield "RequestHeader set X-NoAI-Verdict allow env=!REDIRECT_STATUS"
        yield from self._decided()
        # What is in <If> comes after all other lines, so that a `Header always set` of the site removes none of these.
        yield from ('<If "true">', *declared_fields(self.tables, "NOAI_SECTION"), "</If>")

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
        looks = [] if suspects.suspects_everybody(plan) else suspects.short_first_look(plan)
        look = " || ".join(map(_user_agent_matches, looks))
        # A line that is too long is left out: everybody is a suspect then.
        conditions += [look] if look and len(look) < _MAX_EXPRESSION else []
        networks = [f"-R '{network}'" for network in plan.exempt_networks]
        conditions += [f"!({' || '.join(networks[n : n + 100])})" for n in range(0, len(networks), 100)]
        yield from (f'<If "{condition}">' for condition in conditions)
        chain = _IfChain()
        for number, group in enumerate(self.groups, 1):
            largest = max(group, key=lambda agents: len(agents.agents))
            yield from chain.then(_is_accepted("names", number), self._decisions(largest))
        yield from ["</If>"] * len(conditions)
        # MultiViews takes a file whose subrequest is not refused, and from there on what holds for that file.
        yield f"<ElseIf \"%{{IS_SUBREQ}} == 'true' && -n reqenv('{_REFUSED}')\">"
        yield from ("Redirect 403 /", "</ElseIf>")

    def further_files(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield path and lines of every file below `_FOLDER`."""
        yield ".htaccess", self._refusing_all()
        for folder, chain in (
            ("names", self._names()),
            ("hosts", self._hosts()),
            ("unread", self._unread()),
            ("long", self._long()),
        ):
            yield f"{folder}/.htaccess", (f"# {head(self.plan, 'htaccess')}", *chain)
            yield from ((f"{folder}/{number}", ()) for number, _ in enumerate(self.groups, 1))

    def _refusing_all(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'htaccess')}"
        yield "# The .htaccess of the site asks in the folders below who is refused. Nobody can fetch what is in them."
        yield "<IfModule mod_rewrite.c>"
        yield "RewriteEngine Off"
        yield "</IfModule>"
        yield "Require all denied"

    def _names(self) -> Iterator[str]:
        """Yield a condition for each group; the first that is true decides."""
        plan = self.plan
        chain = _IfChain()
        if plan.hidden_tokens:
            long, escaped = map(_user_agent_matches, (user_agent_regex.LONG, suspects.ESCAPED))
            number = self._numbers[plan.unreadable.name]
            yield from chain.then(f"{long} && {_is_accepted('long', number)}", _accepted(number))
            if suspects.reads_no_long_ones(plan):
                yield from chain.then(long, ())
            yield from chain.then(f"{escaped} && {_is_accepted('unread', number)}", _accepted(number))
        for tier in plan.tiers:
            for number, tokens in grouped(tier, self._number).items():
                for names in _short_enough(tokens):
                    yield from chain.then(_user_agent_matches(names), _accepted(number))
        if plan.host_tokens:
            numbers = dict.fromkeys(map(self._number, plan.host_tokens))
            hosts = _IfChain()
            lines = [
                line for number in numbers for line in hosts.then(_is_accepted("hosts", number), _accepted(number))
            ]
            lines += self._unrecognised(hosts)
            yield from chain.then(f"!({_user_agent_matches(user_agent_regex.NO_URL)})", lines)
        yield from self._unrecognised(chain)

    def _hosts(self) -> Iterator[str]:
        """Yield conditions on URLs, for User-Agents without a name of the whole catalogue."""
        plan = self.plan
        chain = _IfChain()
        for names in user_agent_regex.expressions(plan.other_tokens, _MAX_EXPRESSION):
            yield from chain.then(_user_agent_matches(names.pattern()), ())
        for token in plan.host_tokens:
            host = user_agent_regex.host_expression(token)
            yield from chain.then(_user_agent_matches(host), _accepted(self._number(token)))

    def _long(self) -> Iterator[str]:
        """Yield conditions on names in a long User-Agent, where it is not read closely."""
        if suspects.reads_no_long_ones(self.plan):
            yield from self._hidden(suspects.anywhere_without_look_around, suspects.anywhere_without_look_around)
        else:
            yield from self._hidden(user_agent_regex.hidden_expression, user_agent_regex.names_anywhere)

    def _unread(self) -> Iterator[str]:
        """Yield conditions on names with escaped letters."""
        yield from self._hidden(None, user_agent_regex.names_anywhere)

    def _hidden(
        self,
        as_sent: Callable[[Sequence[AgentToken]], str] | None,
        when_decoded: Callable[[Sequence[AgentToken]], str],
    ) -> Iterator[str]:
        """Yield conditions on names in the User-Agent as it was sent, and in the decoded one if it has escapes."""
        tokens = self.plan.hidden_tokens
        if not tokens:
            return
        accepted = list(_accepted(self._numbers[self.plan.unreadable.name]))
        chain = _IfChain()
        for names in _short_enough(tokens, as_sent) if as_sent else ():
            yield from chain.then(_user_agent_matches(names), accepted)
        escaped = _user_agent_matches(suspects.ESCAPED)
        backslash = _user_agent_matches(r"\x5c(?:x|u00)")
        decoded = f"unescape(unescape({_USER_AGENT}))"
        for names in _short_enough(tokens, when_decoded):
            # What cannot be decoded becomes an empty text, and Apache does not decode what logs write (`\x41`).
            found = f"{backslash} || -z {decoded} || {decoded} =~ {_regex(names)}i"
            yield from chain.then(f"{escaped} && ({found})", accepted)

    def _unrecognised(self, chain: _IfChain) -> Iterator[str]:
        plan = self.plan
        if plan.detects_unknown_bots:
            bot = _user_agent_matches(user_agent_regex.CALLS_ITSELF_A_BOT)
            yield from chain.then(bot, _accepted(self._numbers.get(plan.unknown_bot.name, _NOBODY)))
        if plan.unclaimed.restricted:
            yield from chain.otherwise(_accepted(self._numbers[plan.unclaimed.name]))

    def _number(self, token: AgentToken) -> int:
        return self._numbers.get(self.plan.class_of(token.value).name, _NOBODY)

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
            yield f"SetEnvIf User-Agent ^ {_REFUSED}"
            # Rules of the site would come first, and could redirect to another host.
            yield from ("<IfModule mod_rewrite.c>", "RewriteEngine Off", "</IfModule>")
            yield from (header_directive(field) for field in self.tables.refusal_fields if field in decision.headers)


def _render(plan: TargetPlan, root: str) -> list[File]:
    htaccess = Htaccess(plan)
    files = {"noai-guard/htaccess": tuple(htaccess.lines())}
    files |= {f"noai-guard/documents/{_FOLDER}/{path}": tuple(lines) for path, lines in htaccess.further_files()}
    if any(len(line) > _MAX_LINE for lines in files.values() for line in lines):
        raise CannotExpress(f"Apache: a line of .htaccess would have more than {_MAX_LINE:,} characters")
    return [*itertools.starmap(text_file, files.items()), *document_files(plan, "noai-guard/documents")]


def _limitations(plan: TargetPlan) -> Iterator[str]:
    yield "Apache (.htaccess): the agent's name is neither in the refusal nor told to the backend."
    yield "Apache (.htaccess): agents that are treated alike are told the reason of one of them."
    yield (
        "Apache (.htaccess): what the server's own configuration proxies (ProxyPass, RewriteRule with P) or takes from "
        "elsewhere (Alias) is not covered, because Apache reads another .htaccess or none there: use `config apache`."
    )


TARGET = ServerTarget(
    "htaccess",
    "Apache (.htaccess)",
    _render,
    supports=USUAL - {Feature.BODIES},
    specific_limitations=_limitations,
)
