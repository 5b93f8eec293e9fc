"""Apache httpd 2.4, as a file that a <VirtualHost> includes.

mod_rewrite finds out, before anybody else's rules, who asks and what they get, and keeps it in variables of the
request; it changes no address. A text of the policy stands in a `RewriteMap` of plain text, percent-encoded, so that
nothing in it means anything to Apache. <If> refuses, with the text as ErrorDocument, for these requests alone.
mod_headers declares. Where Apache starts again with another address (mod_dir, another's rules) the first answer stays.

A line of such a map holds 1,024 bytes at most (REWRITE_MAX_TXT_MAP_LINE, seen in 2.4.71).
"""

from collections.abc import Iterable, Iterator
from urllib.parse import quote as percent_encoded

from noai_guard.core.model import HeaderField
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.errors import CannotExpress
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import user_agent_regex
from noai_guard.targets.lookup_tables import (
    KNOWN,
    NONE,
    UNKNOWN_BOT,
    VERDICT_ALIASES,
    Tables,
    names_of,
)
from noai_guard.targets.plan import PathSet, TargetPlan, listed
from noai_guard.targets.target import Feature, File, Target, head, safe_document_files

_LONGEST = 8000
"""Characters of one expression. PCRE counts compiled bytes, 65,535 at most; Apache reads lines of any length."""

_LONGEST_LINE = 900
_NOBODY = "nobody"


def _sent(pattern: str, any_case: bool = True) -> str:
    """A condition on the user agent; without `Vary: User-Agent` on every response (NV)."""
    return f"%{{HTTP_USER_AGENT}} {expression(pattern)} [{'NC,' if any_case else ''}NV]"


def quote(text: str) -> str:
    """A text as the value of a line of a RewriteMap: percent-encoded but for plain signs."""
    return percent_encoded(text, safe="/!\"$&'()*+,:;<=>?@[]^_`{|}~.-", errors="replace")


def quote_argument(text: str) -> str:
    """A text as one argument of a directive that means itself; neither `${` nor control characters can stand in it."""
    if "${" in text or not text.isprintable():
        raise CannotExpress(f"Apache: {text!r} cannot stand in a directive")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def header_value(value: bytes) -> str:
    """The value of a header field as an argument of mod_headers, where a percent sign begins a variable."""
    text = value.decode("ascii").replace("%", "%%")
    if "\\" in text or text.startswith("expr="):
        raise CannotExpress(f"Apache: {text!r} cannot be the value of a header field")
    return quote_argument(text)


def expression(pattern: str) -> str:
    """A regular expression as an argument; `$` is the very end, and not before a last line feed."""
    return '"' + pattern.replace("$", r"\z").replace('"', '\\"') + '"'


def paths_expression(paths: PathSet | None) -> str:
    return '"^"' if paths is None else expression("|".join(map(glob_to_regex, paths.globs)))


class Rules:
    """mod_rewrite's rules: each may say how many of the following are left out."""

    def __init__(self) -> None:
        self._lines: list[tuple[tuple[str, ...], str, tuple[str, ...], str]] = []
        self._labels: dict[str, int] = {}

    def add(self, flags: Iterable[str], *conditions: str, pattern: str = '"^"', to: str = "") -> None:
        """`to` names the label to go on at."""
        self._lines.append((conditions, pattern, tuple(flags), to))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def lines(self) -> Iterator[str]:
        for place, (conditions, pattern, flags, to) in enumerate(self._lines):
            yield from (f"RewriteCond {condition}" for condition in conditions)
            left_out = self._labels[to] - place - 1 if to else 0
            listed = (*flags, f"S={left_out}") if left_out else flags
            yield f'RewriteRule {pattern} - "[{",".join(listed)}]"' if listed else f"RewriteRule {pattern} -"


