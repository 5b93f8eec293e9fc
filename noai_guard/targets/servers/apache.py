"""Apache httpd 2.4, as a file that a <VirtualHost> includes.

mod_rewrite recognises the agent and looks up the decision before all other rules, and keeps both in variables of the
request. The texts of the policy are in a `RewriteMap` of plain text, percent-encoded, so that nothing in them has a
meaning for Apache. Who is refused is sent to a file of ours, so that no redirect, proxy or MultiViews of the site
answers first, and <If> refuses there, with the text as ErrorDocument of only these requests. mod_headers declares. If
Apache restarts with another path (mod_dir, other rules), the first decision stands.

A line of such a map has at most 1,024 bytes (REWRITE_MAX_TXT_MAP_LINE, seen in 2.4.71).
"""

from collections.abc import Iterable, Iterator
from urllib.parse import quote as percent_encoded

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.targets import apache_works, suspects, user_agent_regex
from noai_guard.targets.apache_directives import (
    declared_fields,
    expression,
    header_directive,
    header_value,
    in_request_line,
    quote_argument,
)
from noai_guard.targets.decisions import UNNAMED_CLIENT
from noai_guard.targets.lookup_tables import (
    VERDICT_ALIASES,
    LookupTables,
    file_server_headers,
    header_title,
    names_of,
)
from noai_guard.targets.origins import MANY, OriginRefusal, open_expressions, origin_refusals
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import TargetPlan, grouped
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head, safe_document_files, text_file

_MAX_EXPRESSION = 8000
"""Characters of one expression. PCRE counts compiled bytes, 65,535 at most; Apache reads lines of any length."""

_MAX_MAP_VALUE = 900
_NO_AGENT = "nobody"
_ALLOWED = "E=NOAI_VERDICT:allow"
"""Each rule takes half a microsecond, so this has none of its own."""

_FOR_EVERYONE = "200"
"""What NOAI_STATUS is for a document; for a refusal it is its status."""


def _user_agent_matches(pattern: str, any_case: bool = True) -> str:
    """Return a condition on the User-Agent that adds no `Vary: User-Agent` to responses (NV)."""
    return f"%{{HTTP_USER_AGENT}} {expression(pattern)} [{'NC,' if any_case else ''}NV]"


def _read_matches(pattern: str) -> str:
    """Return a condition on the part of the User-Agent that is read closely."""
    return f"%{{ENV:NOAI_READ}} {expression(pattern)} [NC]"


def quote(text: str) -> str:
    """Return a text as the value of a line of a RewriteMap, percent-encoded."""
    return percent_encoded(text, safe="/!\"$&'()*+,:;<=>?@[]^_`{|}~.-", errors="replace")


def _path_conditions(paths: PathSet | None) -> tuple[list[str], str]:
    """Return conditions and the pattern of a rule that holds for these paths."""
    if paths is None:
        return [], '"^"'
    if paths.raw:
        return [f"%{{THE_REQUEST}} {expression(in_request_line(pattern))}" for pattern in paths.raw], '"^"'
    wish = [] if paths.wish is None else [f"%{{ENV:NOAI_WISH}} ={paths.wish}"]
    return wish, expression(paths.regex) if paths.globs else '"^"'


class RewriteRules:
    """Rules of mod_rewrite with forward jumps: the flag S skips a number of following rules."""

    def __init__(self) -> None:
        self._lines: list[tuple[tuple[str, ...], str, tuple[str, ...], str, str]] = []
        self._labels: dict[str, int] = {}

    def add(
        self, flags: Iterable[str], *conditions: str, pattern: str = '"^"', to: str = "", substitution: str = "-"
    ) -> None:
        """Add a rule that jumps to the label `to` if its conditions and its pattern match."""
        self._lines.append((conditions, pattern, tuple(flags), to, substitution))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def lines(self) -> Iterator[str]:
        for index, (conditions, pattern, flags, to, substitution) in enumerate(self._lines):
            yield from (f"RewriteCond {condition}" for condition in conditions)
            skipped = self._labels[to] - index - 1 if to else 0
            all_flags = (*flags, f"S={skipped}") if skipped else flags
            rule = f"RewriteRule {pattern} {substitution}"
            yield f'{rule} "[{",".join(all_flags)}]"' if all_flags else rule


