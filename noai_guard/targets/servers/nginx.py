"""nginx 1.18 or newer, without any module.

A user agent is cut into names by one regular expression; each name is looked up in a `map` of plain strings, which
is a hash: 10,000 names cost what 300 cost. Agents that cannot be told by one word are found by a few expressions
more. User agents that consist of browsers' words are through after the first of all.

nginx reads at most 4,096 bytes as one parameter (NGX_CONF_BUFFER, seen in 1.22 and 1.31), so long expressions are
cut. A value cannot hold a dollar sign but in a variable (`$noai_dollar`).
"""

from collections.abc import Iterable, Iterator, Sequence

from noai_guard.core.catalog import rank
from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.core.user_agent_matcher import Token
from noai_guard.errors import CannotExpress
from noai_guard.responses.documents import document_file, document_headers
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import user_agent_regex
from noai_guard.targets.plan import AgentClass, Decision, PathSet, TargetPlan, listed
from noai_guard.targets.target import Feature, File, Target, document_files, head

_LONGEST = 3800
"""Characters of one expression, with room for quoting, below nginx's 4,096 bytes of a parameter."""

_LONGEST_NAME = 80
"""Bytes of a name that fit into a bucket of 128 of nginx's hash; longer ones are looked for by expression."""

_NAMES = 6
"""How many names are cut out by one expression.

PCRE 8 without JIT, which some builds of nginx have, cannot recurse where there are more than 9 groups: it would have to
ask for memory, which nginx does not give while it matches (seen in a build of 1.31 with 8.45)."""

_STEPS = 2
"""How often names are cut out of one user agent; what is left then is searched by expression."""


def quote(text: str) -> str:
    """A text as one nginx parameter that means itself: no quote, space, semicolon or dollar sign gets out of it."""
    quoted = _in_quotes(text).replace("$", "${noai_dollar}")
    if len(quoted.encode("utf-8", "replace")) > 4000:
        raise CannotExpress("nginx: a text of the policy is longer than the 4,096 bytes that nginx reads at once")
    return quoted