class _Config:
    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.tables = Tables(plan)
        self.pieces = 1
        self.texts = self._texts()

    def _texts(self) -> dict[str, str]:
        tables = self.tables
        texts = {_NOBODY: "This client", f"{_NOBODY}-name": "", **self._agents()}
        for decision, key in tables.decisions.items():
            texts |= {f"{key}-tail": decision.tail, f"{key}-said": tables.says(decision)}
        return texts

    def _agents(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for agent, key in self.tables.ids.items():
            found |= {key: self.plan.who(agent), f"{key}-name": ascii_text(agent.name)}
        return found

    def vhost(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'apache')}"
        yield "# Include this in each <VirtualHost>, before its own Rewrite, Proxy and Alias lines:"
        yield f"#     Include {self.root}/noai-guard/vhost.conf"
        yield "# Modules: a2enmod rewrite headers (alias and setenvif are there)"
        yield f"# Refused: {listed(agent for found in self.tables.harmful for agent in found.agents)}."
        yield "RewriteEngine On"
        yield "RewriteMap noai_lower int:tolower"
        yield "RewriteMap noai_unescape int:unescape"
        for name in ("names", "texts"):
            yield f"RewriteMap noai_{name} {quote_argument(f'txt:{self.root}/noai-guard/{name}.txt')}"
        yield from self._documents()
        rules = Rules()
        self._again(rules)
        self._names(rules)
        self._decisions(rules)
        yield from rules.lines()
        yield from self._refusals()
        yield from declared(self.tables, "%{reqenv:NOAI_SECTION}")
        yield "# To the backend: allow, deny; rule=train-ai; agent=GPTBot ... Nobody else can say it."
        yield from (f"RequestHeader unset {alias}" for alias in VERDICT_ALIASES)
        yield 'RequestHeader set X-NoAI-Verdict "expr=%{reqenv:NOAI_VERDICT}"'

    def _documents(self) -> Iterator[str]:
        yield "# Documents are for everyone."
        for document, file in safe_document_files(self.plan, f"{self.root}/noai-guard/documents"):
            flags = f"L,T={document.media_type},E=NOAI_SECTION:document,E=NOAI_VERDICT:allow"
            yield 'RewriteCond %{REQUEST_METHOD} "^(?:GET|HEAD)$"'
            yield f'RewriteRule {expression(glob_to_regex(document.path))} {_substitution(file.path)} "[{flags}]"'
        yield f"<Directory {quote_argument(f'{self.root}/noai-guard/documents')}>"
        yield "    AllowOverride None"
        yield "    Require all granted"
        for field in document_headers(self.plan.documents[0]) if self.plan.documents else ():
            if field[0] not in (b"content-type", b"content-length", b"etag"):
                yield f"    Header set {_title(field)} {header_value(field[1])}"
        yield "</Directory>"

    def _again(self, rules: Rules) -> None:
        """The first reading stays when Apache goes on with another address, or looks what it would be."""
        rules.add([], "%{IS_SUBREQ} =true", to="end")
        kept = [f"E=NOAI_{name}:%{{ENV:REDIRECT_NOAI_{name}}}" for name in ("SECTION", "VERDICT")]
        rules.add(kept, "%{ENV:REDIRECT_NOAI_VERDICT} .", to="end")
        for paths, path_policy in reversed(self.plan.path_policies):
            rules.add([f"E=NOAI_SECTION:{path_policy}"], pattern=paths_expression(paths))
        rules.add(["E=NOAI_VERDICT:allow"])

    def _names(self, rules: Rules) -> None:
        plan = self.plan
        if plan.exempt_networks:
            inside = " || ".join(f"-R '{network}'" for network in plan.exempt_networks)
            rules.add([], f"expr {quote_argument(inside)}", to="end")
        usual = user_agent_regex.usual_browser_expression(plan.anchors)
        browsers = [_sent(usual, any_case=False)] if usual else []
        browsers.append(_sent(user_agent_regex.browser_expression(plan.anchors, possessive=True)))
        for browser in browsers:
            rules.add([], browser, to="nobody")
        rules.add([], *(_sent(f"!{found}") for found in user_agent_regex.sighting(plan.wanted, _LONGEST)), to="hosts")
        for tokens in (tokens for tier in plan.tiers for tokens in plan.weights(tier)):
            for found in user_agent_regex.expressions(tokens, _LONGEST):
                rules.add(["E=NOAI_NAME:%1"], _sent(found.pattern()), to="named")
        rules.label("hosts")
        rules.add([], _sent(user_agent_regex.NO_URL), to="unknown")
        others = [_sent(f"!{found.pattern()}") for found in user_agent_regex.expressions(plan.others, _LONGEST)]
        for token in plan.hosts:
            host = _sent(user_agent_regex.host_expression(token))
            rules.add([f"E=NOAI_AGENT:{self.tables.id_of(token.value)}"], host, *others, to="agent")
        rules.label("unknown")
        if plan.asks_unknown_bots:
            rules.add([f"E=NOAI_AGENT:{UNKNOWN_BOT}"], _sent(user_agent_regex.CALLS_ITSELF_A_BOT), to="agent")
        rules.label("nobody")
        rules.add([], to="agent")
        rules.label("named")
        key = "${noai_names:${noai_lower:%{ENV:NOAI_NAME}}|" + KNOWN + "}"
        rules.add([f"E=NOAI_AGENT:{key}"])
        for agent, key in self.tables.ids.items():
            if odd := [name.lower() for name in names_of(agent) if not _is_key(name)]:
                condition = f"%{{ENV:NOAI_NAME}} {expression(f'^(?:{user_agent_regex.trie(odd)})$')} [NC]"
                rules.add([f"E=NOAI_AGENT:{key}"], condition)
        rules.label("agent")

    def _decisions(self, rules: Rules) -> None:
        tables = self.tables
        unclaimed = tables.class_names[""]
        if unclaimed == NONE:
            rules.add([], '%{ENV:NOAI_AGENT} =""', to="end")
        found = f"${{noai_names:CLASS-%{{ENV:NOAI_AGENT}}|{unclaimed}}}"
        rules.add([f"E=NOAI_CLASS:{found}"])
        for name, paths, decision in tables.rows:
            rules.add(
                [f"E=NOAI_DECISION:{decision}"],
                f"%{{ENV:NOAI_CLASS}} ={name}",
                pattern=paths_expression(paths),
                to="decided",
            )
        rules.add([], to="end")
        rules.label("decided")
        rules.add([f"E=NOAI_AGENT:{_NOBODY}"], f'%{{ENV:NOAI_AGENT}} "^(?:{UNKNOWN_BOT}|{KNOWN})?$"')
        said = _text("%{ENV:NOAI_DECISION}-said", "%{ENV:NOAI_AGENT}-name", pieces=self._pieces)
        text = _text("%{ENV:NOAI_AGENT}", "%{ENV:NOAI_DECISION}-tail", pieces=self._pieces)
        rules.add([f"E=NOAI_VERDICT:{said}"])
        for status in sorted({found.status for found in tables.refusals.values()}):
            keys = "|".join(key for key, found in tables.refusals.items() if found.status == status)
            rules.add([f"E=NOAI_STATUS:{status}", f"E=NOAI_TEXT:{text}"], f'%{{ENV:NOAI_DECISION}} "^(?:{keys})$"')
        rules.label("end")

    @property
    def _pieces(self) -> int:
        return max(len(_cut(quote(text))) for text in self.texts.values())

    def _refusals(self) -> Iterator[str]:
        refusals = self.tables.refusals
        for status in sorted({found.status for found in refusals.values()}):
            yield f"<If \"reqenv('NOAI_STATUS') == '{status}'\">"
            yield f'    ErrorDocument {status} "%{{reqenv:NOAI_TEXT}}"'
            yield f"    Redirect {status} /"
            for field, decisions in self.tables.refusal_fields.items():
                those = {key for key, found in refusals.items() if found.status == status}
                if those & set(decisions):
                    some = ", ".join(f"'{key}'" for key in decisions)
                    when = "" if those <= set(decisions) else f" \"expr=reqenv('NOAI_DECISION') in {{{some}}}\""
                    act = "add" if field[0] in REPEATABLE else "set"
                    yield f"    Header always {act} {_title(field)} {header_value(field[1])}{when}"
            yield "</If>"

    def names(self) -> Iterator[str]:
        """Names as they were found, in lower case, and whose they are; and the classes of agents."""
        rows = {name.lower(): key for agent, key in self.tables.ids.items() for name in names_of(agent)}
        yield from (f"{name} {key}" for name, key in sorted(rows.items()) if _is_key(name))
        yield from (f"CLASS-{key} {found}" for key, found in self.tables.class_names.items() if key)

    def text_lines(self) -> Iterator[str]:
        for key, text in self.texts.items():
            yield from (f"{key}.{number} {piece}" for number, piece in enumerate(_cut(quote(text)), 1))