class VirtualHost:
    """The files of one plan, as lines: directives, and the two maps that they read."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.documents = f"{self.root}/noai-guard/documents"
        self.refusal = _substitution(f"{self.root}/noai-guard/refusal")  # there is no such file, and none is needed
        self.origins = origin_refusals(plan, MANY)
        self.tables = LookupTables(plan)
        self.texts: dict[str, str] = {}
        for key, (client, name) in {_NO_AGENT: (UNNAMED_CLIENT, ""), **self.tables.agent_texts}.items():
            self.texts |= {key: client, f"{key}-name": name}
        for decision, key in self.tables.decisions.items():
            self.texts |= {f"{key}-tail": decision.tail, f"{key}-said": decision.verdict_prefix}

    def directives(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'apache')}"
        yield "# Include this in each <VirtualHost>, before its own Rewrite, Proxy and Alias lines:"
        yield f"#     Include {self.root}/noai-guard/vhost.conf"
        yield "# Modules: a2enmod rewrite headers (alias and setenvif are there)"
        yield f"# Refused: {self.tables.refused_names}."
        yield "RewriteEngine On"
        yield "RewriteMap noai_lower int:tolower"
        yield "RewriteMap noai_unescape int:unescape"
        for name in ("names", "texts"):
            yield f"RewriteMap noai_{name} {quote_argument(f'txt:{self.root}/noai-guard/{name}.txt')}"
        if self.plan.works:
            yield from apache_works.map_directives(self.plan.works, f"{self.root}/noai-guard")
        yield from self._documents()
        rules = RewriteRules()
        has_sections = bool(self.plan.path_policies or self.plan.works)
        if not has_sections:
            # Before all else: each rule takes half a microsecond.
            self._by_origin(rules)
            self._usual_browser(rules, "%{IS_SUBREQ} =false", '%{ENV:REDIRECT_NOAI_VERDICT} =""')
        self._keep_first_decision(rules)
        if has_sections:
            self._by_origin(rules)
            self._usual_browser(rules)
        self._agent(rules)
        self._decision(rules)
        yield from rules.lines()
        yield from self._refusals()
        yield from declared_fields(self.tables, "NOAI_SECTION", documents_apart=True)
        yield "# For the backend: allow, deny; rule=train-ai; agent=GPTBot ... No client can set it."
        yield from (f"RequestHeader unset {alias}" for alias in VERDICT_ALIASES)
        yield 'RequestHeader set X-NoAI-Verdict "expr=%{reqenv:NOAI_VERDICT}"'

    def _documents(self) -> Iterator[str]:
        yield "# Documents are for everyone."
        documents = safe_document_files(self.plan, self.documents)
        if documents:
            yield f'RewriteRule "!{expression(self.plan.documents_regex)[1:]} - "[S={len(documents)}]"'
        for document, file in documents:
            states = f"E=NOAI_SECTION:document,E=NOAI_VERDICT:allow,E=NOAI_STATUS:{_FOR_EVERYONE}"
            yield 'RewriteCond %{REQUEST_METHOD} "^(?:GET|HEAD)$"'
            flags = f"L,T={document.media_type},{states}"
            yield f'RewriteRule {expression(pattern_to_regex(document.path))} {_substitution(file.path)} "[{flags}]"'
        yield f"<Directory {quote_argument(self.documents)}>"
        yield "    AllowOverride None"
        yield "    Require all granted"
        for name, value in file_server_headers(self.plan.documents[0]) if self.plan.documents else ():
            yield f"    Header set {name} {header_value(value)}"
        for declared in dict.fromkeys(name for name, _ in self.tables.declared_fields):
            yield f"    Header always unset {header_title(declared)}"
        yield "</Directory>"

    def _keep_first_decision(self, rules: RewriteRules) -> None:
        """Keep the decision when Apache restarts with another path, and skip subrequests."""
        rules.add([], "%{IS_SUBREQ} =true", to="end")
        kept = [f"E=NOAI_{name}:%{{ENV:REDIRECT_NOAI_{name}}}" for name in ("SECTION", "VERDICT")]
        rules.add(kept, '%{ENV:REDIRECT_NOAI_VERDICT} !=""', to="end")
        for paths, path_policy in reversed(() if self.plan.works else self.plan.path_policies):
            rules.add([f"E=NOAI_SECTION:{path_policy}"], pattern=expression(paths.regex))
        apache_works.add_rules(self.plan, rules)

    def _usual_browser(self, rules: RewriteRules, *conditions: str) -> None:
        common = user_agent_regex.common_browser_expression(self.plan.anchors)
        if common and not suspects.suspects_everybody(self.plan):
            rules.add([_ALLOWED], *conditions, _user_agent_matches(common, any_case=False), to="end")

    def _agent(self, rules: RewriteRules) -> None:
        plan = self.plan
        if not suspects.suspects_everybody(plan):
            harmless = [_user_agent_matches(pattern) for pattern in suspects.harmless(plan, _MAX_EXPRESSION)]
            rules.add([_ALLOWED], *harmless, to="end")
        if plan.exempt_networks:
            exempt = " || ".join(f"-R '{network}'" for network in plan.exempt_networks)
            rules.add([_ALLOWED], f"expr {quote_argument(exempt)}", to="end")
        self._excerpt(rules)
        for number, tokens in enumerate(tokens for tier in plan.tiers for tokens in plan.ranked(tier)):
            # A name costs microseconds in each expression with its surroundings, so those are tried where one occurs.
            prefilters = user_agent_regex.prefilters(tokens, _MAX_EXPRESSION)
            rules.add([], *(_read_matches(f"!{prefilter}") for prefilter in prefilters), to=f"not {number}")
            for names in user_agent_regex.expressions(tokens, _MAX_EXPRESSION):
                rules.add(["E=NOAI_NAME:%1"], _read_matches(names.pattern()), to="named")
            rules.label(f"not {number}")
        rules.add([], _read_matches(user_agent_regex.NO_URL), to="unknown")
        other_names = user_agent_regex.expressions(plan.other_tokens, _MAX_EXPRESSION)
        others = [_read_matches(f"!{names.pattern()}") for names in other_names]
        for token in plan.host_tokens:
            host = _read_matches(user_agent_regex.host_expression(token))
            rules.add(
                [f"E=NOAI_AGENT:{self.tables.ids.get(token.value, self.tables.KNOWN)}"], host, *others, to="agent"
            )
        rules.label("unknown")
        if plan.detects_unknown_bots:
            bot = _read_matches(user_agent_regex.CALLS_ITSELF_A_BOT)
            rules.add([f"E=NOAI_AGENT:{self.tables.UNKNOWN_BOT}"], bot, to="agent")
        rules.add([], to="agent")
        rules.label("named")
        key = "${noai_names:${noai_lower:%{ENV:NOAI_NAME}}|" + self.tables.KNOWN + "}"
        rules.add([f"E=NOAI_AGENT:{key}"])
        for agent, key in self.tables.ids.items():
            if not_keys := [name.lower() for name in names_of(agent) if not _is_key(name)]:
                condition = f"%{{ENV:NOAI_NAME}} {expression(f'^(?:{user_agent_regex.trie(not_keys)})$')} [NC]"
                rules.add([f"E=NOAI_AGENT:{key}"], condition)
        rules.label("agent")

    def _excerpt(self, rules: RewriteRules) -> None:
        """Keep in NOAI_READ what is read closely, and in NOAI_UNREAD what is only searched for hidden names: the middle
        of a long User-Agent, and one with escapes, decoded."""
        rules.add([_ALLOWED, "E=NOAI_READ:%1"], _user_agent_matches("(?s)^(.*)$", any_case=False))
        excerpt = ["E=NOAI_READ:%1%2__%4%5", "E=NOAI_UNREAD:%2%3%4"]
        rules.add(excerpt, _user_agent_matches(user_agent_regex.EXCERPT, any_case=False))
        decoded = "${noai_unescape:${noai_unescape:%1}}"
        whole = f"(?s)^(?=(.*)$).*?(?:{suspects.ESCAPED})"
        rules.add([f"E=NOAI_UNREAD:{decoded}", "E=NOAI_ESCAPED:%1"], _user_agent_matches(whole))

    def _decision(self, rules: RewriteRules) -> None:
        tables = self.tables
        unclaimed = tables.class_names[""]
        rules.add([f"E=NOAI_CLASS:${{noai_names:CLASS-%{{ENV:NOAI_AGENT}}|{unclaimed}}}"])
        if self.plan.hidden_tokens:
            stronger = "|".join(tables.stronger_classes)
            weaker = [f'%{{ENV:NOAI_CLASS}} "!^(?:{stronger})$"'] if stronger else []
            unread = [f"E=NOAI_CLASS:{self.plan.unreadable.name}", f"E=NOAI_AGENT:{_NO_AGENT}"]
            texts = sorted({token.written.decode("ascii") for token in self.plan.hidden_tokens})
            for words in user_agent_regex.split_words(texts, _MAX_EXPRESSION):
                names = expression(user_agent_regex.trie(words))
                # Apache does not decode what logs write (`\x41`), and stops at an escaped NUL.
                hidden = f"%{{ENV:NOAI_UNREAD}} {names} [NC,OR]"
                undecoded = '%{ENV:NOAI_ESCAPED} "%(?:25)*00|\\x5c(?:x|u00)" [NC]'
                rules.add(unread, *weaker, hidden, undecoded)
        if unclaimed == tables.NONE:
            rules.add([], f"%{{ENV:NOAI_CLASS}} ={tables.NONE}", to="end")
        for agent_class, paths, decision in tables.rows:
            conditions, pattern = _path_conditions(paths)
            in_class = f"%{{ENV:NOAI_CLASS}} ={agent_class}"
            rules.add([f"E=NOAI_DECISION:{decision}"], in_class, *conditions, pattern=pattern, to="decided")
        rules.add([], to="end")
        rules.label("decided")
        rules.add([f"E=NOAI_AGENT:{_NO_AGENT}"], f'%{{ENV:NOAI_AGENT}} "^(?:{tables.UNKNOWN_BOT}|{tables.KNOWN})?$"')
        parts = max(len(_split(quote(text))) for text in self.texts.values())
        verdict = _text("%{ENV:NOAI_DECISION}-said", "%{ENV:NOAI_AGENT}-name", parts=parts)
        text = _text("%{ENV:NOAI_AGENT}", "%{ENV:NOAI_DECISION}-tail", parts=parts)
        rules.add([f"E=NOAI_VERDICT:{verdict}"])
        for status in tables.refusal_statuses:
            keys = "|".join(key for key, decision in tables.refusals.items() if decision.status == status)
            condition = f'%{{ENV:NOAI_DECISION}} "^(?:{keys})$"'
            flags = [f"E=NOAI_STATUS:{status}", f"E=NOAI_TEXT:{text}", "END"]
            rules.add(flags, condition, substitution=self.refusal)
        rules.label("end")

    def _refusals(self) -> Iterator[str]:
        yield "# Documents and refusals need no password, address or handler of the site."
        yield "<If \"-n reqenv('NOAI_STATUS')\">"
        yield from ("    Require all granted", "    SetHandler None")
        yield from ("    <IfModule mod_access_compat.c>", "        Satisfy Any", "    </IfModule>")
        for status in self.tables.refusal_statuses:
            keys = {key for key, decision in self.tables.refusals.items() if decision.status == status}
            yield f"    <If \"reqenv('NOAI_STATUS') == '{status}'\">"
            yield f'        ErrorDocument {status} "%{{reqenv:NOAI_TEXT}}"'
            yield f"        Redirect {status} /"
            for field, having in self.tables.refusal_fields.items():
                if keys & set(having):
                    some = ", ".join(f"'{key}'" for key in having)
                    condition = "" if keys <= set(having) else f" \"expr=reqenv('NOAI_DECISION') in {{{some}}}\""
                    yield f"        {header_directive(field, condition)}"
            yield "    </If>"
        for number, origin in enumerate(self.origins):
            yield from [f"    # {origin.note}"] * bool(origin.note)
            yield f"    <If \"reqenv('NOAI_STATUS') == 'origin-{number}'\">"
            yield f"        ErrorDocument {origin.status} {quote_argument(origin.text.rstrip())}"
            yield f"        Redirect {origin.status} /"
            yield from (f"        {header_directive(field)}" for field in origin.fields)
            yield "    </If>"
        yield "</If>"

    def _by_origin(self, rules: RewriteRules) -> None:
        """Refuse by network and header field."""
        target, path = open_expressions(self.plan)
        spared = ["-n reqenv('REDIRECT_NOAI_VERDICT')", f"%{{THE_REQUEST}} =~ {_literal(in_request_line(target))}"]
        spared += [f"%{{REQUEST_URI}} =~ {_literal(path)}"] if path else []
        spared += [f"-R '{network}'" for network in self.plan.exempt_networks]
        for name, origins in grouped(enumerate(self.origins), lambda origin: _header_of(origin[1])).items():
            if name:
                # Only who sends this field is asked for all that follows.
                rules.add([], f'%{{HTTP:{name}}} "^$" [NV]', to=f"no {name}")
            for number, origin in origins:
                # Unlike <If>, RewriteCond keeps two backslashes.
                condition = f"expr {quote_argument(' && '.join(_met(origin, spared)))}".replace("\\\\", "\\")
                label = origin.verdict.partition(";")[0]
                flags = [f"E=NOAI_STATUS:origin-{number}", f"E=NOAI_VERDICT:{label}", "END"]
                rules.add(flags, condition, substitution=self.refusal)
            if name:
                rules.label(f"no {name}")

    def names(self) -> Iterator[str]:
        """Yield the rows of names.txt: names in lower case -> agent ids, and agent ids -> classes."""
        rows = {name.lower(): key for agent, key in self.tables.ids.items() for name in names_of(agent)}
        yield from (f"{name} {key}" for name, key in sorted(rows.items()) if _is_key(name))
        yield from (f"CLASS-{key} {name}" for key, name in self.tables.class_names.items() if key)
        yield from apache_works.section_lines(self.plan) if self.plan.works else ()

    def text_lines(self) -> Iterator[str]:
        for key, text in self.texts.items():
            yield from (f"{key}.{number} {part}" for number, part in enumerate(_split(quote(text)), 1))


def _header_of(origin: OriginRefusal) -> str:
    """Return the name of a header field that every request has which an origin refuses, if there is one."""
    return next((condition.name for condition in origin.headers if not condition.negated), "")


def _met(origin: OriginRefusal, spared: Iterable[str]) -> Iterator[str]:
    """Yield the conditions under which an origin is refused. An exclamation mark before all would turn them around."""
    yield "%{IS_SUBREQ} == 'false'"
    yield from (f"!({each})" for each in spared)
    if origin.networks:
        networks = [f"-R '{network}'" for network in origin.networks]
        yield f"({' || '.join(networks)})"
    if origin.outside:
        networks = [f"-R '{network}'" for network in origin.outside]
        yield f"!({' || '.join(networks)})"
    for condition in origin.headers:
        value = f"req_novary('{condition.name}')"
        met = f"{value} =~ {_literal(f'(?i){condition.regex}')}" if condition.regex else f"-n {value}"
        yield f"!({met})" if condition.negated else met


def _literal(pattern: str) -> str:
    """Return an expression between signs that stand in none of ours."""
    return f"m#{pattern.replace('#', '[#]')}#"


def _is_key(name: str) -> bool:
    """Return True if a name can be a key of a RewriteMap: it has no space and is no comment."""
    return " " not in name and not name.startswith("#")


def _substitution(path: str) -> str:
    """Return the path of a file as the substitution of a rule, with its special characters escaped."""
    if "?" in path:
        raise CannotExpress(f"Apache: --root with a question mark ({path})")
    return quote_argument("".join(f"\\{character}" if character in "\\$%" else character for character in path))


def _split(encoded: str) -> list[str]:
    """Return a percent-encoded text in parts that fit on a line; no escape is divided."""
    parts = [""]
    for character in encoded:
        if len(parts[-1]) >= _MAX_MAP_VALUE and "%" not in parts[-1][-2:]:
            parts.append("")
        parts[-1] += character
    return parts


def _text(*keys: str, parts: int) -> str:
    """Return the map lookups that concatenate the texts with these keys."""
    lookups = (f"${{noai_texts:{key}.{number}}}" for key in keys for number in range(1, parts + 1))
    return f"${{noai_unescape:{''.join(lookups)}}}"


def _render(plan: TargetPlan, root: str) -> list[File]:
    host = VirtualHost(plan, root)
    return [
        text_file("noai-guard/vhost.conf", host.directives()),
        text_file("noai-guard/names.txt", host.names()),
        text_file("noai-guard/texts.txt", host.text_lines()),
        *(apache_works.files(plan.works, "noai-guard") if plan.works else ()),
        *(file for _, file in safe_document_files(plan, "noai-guard/documents")),
    ]


TARGET = ServerTarget(
    "apache", "Apache", _render, supports=USUAL | {Feature.ORIGINS}, max_networks=MANY, maps_works=True
)