def _in_quotes(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


_KEYWORDS = frozenset({"default", "include", "hostnames", "volatile"})


def _key(text: str) -> str:
    """A text as the key of a map: neither one of the map's own words nor an expression; `$` is no variable there."""
    return _in_quotes(f"\\{text}" if text in _KEYWORDS or text.startswith(("~", "\\")) else text)


def _without_variables(quoted: str) -> str:
    """Where nginx knows no variables, a dollar sign is one."""
    return quoted.replace("${noai_dollar}", "$")


def _expression(pattern: str, any_case: bool = True) -> str:
    """A regular expression as the key of a map; `$` there is no variable, and means the very end."""
    pattern = pattern.replace("$", r"\z")
    return _in_quotes(("~*" if any_case else "~") + pattern)


def _map(source: str, variable: str, rows: Iterable[tuple[str, str]], default: str = '""') -> Iterator[str]:
    yield f"map {source} ${variable} {{"
    yield f"    default {default};"
    yield from (f"    {key} {value};" for key, value in rows)
    yield "}"


class _Config:
    """The parts of one plan's configuration."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.ids = {agent: f"a{number}" for number, agent in enumerate(plan.compiled.catalog.agents, 1)}
        self.harmful = [found for found in plan.classes if not found.harmless]
        self.single: dict[str, Token[Agent]] = {}
        self.by_expression: list[Token[Agent]] = []
        for token in plan.tokens:
            if _is_name(token):
                self.single[token.text.decode("ascii")] = token
            elif not token.host:
                self.by_expression.append(token)
        wanted = frozenset(map(id, plan.wanted))
        families = tuple(token.text for token in self.by_expression if token.family)
        members = [token for token in self.single.values() if token.text.startswith(families)]
        self.wanted = [token for token in (*self.by_expression, *members) if id(token) in wanted]
        self.others = [token for token in self.by_expression if id(token) not in wanted]
        self.path_sets = [paths for paths in plan.path_sets if paths.globs]

    def _hit(self, token: Token[Agent]) -> str:
        place = -1 if token in self.plan.shields else rank(token.value)
        return f'"{_letter(place)}:{self.ids[token.value]};"'

    def names(self) -> Iterator[str]:
        """One line a name: what it counts, and whose it is."""
        for name, token in sorted(self.single.items()):
            yield f"{_key(name)} {self._hit(token)};"

    def http(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this in http { }; a file in conf.d is included there already. Then, in each server { }:"
        yield f"#     include {self.root}/noai-guard/server.conf;"
        yield f"# Refused: {listed(agent for found in self.harmful for agent in found.agents)}."
        yield "# If nginx says that one of these two is a duplicate, delete it here."
        yield "map_hash_max_size 65536;"
        yield "map_hash_bucket_size 128;"
        yield 'geo $noai_dollar { default "$"; }'
        yield from self._names()
        yield from self._agent()
        yield from self._paths()
        yield from self._verdict()
        yield from self._declared()

    def _names(self) -> Iterator[str]:
        yield "# The names in a user agent that are no browser's words, each looked up in a hash."
        for number in range(1, _NAMES * _STEPS + 1):
            yield f'map $noai_n{number} $noai_h{number} {{ default ""; include {self.root}/noai-guard/names.map; }}'
        yield from self._searched(f"$noai_rest_{_STEPS}", "noai_rest_hit", self._first_tokens())
        yield from self._searched("$http_user_agent", "noai_phrase_hit", [self.wanted])
        for step in range(_STEPS, 1, -1):
            rows = [(_expression(self._split(step)), f'"{self._hits_of(step)}"')]
            yield from _map(f"$noai_rest_{step - 1}", f"noai_hits_{step}", rows)
        anchors = self.plan.anchors
        usual = user_agent_regex.usual_browser_expression(anchors)
        rows = [('""', "-"), *([(_expression(usual, any_case=False), "-")] if usual else [])]
        rows.append((_expression(user_agent_regex.browser_expression(anchors, possessive=True)), "-"))
        sightings = user_agent_regex.sighting(self.wanted, _LONGEST)
        rows += [(_expression(found), "$noai_hits_with_phrases") for found in sightings]
        rows.append((_expression(self._split(1)), f'"{self._hits_of(1)}"'))
        yield from _map("$http_user_agent", "noai_hits", rows, "-")
        rows = [(_expression(self._split(1)), f'"$noai_phrase_hit{self._hits_of(1)}"')]
        yield from _map("$http_user_agent", "noai_hits_with_phrases", rows)

    def _hits_of(self, step: int) -> str:
        """What was found at a step, and after it."""
        hits = "".join(f"$noai_h{number}" for number in _numbers(step))
        return hits + ("$noai_rest_hit" if step == _STEPS else f"$noai_hits_{step + 1}")

    def _split(self, step: int) -> str:
        """Matches any user agent, and captures its first names and what is left."""
        names = "".join(f"(?:(?1)(?<noai_n{number}>[{user_agent_regex.WORD}]++)" for number in _numbers(step))
        url = "(?=(?:[^:]++|:(?!//))*+(?<noai_url>://)?)" if step == 1 else ""
        rest = f"(?<noai_rest_{step}>.+)?"
        return rf"(?(DEFINE)({user_agent_regex.skipped(self.single)}))^{url}{names}{rest}{')?' * _NAMES}"

    def _first_tokens(self) -> list[list[Token[Agent]]]:
        return [[token for token in tier if _is_name(token)] for tier in self.plan.tiers]

    def _searched(self, source: str, variable: str, tiers: Sequence[Sequence[Token[Agent]]]) -> Iterator[str]:
        """A map from a user agent to the hit of the first token that is found by expression."""
        captured = f"{variable}_name"
        expressions = [
            _expression(expression.pattern(captured))
            for tier in tiers
            for expression in user_agent_regex.expressions(tier, _LONGEST)
        ]
        rows = {
            _key(spelling): self._hit(token)
            for tier in tiers
            for token in tier
            for spelling in _spellings(token.text.decode("ascii"))
        }
        if expressions:
            yield from _map(f"${captured}", f"{variable}_of", rows.items())
        yield from _map(source, variable, [(key, f"${variable}_of") for key in expressions])

    def _agent(self) -> Iterator[str]:
        yield "# Of all names that were found, the one that weighs most; a URL only where there is no name."
        ranks = sorted({self._hit(token)[1] for token in self.plan.tokens})
        rows = [(f'"~(?:^|;){letter}:(?<noai_found_{letter}>[^;]+)"', f"$noai_found_{letter}") for letter in ranks]
        yield from _map("$noai_hits", "noai_agent", [*rows, ('""', "$noai_agent_by_host"), ("-", '""')])
        hosts = [
            (_expression(user_agent_regex.host_expression(token)), self.ids[token.value]) for token in self.plan.hosts
        ]
        unknown = "$noai_unknown" if self.plan.asks_unknown_bots else '""'
        yield from _map("$noai_url", "noai_agent_by_host", [('""', unknown)], "$noai_agent_by_url")
        yield from _map("$noai_host", "noai_agent_by_url", [('""', unknown)], "$noai_host_alone")
        yield from _map("$http_user_agent", "noai_host", hosts)
        others = [(_expression(found.pattern()), "1") for found in user_agent_regex.expressions(self.others, _LONGEST)]
        yield from _map("$http_user_agent", "noai_other_name", others)
        yield from _map("$noai_other_name", "noai_host_alone", [('""', "$noai_host")])
        if self.plan.asks_unknown_bots:
            says = CALLS_ITSELF_A_BOT.pattern.decode("ascii")
            yield from _map("$http_user_agent", "noai_unknown", [(_expression(says), "unknown")])

    def _paths(self) -> Iterator[str]:
        for paths in self.path_sets:
            rows = [(_expression(glob_to_regex(glob), any_case=False), "1") for glob in paths.globs]
            yield from _map("$uri", f"noai_in_{paths.name}", rows, "0")
        path_policies = [
            (_expression(glob_to_regex(glob), any_case=False), str(number))
            for paths, number in self.plan.path_policies
            for glob in paths.globs
        ]
        yield from _map("$uri", "noai_section", path_policies, "0")
        published = "|".join(glob_to_regex(document.path)[1:-1] for document in self.plan.documents)
        rows = [(_expression(f"^(?:GET|HEAD):(?:{published})$", any_case=False), "1")] if published else []
        yield from _map('"$request_method:$uri"', "noai_is_document", rows)

    def _verdict(self) -> Iterator[str]:
        yield "# What each class of agents gets: the first line that fits."
        everybody = [*self.harmful, self.plan.unknown_bot, self.plan.unclaimed]
        classes = {self.ids[agent]: found.name for found in self.harmful for agent in found.agents}
        if not self.plan.unknown_bot.harmless:
            classes["unknown"] = self.plan.unknown_bot.name
        others = {self.ids[agent]: "none" for found in self.plan.classes if found.harmless for agent in found.agents}
        if self.plan.unclaimed.harmless:
            everybody.remove(self.plan.unclaimed)
            others = {}
        default = "none" if self.plan.unclaimed.harmless else self.plan.unclaimed.name
        yield from _map("$noai_agent", "noai_class", [*classes.items(), *others.items()], default)
        key = "".join(f":$noai_in_{paths.name}" for paths in self.path_sets)
        ids: dict[Decision, str] = {}
        rows = []
        for found in everybody:
            if found.harmless:
                continue
            for decision in found.decisions:
                name = ids.setdefault(decision, f"d{len(ids) + 1}")
                rows.append((self._where(found, decision.paths), name))
        if self.path_sets:
            yield from _map(f'"$noai_class{key}"', "noai_decision_by_path", rows)
            yield from _map("$noai_class", "noai_decision", [("none", '""')], "$noai_decision_by_path")
        else:
            yield from _map("$noai_class", "noai_decision", rows)
        refusing = [(name, decision) for decision, name in ids.items() if decision.status]
        yield from _map("$noai_decision", "noai_tail", [(name, quote(found.tail)) for name, found in refusing])
        named = {self.ids[agent]: self.plan.who(agent) for found in self.harmful for agent in found.agents}
        yield from _map("$noai_agent", "noai_who", [(a, quote(text)) for a, text in named.items()], '"This client"')
        called = [(self.ids[agent], quote(ascii_text(agent.name))) for found in self.harmful for agent in found.agents]
        yield from _map("$noai_agent", "noai_agent_name", called)
        said = [
            (name, quote(f"{found.word}; rule={ascii_text(found.verdict.rule)}; agent=")) for found, name in ids.items()
        ]
        yield from _map("$noai_decision", "noai_said", said)
        yield "# To the backend, and for a log: allow, deny; rule=train-ai; agent=GPTBot ..."
        yield from _map("$noai_decision", "noai_verdict", [('""', "allow")], '"$noai_said$noai_agent_name"')
        yield from _map("$noai_decision", "noai_status_here", [(name, str(found.status)) for name, found in refusing])
        yield from _map("$noai_is_document", "noai_status_unless_document", [('""', "$noai_status_here")])
        exempt = ""
        if self.plan.exempt_networks:
            yield "geo $noai_is_exempt_address {"
            yield '    default "";'
            yield from (f"    {network} 1;" for network in self.plan.exempt_networks)
            yield "}"
            exempt = "$noai_is_exempt_address"
        key = f'"{exempt}$noai_status_here"'
        rows = [(f'"{status}"', "$noai_status_unless_document") for status in sorted({d.status for _, d in refusing})]
        yield from _map(key, "noai_status_of", rows)
        yield "# The status of the refusal, or nothing."
        through = [("-", '""')] if self.plan.unclaimed.harmless else []
        yield from _map("$noai_hits", "noai_status", through, "$noai_status_of")
        self.statuses = sorted({found.status for _, found in refusing})
        yield from self._refusal_fields([found for _, found in refusing])

    def _refusal_fields(self, refusing: Sequence[Decision]) -> Iterator[str]:
        """Header fields of refusals beside what every response declares; what only some have is mapped by status."""
        self.refusal_lines: list[tuple[bytes, str]] = []
        declared = {field for found in self.plan.compiled.declared for field in found.fields}
        for number, (name, value) in enumerate(dict.fromkeys(f for found in refusing for f in found.headers)):
            if (name, value) in declared or name == b"content-type":
                continue
            statuses = {found.status for found in refusing if (name, value) in found.headers}
            text = quote(value.decode("ascii"))
            if statuses != {found.status for found in refusing}:
                yield from _map("$noai_status", f"noai_refusal_{number}", [(str(s), text) for s in sorted(statuses)])
                text = f"$noai_refusal_{number}"
            self.refusal_lines.append((name, text))

    def _where(self, found: AgentClass, paths: PathSet | None) -> str:
        """The key of a decision: class, and the one path set that has to match."""
        if not self.path_sets:
            return found.name
        if paths is None:
            return f'"~^{found.name}:"'
        place = self.path_sets.index(paths)
        return f'"~^{found.name}(?::.){{{place}}}:1"'

    def _declared(self) -> Iterator[str]:
        """The value of each header line: what the section of a path declares, unless the site says it itself."""
        yield "# What every response declares, by section. The site's own Content-Usage and tdm-... stand."
        declared = self.plan.compiled.declared
        self.lines: list[tuple[bytes, str]] = []
        for name in dict.fromkeys(name for found in declared for name, _ in found.fields):
            values = [[quote(v.decode("ascii")) for n, v in found.fields if n == name] for found in declared]
            for place in range(max(map(len, values))):
                by_section = [found[place] if place < len(found) else '""' for found in values]
                variable = f"noai_{_variable(name)}_{place + 1}"
                value = by_section[0]
                if len(set(by_section)) > 1:
                    yield from _map("$noai_section", variable, [(str(n), v) for n, v in enumerate(by_section)])
                    value = f"${variable}"
                if name not in REPEATABLE:
                    own = f"$upstream_http_{_variable(name)}"
                    yield from _map(own, f"{variable}_alone", [('""', value)])
                    value = f"${variable}_alone"
                self.lines.append((name, value))

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
        yield from (f"    add_header {_title(name)} {value} always;" for name, value in self.refusal_lines)
        yield f"    include {self.root}/noai-guard/headers.conf;"
        for status in self.statuses:
            yield f'    if ($noai_status = {status}) {{ return {status} "$noai_who$noai_tail"; }}'
        yield "    return 403;"
        yield "}"
        for document in self.plan.documents:
            yield f"location = {_without_variables(quote(document.path))} {{"
            yield "    types { }"
            yield f"    default_type {quote(document.media_type)};"
            yield "    charset off;"
            yield f"    root {quote(f'{self.root}/noai-guard/documents')};"
            yield f"    try_files {quote(f'/{document_file(document)}')} =404;"
            for name, content in document_headers(document):
                if name not in (b"content-type", b"content-length", b"etag"):
                    yield f"    add_header {_title(name)} {quote(content.decode('ascii'))};"
            yield "}"

    def headers(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield from (f"add_header {_title(name)} {value} always;" for name, value in self.lines)

    def proxy(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this beside your own proxy_set_header lines: the backend reads the verdict in X-NoAI-Verdict."
        yield "proxy_set_header X-NoAI-Verdict $noai_verdict;"


def _numbers(step: int) -> range:
    """The numbers of the names that are cut out at a step, counted from 1."""
    return range((step - 1) * _NAMES + 1, step * _NAMES + 1)


def _is_name(token: Token[Agent]) -> bool:
    text = token.text.decode("ascii")
    plain = all(character.isalnum() or character in "_-" for character in text)
    return plain and not (token.host or token.at_start or token.family) and len(text) <= _LONGEST_NAME


def _letter(place: int) -> str:
    """Ranks as letters, in order."""
    return chr(ord("b") + place)


def _spellings(text: str) -> Iterator[str]:
    """How a name with blanks may have been sent (`user_agents.BLANK`)."""
    yield from dict.fromkeys(text.replace(" ", blank) for blank in (" ", "+", "%20"))


def _variable(name: bytes) -> str:
    return name.decode("ascii").replace("-", "_")


def _title(name: bytes) -> str:
    return "-".join(part.capitalize() for part in name.decode("ascii").split("-"))


def files(plan: TargetPlan, root: str) -> list[File]:
    """The configuration, for a folder that will be `root` on the server."""
    config = _Config(plan, root)
    texts = {
        "noai-guard.conf": config.http(),
        "noai-guard/names.map": config.names(),
        "noai-guard/server.conf": config.server(),
        "noai-guard/headers.conf": config.headers(),
        "noai-guard/proxy.conf": config.proxy(),
    }
    found = [File(path, "".join(f"{line}\n" for line in lines).encode("utf-8")) for path, lines in texts.items()]
    return [*found, *document_files(plan, "noai-guard/documents")]


TARGET = Target("nginx", "nginx", frozenset(Feature), files)