def declared(tables: Tables, path_policy: str) -> Iterator[str]:
    """mod_headers' lines for what every response declares. What the site says itself, of one kind, stands."""
    yield "# What responses declare. Where a backend says the same kind of thing itself, that stands."
    # tdm-policy goes where a site has its own tdm-reservation, so it is asked first.
    fields = sorted(tables.declared_fields.items(), key=lambda found: found[0][0] == b"tdm-reservation")
    for field, path_policies in fields:
        among = ", ".join(f"'{number or ''}'" for number in path_policies)
        own = {b"tdm-policy": ("tdm-policy", "tdm-reservation")}.get(field[0], (field[0].decode("ascii"),))
        alone = "" if field[0] in REPEATABLE else "".join(f" && -z resp('{name}')" for name in own)
        act = "add" if field[0] in REPEATABLE else "set"
        value = header_value(field[1])
        yield f"Header always {act} {_title(field)} {value} \"expr='{path_policy}' in {{{among}}}{alone}\""


def _title(field: HeaderField) -> str:
    return field[0].decode("ascii").title()


def _is_key(name: str) -> bool:
    """Whether a name can be a key of a RewriteMap: no blank, and no sign of a comment before it."""
    return " " not in name and not name.startswith("#")


def _substitution(path: str) -> str:
    """A file as the address that a rule leads to, in which some signs mean something."""
    if "?" in path:
        raise CannotExpress(f"Apache: --root with a question mark ({path})")
    return quote_argument("".join(f"\\{sign}" if sign in "\\$%" else sign for sign in path))


def _cut(text: str) -> list[str]:
    """An encoded text in pieces that fit on a line, each with whole escapes."""
    pieces = [""]
    for sign in text:
        if len(pieces[-1]) >= _LONGEST_LINE and "%" not in pieces[-1][-2:]:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def _text(*keys: str, pieces: int) -> str:
    """The texts under these keys, one behind the other."""
    found = (f"${{noai_texts:{key}.{number}}}" for key in keys for number in range(1, pieces + 1))
    return f"${{noai_unescape:{''.join(found)}}}"


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _render(plan: TargetPlan, root: str) -> list[File]:
    config = _Config(plan, root)
    return [
        File("noai-guard/vhost.conf", _lines(config.vhost())),
        File("noai-guard/names.txt", _lines(config.names())),
        File("noai-guard/texts.txt", _lines(config.text_lines())),
        *(file for _, file in safe_document_files(plan, "noai-guard/documents")),
    ]


TARGET = Target("apache", "Apache", frozenset(Feature), _render)
