"""nginx 1.18 or newer, without any module.

One regular expression splits a User-Agent into names; each name is looked up in a `map` of plain strings, which is a
hash: 10,000 names cost as much as 300. Agents that are not recognised by one word take a few more expressions. The very
first expression lets User-Agents through that consist of browsers' words.

nginx reads at most 4,096 bytes as one parameter (NGX_CONF_BUFFER, seen in 1.22 and 1.31), so long expressions are
split. A value can contain a dollar sign only as a variable (`$noai_dollar`).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import zip_longest

from noai_guard.core.catalog import rank
from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.errors import CannotExpress
from noai_guard.responses.documents import document_file
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import user_agent_regex
from noai_guard.targets.lookup_tables import LookupTables, file_server_headers, header_title
from noai_guard.targets.plan import UNNAMED_CLIENT, AgentToken, TargetPlan
from noai_guard.targets.target import File, ServerTarget, block, document_files, head, text_file

_MAX_EXPRESSION = 3800
"""Characters of one expression, with room for quoting, below nginx's 4,096 bytes of a parameter."""

_MAX_NAME = 80
"""Bytes of a name that fit into a bucket of 128 of nginx's hash; longer ones are matched by expression."""

_NAMES_PER_STEP = 6
"""Number of names that one expression captures.

PCRE 8 without JIT, which some builds of nginx have, cannot recurse in an expression with more than 9 groups: it would
have to allocate memory, which nginx does not allow while it matches (seen in a build of 1.31 with 8.45)."""

_STEPS = 2
"""Number of expressions that capture names of one User-Agent; the rest of it is searched by expression."""


def quote(text: str) -> str:
    """Return a text as one literal nginx parameter: no quote, space, semicolon or dollar sign has a meaning."""
    quoted = _in_quotes(text).replace("$", "${noai_dollar}")
    if len(quoted.encode("utf-8", "replace")) > 4000:
        raise CannotExpress("nginx: a text of the policy is longer than the 4,096 bytes of one parameter")
    return quoted


def _in_quotes(text: str) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""})
    return f'"{text.translate(escapes)}"'


_KEYWORDS = frozenset({"default", "include", "hostnames", "volatile"})


def _key(text: str) -> str:
    """Return a text as the key of a map: neither a keyword nor an expression. `$` is literal there."""
    return _in_quotes(f"\\{text}" if text in _KEYWORDS or text.startswith(("~", "\\")) else text)


def _expression(pattern: str, any_case: bool = True) -> str:
    """Return a regular expression as the key of a map. `$` becomes the very end, not before a last line feed."""
    return _in_quotes(("~*" if any_case else "~") + pattern.replace("$", r"\z"))


def _map(source: str, variable: str, rows: Iterable[tuple[str, str]], default: str = '""') -> Iterator[str]:
    return block(f"map {source} ${variable}", [f"default {default};", *(f"{key} {value};" for key, value in rows)])


def _add_header(name: bytes, value: str) -> str:
    return f"add_header {header_title(name)} {value} always;"


