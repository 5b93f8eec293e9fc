"""nginx 1.18 or newer, without any module.

One regular expression splits a User-Agent into names; each name is looked up in a `map` of plain strings, which is a
hash: 10,000 names cost as much as 300. Agents that are not recognised by one word take a few more expressions. The very
first expressions let through everybody but suspects (`noai_guard.targets.suspects`).

Our header lines stand in http { }, beside the site's own, and are empty in the servers of other sites. nginx inherits
the lines of a level only where the next one has none, so in the site's server { } they would remove those of its
http { }.

nginx reads at most 4,096 bytes as one parameter (NGX_CONF_BUFFER, seen in 1.22 and 1.31), so long expressions are
split. A value can contain a dollar sign only as a variable (`$noai_dollar`).
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import zip_longest

from noai_guard.core.catalog import rank
from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.responses.documents import document_file
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import nginx_language, nginx_works, suspects, user_agent_regex
from noai_guard.targets.decisions import UNNAMED_CLIENT
from noai_guard.targets.lookup_tables import LookupTables, header_title
from noai_guard.targets.nginx_language import MAX_KEY, Row, key, map_blocks, public_document, quote
from noai_guard.targets.origins import identity_notes, open_expressions, origin_refusals, rare_fields
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, block, document_files, head, text_file

_MAX_EXPRESSION = 3800
"""Characters of one expression, with room for quoting, below nginx's 4,096 bytes of a parameter."""

_MAX_NAME = MAX_KEY
"""Bytes of a name that can be the key of a map; longer ones are matched by expression."""

_NAMES_PER_STEP = 6
"""Number of names that one expression captures.

PCRE 8 without JIT, which some builds of nginx have, cannot recurse in an expression with more than 9 groups: it would
have to allocate memory, which nginx does not allow while it matches (seen in a build of 1.31 with 8.45)."""

_MAX_LOOKS = 6
"""Number of expressions of a first look for suspects that cost less than taking apart whoever is not a browser by its
words: those of a catalogue of about 1,500 restricted names."""

_STEPS = 2
"""Number of expressions that capture names of one User-Agent; the rest of it is searched by expression."""


def _add_header(name: bytes, value: str) -> str:
    return f"add_header {header_title(name)} {value} always;"


class NginxConfiguration:
    """The files of one plan, as lines.

    Variables that a map or `set` gives a value begin with a prefix of the policy. Those that expressions capture begin
    with `noaic_`: they are read at once, and one policy judges a request.
    """

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.prefix = nginx_language.prefix(plan.policy_name, "n", "noai_")
        self.folder = f"{root.rstrip('/')}/{plan.file_name}"
        self.origins = origin_refusals(plan)
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

    def http(self) -> Iterator[str]:
        plan, p = self.plan, self.prefix
        yield f"# {head(plan, 'nginx')}"
        yield "# Include this in http { }; a file in conf.d is included there already. Then, in each server { },"
        yield "# before its rewrite, return and location:"
        yield f"#     include {self.folder}/server.conf;"
        name = plan.policy_name or "without a name"
        yield f"# Policy: {name}. Its variables begin with ${p}; ${p}verdict is for log_format."
        yield f"# Refused: {self.tables.refused_names}."
        yield from (f"# {note}" for note in identity_notes(plan))
        yield "# Nobody is sent to this upstream: with it, two policies of one name do not load. --name gives a name."
        yield f"upstream {p}policy {{ server 127.0.0.1:9; }}"
        yield 'geo $noai_dollar { default "$"; }'
        yield "# The section of the policy, set in the servers of this site alone; and the mark of a document."
        yield f'geo ${p}sec {{ default ""; }}'
        yield f'geo ${p}doc {{ default ""; }}'
        yield from self._names()
        yield from self._agent()
        yield from self._paths()
        yield from self._decision()
        yield from self._verdict()
        yield from self._status()
        yield from self._origins()
        yield from self._refusal_fields[0]
        yield "# Declarations of every response, by section. The site's own Content-Usage and tdm-... take precedence."
        yield from self._declared_fields[0]
        yield f"include {self.folder}/headers.conf;"

    def _names(self) -> Iterator[str]:
        p = self.prefix
        yield "# The names in a User-Agent that are not words of browsers, each looked up in a hash."
        names = [(key(name), self._hit(token)) for name, token in self.by_name.items()]
        yield from map_blocks("$noaic_name", f"{p}of", names, volatile=True)
        for number in range(1, _NAMES_PER_STEP * _STEPS + 1):
            yield from map_blocks(f"$noaic_n{number}", f"{p}h{number:x}", [('"~(?<noaic_name>.+)"', f"${p}of")])
        name_tiers = [[token for token in tier if _is_name(token)] for tier in self.plan.tiers]
        rest = self._search(name_tiers, "noaic_name", f"${p}of")
        yield from map_blocks(f"$noaic_rest_{_STEPS}", f"{p}rest", rest)
        phrases = {
            key(token.text.decode("ascii").replace(" ", blank)): self._hit(token)
            for token in self.phrases
            for blank in (" ", "+", "%20")  # user_agent_regex.BLANK
        }
        if phrases:
            yield from map_blocks("$noaic_phrase", f"{p}ph_of", phrases.items())
        chosen = frozenset(map(id, self.phrases))
        tiers = filter(None, ([token for token in tier if id(token) in chosen] for tier in self.plan.tiers))
        lower = '""'
        for number, tier in reversed(list(enumerate(tiers, 1))):
            # Few User-Agents get past the fast expressions of a tier to its exact ones, which cost more.
            exact = self._search([tier], "noaic_phrase", f"${p}ph_of")
            yield from map_blocks("$http_user_agent", f"{p}ph{number}", exact, lower)
            fast = user_agent_regex.prefilters(tier, _MAX_EXPRESSION)
            rows = [(nginx_language.expression(prefilter), f"${p}ph{number}") for prefilter in fast]
            variable = f"{p}phrase{number if number > 1 else ''}"
            yield from map_blocks("$http_user_agent", variable, rows, lower)
            lower = f"${variable}"
        if lower == '""':
            yield from map_blocks("$http_user_agent", f"{p}phrase", [])
        for step in range(_STEPS, 1, -1):
            rows = [(nginx_language.expression(self._split(step)), f'"{self._hits_from(step)}"')]
            yield from map_blocks(f"$noaic_rest_{step - 1}", f"{p}hits_{step}", rows)
        yield from self._first_look()
        prefilters = user_agent_regex.prefilters(self.phrases, _MAX_EXPRESSION)
        rows = [(nginx_language.expression(prefilter), f"${p}all") for prefilter in prefilters]
        rows.append((nginx_language.expression(self._split(1)), f'"{self._hits_from(1)}"'))
        yield from map_blocks("$http_user_agent", f"{p}read_of", rows, "-")
        rows = [(nginx_language.expression(self._split(1)), f'"${p}phrase{self._hits_from(1)}"')]
        yield from map_blocks("$http_user_agent", f"{p}all", rows)

    def _first_look(self) -> Iterator[str]:
        """Yield the map from a User-Agent to its hits: none for who is no suspect."""
        p, anchors = self.prefix, self.plan.anchors
        common = user_agent_regex.common_browser_expression(anchors)
        nameless = self.plan.detects_nameless
        single = [(nginx_language.expression(user_agent_regex.SINGLE_WORD), f"${p}all")] if nameless else []
        rows = [('""', '""' if nameless else "-"), *single]
        rows += [(nginx_language.expression(common, any_case=False), "-")] if common else []
        looks = suspects.first_look(self.plan, _MAX_EXPRESSION)
        if suspects.suspects_everybody(self.plan) or len(looks) > _MAX_LOOKS:
            browser = user_agent_regex.browser_expression(anchors, possessive=True)
            rows.append((nginx_language.expression(browser), "-"))
            yield from map_blocks("$http_user_agent", f"{p}hits", rows, f"${p}read_of")
            return
        # Most people are let in by one fast expression; the exact ones are for who is left.
        harmless = suspects.surely_harmless(self.plan)
        rows += [(nginx_language.expression(harmless), "-")] if len(harmless) <= _MAX_EXPRESSION else []
        rows += [(nginx_language.expression(look), f"${p}read_of") for look in looks]
        yield from map_blocks("$http_user_agent", f"{p}hits", rows, "-")

    def _hits_from(self, step: int) -> str:
        """Return the variables with the hits of a step and of all later ones."""
        hits = "".join(f"${self.prefix}h{number:x}" for number in _name_numbers(step))
        return f"{hits}${self.prefix}{'rest' if step == _STEPS else f'hits_{step + 1}'}"

    def _split(self, step: int) -> str:
        """Return an expression that matches any User-Agent and captures its first names and the rest."""
        names = "".join(f"(?:(?1)(?<noaic_n{number}>[{user_agent_regex.WORD}]++)" for number in _name_numbers(step))
        url = "(?=(?:[^:]++|:(?!//))*+(?<noaic_url>://)?)" if step == 1 else ""
        rest = f"(?<noaic_rest_{step}>.+)?"
        skip = user_agent_regex.skip_to_name(self.by_name)
        return rf"(?(DEFINE)({skip}))^{url}{names}{rest}{')?' * _NAMES_PER_STEP}"

    def _search(self, tiers: Iterable[Iterable[AgentToken]], captured: str, hit: str) -> list[Row]:
        """Return the rows of a map from a User-Agent to the hit of the first token that an expression matches.

        The expression captures the token's name, from which `hit` is looked up.
        """
        return [
            (nginx_language.expression(expression.pattern(captured)), hit)
            for tier in tiers
            for expression in user_agent_regex.expressions(tier, _MAX_EXPRESSION)
        ]

    def _agent(self) -> Iterator[str]:
        p = self.prefix
        yield "# Of all matched names the one of the highest precedence; a URL counts only if there is no name."
        letters = sorted({self._hit(token)[1] for token in self.plan.tokens})
        rows = [(f'"~(?:^|;){letter}:(?<noaic_found>[^;]+)"', "$noaic_found") for letter in letters]
        yield from map_blocks(f"${p}hits", f"{p}agent", [*rows, ('""', f"${p}by_host"), ("-", '""')])
        host = user_agent_regex.host_expression
        hosts = [
            (nginx_language.expression(host(token)), self.tables.ids[token.value]) for token in self.plan.host_tokens
        ]
        unknown = f"${p}bot" if self.plan.detects_unknown_bots else '""'
        yield from map_blocks("$noaic_url", f"{p}by_host", [('""', unknown)], f"${p}by_url")
        yield from map_blocks(f"${p}host", f"{p}by_url", [('""', unknown)], f"${p}lone")
        yield from map_blocks("$http_user_agent", f"{p}host", hosts)
        others = user_agent_regex.expressions(self.other_phrases, _MAX_EXPRESSION)
        rows = [(nginx_language.expression(expression.pattern()), "1") for expression in others]
        yield from map_blocks("$http_user_agent", f"{p}other", rows)
        yield from map_blocks(f"${p}other", f"{p}lone", [('""', f"${p}host")])
        if self.plan.detects_unknown_bots:
            bot = CALLS_ITSELF_A_BOT.pattern.decode("ascii")
            rows = [(nginx_language.expression(bot), self.tables.UNKNOWN_BOT)]
            yield from map_blocks("$http_user_agent", f"{p}bot", rows)

    def _paths(self) -> Iterator[str]:
        p = self.prefix
        for number, paths in enumerate(self.tables.path_sets):
            rows = [(nginx_language.expression(regex, any_case=False), "1") for regex in paths.regexes]
            if not paths.raw:
                yield from map_blocks("$uri", f"{p}in{number}", rows, "0")
            variables = [f"{p}in{number}", *(f"{p}in{number}_{part}" for part in range(1, len(paths.raw)))]
            results = [*(f"${variable}" for variable in variables[1:]), "1"]
            for variable, pattern, result in zip(variables, paths.raw, results, strict=False):
                key = nginx_language.expression(pattern, any_case=False)
                yield from map_blocks("$request_uri", variable, [(key, result)], "0")
        if self.plan.works:
            folder = quote(f"{self.folder}/works.map"), quote(f"{self.folder}/long-works.map")
            yield from nginx_works.maps(self.plan, p, *folder)
        elif self.plan.path_policies:
            path_policies = [(paths.regex, str(number)) for paths, number in self.plan.path_policies]
            rows = [(nginx_language.expression(regex, any_case=False), number) for regex, number in path_policies]
            yield from map_blocks("$uri", f"{p}at", rows, "0")
        document = f"^(?:GET|HEAD):{self.plan.documents_regex.removeprefix('^')}"
        rows = [(nginx_language.expression(document, any_case=False), "1")] if self.plan.documents else []
        yield from map_blocks('"$request_method:$uri"', f"{p}is_doc", rows)

    def _decision(self) -> Iterator[str]:
        yield "# The decision for each class of agents: the first row that matches."
        tables, p = self.tables, self.prefix
        default = tables.class_names[""]
        if self.plan.detects_nameless:
            nameless = self.plan.nameless.name if self.plan.nameless.restricted else tables.NONE
            rows = [('""', nameless), (nginx_language.expression(user_agent_regex.SINGLE_WORD), nameless)]
            yield from map_blocks("$http_user_agent", f"{p}anon", rows, default)
            default = f"${p}anon"
        classes = {key: name for key, name in tables.class_names.items() if key not in ("", tables.KNOWN)}
        classes = {key: name for key, name in classes.items() if name != default}
        if default != tables.NONE:
            unrestricted = (agents for agents in self.plan.classes if not agents.restricted)
            classes |= {tables.ids[agent]: tables.NONE for agents in unrestricted for agent in agents.agents}
        if self.plan.hidden_tokens:
            yield from map_blocks(f"${p}agent", f"{p}read", classes.items(), default)
            stronger = [(name, name) for name in tables.stronger_classes]
            yield from map_blocks(f"${p}read", f"{p}class", stronger, f"${p}if_long")
            rows = [
                (nginx_language.expression(suspects.ESCAPED), self.plan.unreadable.name),
                (nginx_language.expression(suspects.TOO_LONG, any_case=False), f"${p}if_hid"),
            ]
            yield from map_blocks("$http_user_agent", f"{p}if_long", rows, f"${p}read")
            hidden = user_agent_regex.hidden_expressions(self.plan.hidden_tokens, _MAX_EXPRESSION)
            rows = [(nginx_language.expression(each), self.plan.unreadable.name) for each in hidden]
            yield from map_blocks("$http_user_agent", f"{p}if_hid", rows, f"${p}read")
        else:
            yield from map_blocks(f"${p}agent", f"{p}class", classes.items(), default)
        if not (tables.path_sets or self.plan.works):
            rows = [(agent_class, decision) for agent_class, _, decision in tables.rows]
            yield from map_blocks(f"${p}class", f"{p}dec", rows)
            return
        # A key is a class, the one path set that has to match, and what is wished for the work.
        flags = "".join(f":${p}in{number}" for number in range(len(tables.path_sets)))
        flags += f":w${p}wish" if self.plan.works else ""
        in_area = {paths: f"(?::.){{{number}}}:1" for number, paths in enumerate(tables.path_sets)}
        rows = [(f'"~^{name}{_in_paths(paths, in_area)}"', decision) for name, paths, decision in tables.rows]
        yield from map_blocks(f'"${p}class{flags}"', f"{p}by_path", rows)
        yield from map_blocks(f"${p}class", f"{p}dec", [(tables.NONE, '""')], f"${p}by_path")

    def _verdict(self) -> Iterator[str]:
        tables, p = self.tables, self.prefix
        rows = [(key, quote(decision.tail)) for key, decision in tables.refusals.items()]
        yield from map_blocks(f"${p}dec", f"{p}tail", rows)
        rows = [(key, quote(client)) for key, (client, _) in tables.agent_texts.items()]
        yield from map_blocks(f"${p}agent", f"{p}who", rows, f'"{UNNAMED_CLIENT}"')
        rows = [(key, quote(name)) for key, (_, name) in tables.agent_texts.items()]
        yield from map_blocks(f"${p}agent", f"{p}name", rows)
        rows = [(key, quote(decision.verdict_prefix)) for decision, key in tables.decisions.items()]
        yield from map_blocks(f"${p}dec", f"{p}said", rows)
        yield "# For the backend and for logs: allow, deny; rule=train-ai; agent=GPTBot ..."
        yield from map_blocks(f"${p}dec", f"{p}verdict", [('""', "allow")], f'"${p}said${p}name"')

    def _status(self) -> Iterator[str]:
        p = self.prefix
        rows = [(key, str(decision.status)) for key, decision in self.tables.refusals.items()]
        yield from map_blocks(f"${p}dec", f"{p}st_here", rows)
        yield from map_blocks(f"${p}is_doc", f"{p}st_any", [('""', f"${p}st_here")])
        exempt = ""
        if self.plan.exempt_networks:
            networks = (f"{network} 1;" for network in self.plan.exempt_networks)
            yield from block(f"geo ${p}exempt", ['default "";', *networks])
            exempt = f"${p}exempt"
        rows = [(f'"{status}"', f"${p}st_any") for status in self.tables.refusal_statuses]
        yield from map_blocks(f'"{exempt}${p}st_here"', f"{p}st_of", rows)
        yield "# The status of the refusal, or empty."
        rows = [] if self.plan.unclaimed.restricted else [("-", '""')]
        yield from map_blocks(f"${p}hits", f"{p}status", rows, f"${p}st_of")

    def _origins(self) -> Iterator[str]:
        """Yield maps to the number of the first refusal by network and header field, or to nothing."""
        p = self.prefix
        for number, origin in enumerate(self.origins, 1):
            yield from ([f"# {origin.note}"] if origin.note else [])
            tests: list[tuple[str, str, bool]] = []
            for condition in origin.headers:
                source = f"$http_{_variable(condition.name.encode())}"
                pattern = nginx_language.expression(condition.regex or ".")
                tests.append((source, pattern, condition.negated))
            for name, networks in (("net", origin.networks), ("out", origin.outside)):
                if networks:
                    lines = ('default "";', *(f"{network} 1;" for network in networks))
                    yield from block(f"geo ${p}{name}{number}", lines)
                    tests.append((f"${p}{name}{number}", "1", name == "out"))
            # One after the other: the next condition is looked at only where the one before is met.
            for index, (source, pattern, negated) in reversed(list(enumerate(tests))):
                met = f"${p}or{number}_{index + 1}" if index + 1 < len(tests) else str(number)
                value, default = ('""', met) if negated else (met, '""')
                yield from map_blocks(source, f"{p}or{number}{f'_{index}' * bool(index)}", [(pattern, value)], default)
        if self.origins:
            target, path = open_expressions(self.plan)
            yield from map_blocks(
                "$request_uri", f"{p}open", [(nginx_language.expression(target, any_case=False), "1")]
            )
            rows = [(nginx_language.expression(path, any_case=False), "1")] if path else []
            yield from map_blocks("$uri", f"{p}free", rows)
            exempt = f"${p}exempt" if self.plan.exempt_networks else ""
            numbers = range(1, len(self.origins) + 1)
            source = f'"{exempt}${p}open${p}free${p}is_doc:{"".join(f"${p}or{number}:" for number in numbers)}"'
            rows = [('"~^::*(?<noaic_origin>[0-9]+):"', "$noaic_origin")]
            yield from map_blocks(source, f"{p}or_of", rows)
            # Of most requests nothing else is looked at.
            rare = rare_fields(self.origins)
            some = (f"http_{_variable(name.encode())}" for name in rare) if rare else (f"{p}or{n}" for n in numbers)
            source = f'"{"".join(map("${}".format, some))}"'
            yield from map_blocks(source, f"{p}origin", [('""', '""')], f"${p}or_of")

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
                variable = f"{self.prefix}r{number}"
                rows = [(str(status), text) for status in statuses]
                maps += map_blocks(f"${self.prefix}status", variable, rows)
                text = f"${variable}"
            lines.append(_add_header(name, text))
        return maps, lines

    def _once(self, variable: str, value: str) -> Iterator[str]:
        """Yield the maps of a line that is not added again to a 416.

        Where a range is beyond a file, nginx has added its lines already and adds them to the response to the error too
        (seen in 1.22). The status of that is 416, that of the backend, if there is one, is not. Without a Range there
        is one lookup of an empty text.
        """
        yield from map_blocks("$http_range", variable, [('""', value)], f"${variable}r", volatile=True)
        rows = [(f'"416:{upstream}"', '""') for upstream in ("", "200", "206")]
        yield from map_blocks('"$status:$upstream_status"', f"{variable}r", rows, value, volatile=True)

    @cached_property
    def _declared_fields(self) -> tuple[list[str], list[str], dict[str, str]]:
        """Maps and add_header lines for declarations, by section, and by the field of the site if it has one.

        Then variables that have the same value in all of the site, which `set` gives them: that costs less than a map.
        """
        declared, p = self.plan.declarations, self.prefix
        maps: list[str] = []
        lines: list[str] = []
        everywhere: dict[str, str] = {}
        for name in dict.fromkeys(name for section in declared for name, _ in section.fields):
            values = [[quote(v.decode("ascii")) for n, v in section.fields if n == name] for section in declared]
            for by_section in zip_longest(*values, fillvalue='""'):
                variable = f"{p}e{len(lines) + 1}"
                lines.append(_add_header(name, f"${p}d{len(lines) + 1}"))
                maps += self._once(f"{p}d{len(lines)}", f"${variable}")
                if name in REPEATABLE and len(by_section) == 1:
                    everywhere[variable] = by_section[0]
                    maps.append(f'geo ${variable} {{ default ""; }}')
                    continue
                source, suffix = f"${p}sec", ""
                if name not in REPEATABLE:
                    source, suffix = f'"${p}sec:{_OWN_FIELDS.get(name, f"$upstream_http_{_variable(name)}")}"', ":"
                rows = [(f'"{section}{suffix}"', value) for section, value in enumerate(by_section)]
                maps += map_blocks(source, variable, rows)
        return maps, lines, everywhere

    def server(self) -> Iterator[str]:
        p = self.prefix
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this once in each server { } that is protected, before its rewrite, return and location."
        yield "# A server or location with add_header lines of its own inherits none: include headers.conf there too."
        yield "# `noai-guard config nginx --inspect` lists them."
        # A map keeps its first value: the section of the path as sent, also after an internal redirect.
        yield f"set ${p}sec {f'${p}at' if self.plan.path_policies else '0'};"
        yield f'set ${p}doc "";'
        yield from (f"set ${variable} {value};" for variable, value in self._declared_fields[2].items())
        if self.origins:
            yield f"if (${p}origin) {{ rewrite ^ /.noai-guard/origin? last; }}"
        yield f"if (${p}status) {{ rewrite ^ /.noai-guard/refusal? last; }}"
        yield "location = /.noai-guard/refusal {"
        yield "    internal;"
        yield '    default_type "text/plain; charset=utf-8";'
        yield "    charset off;"
        yield from (f"    {line}" for line in self._refusal_fields[1])
        yield f"    include {self.folder}/headers.conf;"
        for status in self.tables.refusal_statuses:
            yield f'    if (${p}status = {status}) {{ return {status} "${p}who${p}tail"; }}'
        yield "    return 403;"
        yield "}"
        if self.origins:
            yield from self._origin_location()
        for document in self.plan.documents:
            # A location has no variables: a dollar sign is literal.
            yield f"location = {quote(document.path).replace('${noai_dollar}', '$')} {{"
            yield from (f"    {line}" for line in public_document(document.media_type))
            yield from (f'    set ${variable} "";' for variable in (f"{p}sec", *self._declared_fields[2]))
            yield f'    set ${p}doc "*";'
            yield "    max_ranges 0;"
            yield f"    root {quote(f'{self.folder}/documents')};"
            yield f"    try_files {quote(f'/{document_file(document)}')} =404;"
            yield "}"

    def _origin_location(self) -> Iterator[str]:
        p = self.prefix
        yield "location = /.noai-guard/origin {"
        yield "    internal;"
        yield '    default_type "text/plain; charset=utf-8";'
        yield "    charset off;"
        fields = dict.fromkeys(field for origin in self.origins for field in origin.fields)
        for name, value in fields:
            if name != b"content-type":
                yield f"    {_add_header(name, quote(value.decode('ascii')))}"
        yield f"    include {self.folder}/headers.conf;"
        for number, origin in enumerate(self.origins, 1):
            yield f"    if (${p}origin = {number}) {{ return {origin.status} {quote(origin.text)}; }}"
        yield "    return 403;"
        yield "}"

    def headers(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# For a server or location with add_header lines of its own: include this beside them."
        yield from self._declared_fields[1]
        yield f"add_header Access-Control-Allow-Origin ${self.prefix}doc;"

    def proxy(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'nginx')}"
        yield "# Include this beside your own proxy_set_header lines: the backend reads the verdict in X-NoAI-Verdict."
        yield f"proxy_set_header X-NoAI-Verdict ${self.prefix}verdict;"