class NginxConfiguration:
    """The files of one plan, as lines."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.tables = LookupTables(plan, plan.compiled.catalog.agents)
        self.by_name = {token.text.decode("ascii"): token for token in plan.tokens if _is_name(token)}
        by_expression = [token for token in plan.tokens if not (token.host or _is_name(token))]
        relevant = frozenset(map(id, plan.relevant_tokens))
        families = tuple(token.text for token in by_expression if token.family)
        members = [token for token in self.by_name.values() if token.text.startswith(families)]
        self.phrases = [token for token in (*by_expression, *members) if id(token) in relevant]
        self.other_phrases = [token for token in by_expression if id(token) not in relevant]

    def _hit(self, token: AgentToken) -> str:
        """Return a letter, in the order of precedence, and the id of the agent."""
        precedence = -1 if token in self.plan.masking_tokens else rank(token.value)
        return f'"{chr(ord("b") + precedence)}:{self.tables.ids[token.value]};"'

    def names(self) -> Iterator[str]:
        """Yield the rows of names.map: each name, its rank and the id of its agent."""
        for name, token in sorted(self.by_name.items()):
            yield f"{_key(name)} {self._hit(token)};"

    def http(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this in http { }; a file in conf.d is included there already. Then, in each server { }:"
        yield f"#     include {self.root}/noai-guard/server.conf;"
        yield f"# Refused: {self.tables.refused_names}."
        yield "# If nginx says that one of these two is a duplicate, delete it here."
        yield "map_hash_max_size 65536;"
        yield "map_hash_bucket_size 128;"
        yield 'geo $noai_dollar { default "$"; }'
        yield from self._names()
        yield from self._agent()
        yield from self._paths()
        yield from self._decision()
        yield from self._verdict()
        yield from self._status()
        yield from self._refusal_fields[0]
        yield "# Declarations of every response, by section. The site's own Content-Usage and tdm-... take precedence."
        yield from self._declared_fields[0]

    def _names(self) -> Iterator[str]:
        yield "# The names in a User-Agent that are not words of browsers, each looked up in a hash."
        for number in range(1, _NAMES_PER_STEP * _STEPS + 1):
            yield f'map $noai_n{number} $noai_h{number} {{ default ""; include {self.root}/noai-guard/names.map; }}'
        name_tiers = [[token for token in tier if _is_name(token)] for tier in self.plan.tiers]
        yield from self._search(f"$noai_rest_{_STEPS}", "noai_rest_hit", name_tiers)
        yield from self._search("$http_user_agent", "noai_phrase_hit", [self.phrases])
        for step in range(_STEPS, 1, -1):
            rows = [(_expression(self._split(step)), f'"{self._hits_from(step)}"')]
            yield from _map(f"$noai_rest_{step - 1}", f"noai_hits_{step}", rows)
        anchors = self.plan.anchors
        common = user_agent_regex.common_browser_expression(anchors)
        rows = [('""', "-"), *([(_expression(common, any_case=False), "-")] if common else [])]
        rows.append((_expression(user_agent_regex.browser_expression(anchors, possessive=True)), "-"))
        prefilters = user_agent_regex.prefilters(self.phrases, _MAX_EXPRESSION)
        rows += [(_expression(prefilter), "$noai_hits_with_phrases") for prefilter in prefilters]
        rows.append((_expression(self._split(1)), f'"{self._hits_from(1)}"'))
        yield from _map("$http_user_agent", "noai_hits", rows, "-")
        rows = [(_expression(self._split(1)), f'"$noai_phrase_hit{self._hits_from(1)}"')]
        yield from _map("$http_user_agent", "noai_hits_with_phrases", rows)

    def _hits_from(self, step: int) -> str:
        """Return the variables with the hits of a step and of all later ones."""
        hits = "".join(f"$noai_h{number}" for number in _name_numbers(step))
        return hits + ("$noai_rest_hit" if step == _STEPS else f"$noai_hits_{step + 1}")

    def _split(self, step: int) -> str:
        """Return an expression that matches any User-Agent and captures its first names and the rest."""
        names = "".join(f"(?:(?1)(?<noai_n{number}>[{user_agent_regex.WORD}]++)" for number in _name_numbers(step))
        url = "(?=(?:[^:]++|:(?!//))*+(?<noai_url>://)?)" if step == 1 else ""
        rest = f"(?<noai_rest_{step}>.+)?"
        skip = user_agent_regex.skip_to_name(self.by_name)
        return rf"(?(DEFINE)({skip}))^{url}{names}{rest}{')?' * _NAMES_PER_STEP}"

    def _search(self, source: str, variable: str, tiers: Sequence[Sequence[AgentToken]]) -> Iterator[str]:
        """Yield a map from a User-Agent to the hit of the first token that an expression matches."""
        captured = f"{variable}_name"
        expressions = [
            _expression(expression.pattern(captured))
            for tier in tiers
            for expression in user_agent_regex.expressions(tier, _MAX_EXPRESSION)
        ]
        rows = {
            _key(token.text.decode("ascii").replace(" ", blank)): self._hit(token)
            for tier in tiers
            for token in tier
            for blank in (" ", "+", "%20")  # user_agent_regex.BLANK
        }
        if expressions:
            yield from _map(f"${captured}", f"{variable}_of", rows.items())
        yield from _map(source, variable, [(key, f"${variable}_of") for key in expressions])

    def _agent(self) -> Iterator[str]:
        yield "# Of all matched names the one of the highest precedence; a URL counts only if there is no name."
        letters = sorted({self._hit(token)[1] for token in self.plan.tokens})
        rows = [(f'"~(?:^|;){letter}:(?<noai_found_{letter}>[^;]+)"', f"$noai_found_{letter}") for letter in letters]
        yield from _map("$noai_hits", "noai_agent", [*rows, ('""', "$noai_agent_by_host"), ("-", '""')])
        host = user_agent_regex.host_expression
        hosts = [(_expression(host(token)), self.tables.ids[token.value]) for token in self.plan.host_tokens]
        unknown = "$noai_unknown" if self.plan.detects_unknown_bots else '""'
        yield from _map("$noai_url", "noai_agent_by_host", [('""', unknown)], "$noai_agent_by_url")
        yield from _map("$noai_host", "noai_agent_by_url", [('""', unknown)], "$noai_host_alone")
        yield from _map("$http_user_agent", "noai_host", hosts)
        others = user_agent_regex.expressions(self.other_phrases, _MAX_EXPRESSION)
        rows = [(_expression(expression.pattern()), "1") for expression in others]
        yield from _map("$http_user_agent", "noai_other_name", rows)
        yield from _map("$noai_other_name", "noai_host_alone", [('""', "$noai_host")])
        if self.plan.detects_unknown_bots:
            bot = CALLS_ITSELF_A_BOT.pattern.decode("ascii")
            yield from _map("$http_user_agent", "noai_unknown", [(_expression(bot), self.tables.UNKNOWN_BOT)])

    def _paths(self) -> Iterator[str]:
        for paths in self.tables.path_sets:
            rows = [(_expression(regex, any_case=False), "1") for regex in paths.regexes]
            if not paths.raw:
                yield from _map("$uri", f"noai_in_{paths.name}", rows, "0")
            names = [f"noai_in_{paths.name}", *(f"noai_{number}_{paths.name}" for number in range(1, len(paths.raw)))]
            for name, pattern, result in zip(
                names, paths.raw, [*(f"${name}" for name in names[1:]), "1"], strict=False
            ):
                yield from _map("$request_uri", name, [(_expression(pattern, any_case=False), result)], "0")
        path_policies = [(paths.regex, str(number)) for paths, number in self.plan.path_policies]
        rows = [(_expression(regex, any_case=False), number) for regex, number in path_policies]
        yield from _map("$uri", "noai_section", rows, "0")
        document = f"^(?:GET|HEAD):{self.plan.documents_regex.removeprefix('^')}"
        rows = [(_expression(document, any_case=False), "1")] if self.plan.documents else []
        yield from _map('"$request_method:$uri"', "noai_is_document", rows)

    def _decision(self) -> Iterator[str]:
        yield "# The decision for each class of agents: the first row that matches."
        tables = self.tables
        default = tables.class_names[""]
        classes = {key: name for key, name in tables.class_names.items() if key not in ("", tables.KNOWN)}
        classes = {key: name for key, name in classes.items() if name != default}
        if default != tables.NONE:
            unrestricted = (agents for agents in self.plan.classes if not agents.restricted)
            classes |= {tables.ids[agent]: tables.NONE for agents in unrestricted for agent in agents.agents}
        if self.plan.hidden_tokens:
            yield from _map("$noai_agent", "noai_class_read", classes.items(), default)
            stronger = [(name, name) for name in tables.stronger_classes]
            yield from _map("$noai_class_read", "noai_class", stronger, "$noai_class_of_long")
            rows = [(_expression(user_agent_regex.LONG, any_case=False), "$noai_class_of_hidden")]
            yield from _map("$http_user_agent", "noai_class_of_long", rows, "$noai_class_read")
            hidden = user_agent_regex.hidden_expressions(self.plan.hidden_tokens, _MAX_EXPRESSION)
            rows = [(_expression(each), self.plan.unreadable.name) for each in hidden]
            yield from _map("$http_user_agent", "noai_class_of_hidden", rows, "$noai_class_read")
        else:
            yield from _map("$noai_agent", "noai_class", classes.items(), default)
        if not tables.path_sets:
            rows = [(agent_class, decision) for agent_class, _, decision in tables.rows]
            yield from _map("$noai_class", "noai_decision", rows)
            return
        # A key is a class, and the one path set that has to match.
        flags = "".join(f":$noai_in_{paths.name}" for paths in tables.path_sets)
        in_paths = {paths: f"(?::.){{{number}}}:1" for number, paths in enumerate(tables.path_sets)}
        rows = [(f'"~^{name}{in_paths[paths] if paths else ":"}"', decision) for name, paths, decision in tables.rows]
        yield from _map(f'"$noai_class{flags}"', "noai_decision_by_path", rows)
        yield from _map("$noai_class", "noai_decision", [(tables.NONE, '""')], "$noai_decision_by_path")

    def _verdict(self) -> Iterator[str]:
        tables = self.tables
        rows = [(key, quote(decision.tail)) for key, decision in tables.refusals.items()]
        yield from _map("$noai_decision", "noai_tail", rows)
        rows = [(key, quote(client)) for key, (client, _) in tables.agent_texts.items()]
        yield from _map("$noai_agent", "noai_who", rows, f'"{UNNAMED_CLIENT}"')
        rows = [(key, quote(name)) for key, (_, name) in tables.agent_texts.items()]
        yield from _map("$noai_agent", "noai_agent_name", rows)
        rows = [(key, quote(decision.verdict_prefix)) for decision, key in tables.decisions.items()]
        yield from _map("$noai_decision", "noai_said", rows)
        yield "# For the backend and for logs: allow, deny; rule=train-ai; agent=GPTBot ..."
        yield from _map("$noai_decision", "noai_verdict", [('""', "allow")], '"$noai_said$noai_agent_name"')

    def _status(self) -> Iterator[str]:
        rows = [(key, str(decision.status)) for key, decision in self.tables.refusals.items()]
        yield from _map("$noai_decision", "noai_status_here", rows)
        yield from _map("$noai_is_document", "noai_status_unless_document", [('""', "$noai_status_here")])
        exempt = ""
        if self.plan.exempt_networks:
            networks = (f"{network} 1;" for network in self.plan.exempt_networks)
            yield from block("geo $noai_is_exempt_address", ['default "";', *networks])
            exempt = "$noai_is_exempt_address"
        rows = [(f'"{status}"', "$noai_status_unless_document") for status in self.tables.refusal_statuses]
        yield from _map(f'"{exempt}$noai_status_here"', "noai_status_of", rows)
        yield "# The status of the refusal, or empty."
        rows = [] if self.plan.unclaimed.restricted else [("-", '""')]
        yield from _map("$noai_hits", "noai_status", rows, "$noai_status_of")

    @cached_property
    def _refusal_fields(self) -> tuple[list[str], list[str]]:
        """Maps and add_header lines for refusals; by status if only some have a field. Without declarations."""
        refusals = self.tables.refusals
        fields = dict.fromkeys(field for decision in refusals.values() for field in decision.headers)
        maps: list[str] = []
        lines = []
        for number, (name, value) in enumerate(fields):
            keys = self.tables.refusal_fields.get((name, value))
            if keys is None or name == b"content-type":
                continue
            statuses = sorted({refusals[key].status for key in keys})
            text = quote(value.decode("ascii"))
            if statuses != self.tables.refusal_statuses:
                variable = f"noai_refusal_{number}"
                maps += _map("$noai_status", variable, [(str(status), text) for status in statuses])
                text = f"${variable}"
            lines.append(_add_header(name, text))
        return maps, lines

    @cached_property
    def _declared_fields(self) -> tuple[list[str], list[str]]:
        """Maps and add_header lines for declarations, by section, and by the field of the site if it has one."""
        declared = self.plan.compiled.declared.values()
        maps: list[str] = []
        lines = []
        for name in dict.fromkeys(name for section in declared for name, _ in section.fields):
            values = [[quote(v.decode("ascii")) for n, v in section.fields if n == name] for section in declared]
            underscored = name.decode("ascii").replace("-", "_")
            for number, by_section in enumerate(zip_longest(*values, fillvalue='""'), 1):
                variable, value = f"noai_{underscored}_{number}", by_section[0]
                if len(set(by_section)) > 1:
                    maps += _map("$noai_section", variable, [(str(n), v) for n, v in enumerate(by_section)])
                    value = f"${variable}"
                if name not in REPEATABLE:
                    maps += _map(f"$upstream_http_{underscored}", f"{variable}_alone", [('""', value)])
                    value = f"${variable}_alone"
                lines.append(_add_header(name, value))
        return maps, lines

    def server(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this in each server { } that noai-guard protects, once, before your locations."
        yield "# A location with add_header lines of its own inherits none: include headers.conf there too."
        if self.plan.path_policies:
            yield "set $noai_section_asked_for $noai_section;"
        yield f"include {self.root}/noai-guard/headers.conf;"
        yield "if ($noai_status) { rewrite ^ /.noai-guard/refusal? last; }"
        yield "location = /.noai-guard/refusal {"
        yield "    internal;"
        yield '    default_type "text/plain; charset=utf-8";'
        yield "    charset off;"
        yield from (f"    {line}" for line in self._refusal_fields[1])
        yield f"    include {self.root}/noai-guard/headers.conf;"
        for status in self.tables.refusal_statuses:
            yield f'    if ($noai_status = {status}) {{ return {status} "$noai_who$noai_tail"; }}'
        yield "    return 403;"
        yield "}"
        for document in self.plan.documents:
            # A location has no variables: a dollar sign is literal.
            yield f"location = {quote(document.path).replace('${noai_dollar}', '$')} {{"
            yield "    types { }"
            yield f"    default_type {quote(document.media_type)};"
            yield "    charset off;"
            yield f"    root {quote(f'{self.root}/noai-guard/documents')};"
            yield f"    try_files {quote(f'/{document_file(document)}')} =404;"
            yield from (f"    add_header {name} {quote(value)};" for name, value in file_server_headers(document))
            yield "}"

    def headers(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield from self._declared_fields[1]

    def proxy(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this beside your own proxy_set_header lines: the backend reads the verdict in X-NoAI-Verdict."
        yield "proxy_set_header X-NoAI-Verdict $noai_verdict;"


def _name_numbers(step: int) -> range:
    """Return the numbers, from 1, of the names that a step captures."""
    return range((step - 1) * _NAMES_PER_STEP + 1, step * _NAMES_PER_STEP + 1)


def _is_name(token: AgentToken) -> bool:
    text = token.text.decode("ascii")
    plain = all(character.isalnum() or character in "_-" for character in text)
    return plain and not (token.host or token.at_start or token.family) and len(text) <= _MAX_NAME


def files(plan: TargetPlan, root: str) -> list[File]:
    """Return the configuration for a folder that will be `root` on the server."""
    configuration = NginxConfiguration(plan, root)
    return [
        text_file("noai-guard.conf", configuration.http()),
        text_file("noai-guard/names.map", configuration.names()),
        text_file("noai-guard/server.conf", configuration.server()),
        text_file("noai-guard/headers.conf", configuration.headers()),
        text_file("noai-guard/proxy.conf", configuration.proxy()),
        *document_files(plan, "noai-guard/documents"),
    ]


TARGET = ServerTarget("nginx", "nginx", files)