_OWN_FIELDS = {b"tdm-policy": "$upstream_http_tdm_reservation$upstream_http_tdm_policy"}
"""tdm-policy belongs to tdm-reservation: the policy beside the site's own reservation is the site's own, or none."""


def _variable(name: bytes) -> str:
    return name.decode("ascii").replace("-", "_")


def _in_paths(paths: PathSet | None, in_area: Mapping[PathSet, str]) -> str:
    """Return what follows the class in the key of a decision."""
    area = paths and paths.area
    wish = "" if paths is None or paths.wish is None else rf".*:w{paths.wish}\z"
    return (in_area[area] if area else ":") + wish


def _name_numbers(step: int) -> range:
    """Return the numbers, from 1, of the names that a step captures."""
    return range((step - 1) * _NAMES_PER_STEP + 1, step * _NAMES_PER_STEP + 1)


def _is_name(token: AgentToken) -> bool:
    text = token.text.decode("ascii")
    plain = all(character.isalnum() or character in "_-" for character in text)
    return plain and not (token.host or token.at_start or token.family) and len(text) <= _MAX_NAME


def files(plan: TargetPlan, root: str) -> list[File]:
    """Return the configuration for a folder that will be `root` on the server."""
    configuration, name = NginxConfiguration(plan, root), plan.file_name
    return [
        text_file(f"{name}.conf", configuration.http()),
        text_file(f"{name}/server.conf", configuration.server()),
        text_file(f"{name}/headers.conf", configuration.headers()),
        text_file(f"{name}/proxy.conf", configuration.proxy()),
        *nginx_works.files(plan, name),
        *document_files(plan, f"{name}/documents"),
    ]


TARGET = ServerTarget(
    "nginx",
    "nginx",
    files,
    nginx_works.limitations,
    supports=USUAL | {Feature.ORIGINS, Feature.NAMELESS},
    options=frozenset({"name", "inspect"}),
    maps_works=True,
)
