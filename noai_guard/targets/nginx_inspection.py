"""What an nginx configuration that includes ours, or will, loses or leaves unguarded, with what to type.

nginx inherits the lines of add_header, proxy_set_header, error_page and auth_request only where a level has none of its
own, and carries out rewrite and return before everything else.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from noai_guard.errors import Problem

_OURS = re.compile(r"(?:^|/)noai-guard[^/]*(?:/[^/]+)?\.conf$")
_FLAGS = ("last", "break", "redirect", "permanent")
"""Flags of rewrite after which nginx reads no further directive of the rewrite module."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; `block` has what is in its braces, or in the file that it includes."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: "tuple[Directive, ...]" = ()

    @property
    def is_ours(self) -> bool:
        """True if it stands in a file that we generated."""
        return bool(_OURS.search(self.file))

    @property
    def text(self) -> str:
        """The directive as somebody would type it."""
        return " ".join((self.name, *(_word(arg) for arg in self.args))) + ";"

    def includes(self, name: str) -> bool:
        """True if it includes one of our files."""
        path = self.args[0] if self.name == "include" and self.args else ""
        return bool(_OURS.search(path)) and path.endswith(f"/{name}")


def _word(arg: str) -> str:
    return f'"{arg}"' if re.search(r"[\s;{}]", arg) or not arg else arg


def flat(block: Sequence[Directive]) -> Iterator[Directive]:
    """Yield the directives of one level, each include followed by what it includes."""
    for directive in block:
        yield directive
        if directive.name == "include":
            yield from flat(directive.block)


Form = Literal["compiled", "gateway"]


@dataclass(frozen=True, slots=True)
class Installation:
    """What was generated: the form, the folder of the files to include, the paths of the documents, the host of the
    site (empty: unknown), and whether the site's own robots.txt was merged.
    """

    form: Form
    folder: str
    documents: tuple[str, ...]
    host: str = ""
    merged: bool = False

    @property
    def keep_robots(self) -> str:
        """How the rules of a robots.txt are kept."""
        return "noai-guard serve --own-robots" if self.form == "gateway" else "noai-guard config nginx --merge"


@dataclass(frozen=True)
class Level:
    """A block of braces, with the levels around it from the outermost one: http, server, location ..."""

    head: Directive
    around: "tuple[Level, ...]" = ()

    @cached_property
    def directives(self) -> tuple[Directive, ...]:
        return tuple(flat(self.head.block))

    def own(self, *names: str) -> list[Directive]:
        """Return the directives of this level that are the site's, in their order."""
        return [each for each in self.directives if each.name in names and not each.is_ours]

    def has_ours(self, name: str) -> bool:
        return any(each.name == name and each.is_ours for each in self.directives)

    def inherited(self, name: str) -> list[Directive]:
        """Return the site's directives that this level would inherit if it had none."""
        for level in reversed(self.around):
            if own := level.own(name):
                return own
            if level.has_ours(name) and level.head.name != "http":
                return []
        return []

    def effective(self, name: str) -> list[Directive]:
        return self.own(name) or self.inherited(name)

    @property
    def title(self) -> str:
        return " ".join((self.head.name, *self.head.args))

    def inside(self) -> "Iterator[Level]":
        """Yield the levels inside, the site's own."""
        for each in self.directives:
            if each.name in ("location", "if", "limit_except") and not each.is_ours:
                level = Level(each, (*self.around, self))
                yield level
                yield from level.inside()


def inspect(main: Sequence[Directive], installation: Installation, exists: Callable[[str], bool]) -> list[Problem]:
    """Return what is lost or unguarded, by file and line; a note (`warning`) is no reason to act.

    `main` is nginx.conf; `exists(path)` is True if there is a file.
    """
    problems: list[Problem] = []
    for http in (Level(each) for each in flat(main) if each.name == "http"):
        problems += _hashes(http)
        servers = [Level(each, (http,)) for each in http.directives if each.name == "server" and not each.is_ours]
        guarded = [server for server in servers if _guard(server)]
        named = [server for server in servers if _is_named(server, installation.host)]
        expected = named or ([] if guarded else servers)
        for server in servers:
            if server not in guarded:
                if any(each.name == "return" for each in server.directives):
                    continue
                is_note = server not in expected
                problems.append(_problem("N101", server.head, _names(server), installation, is_note=is_note))
                if is_note:
                    continue
            problems += _server(server, installation, exists)
    # One file, and one line that several servers include, are one problem.
    unique = {(problem.code, problem.message, problem.hint if problem.code == "N302" else problem): problem
              for problem in reversed(problems)}  # fmt: skip
    return sorted(unique.values(), key=lambda problem: (problem.file, problem.line, problem.code))


def _guard(server: Level) -> Directive | None:
    """Return the line that includes our server.conf."""
    return next((each for each in server.directives if each.includes("server.conf")), None)


def _names(server: Level) -> str:
    names = [name for each in server.own("server_name") for name in each.args]
    listens = [each.args[0] for each in server.own("listen") if each.args]
    return " ".join(names or listens) or "without a name"


def _is_named(server: Level, host: str) -> bool:
    """Return True if a server_name stands for a host."""
    names = [name.lower() for each in server.own("server_name") for name in each.args]
    patterns = {host, f"www.{host}", f".{host}", f"*.{host.partition('.')[2]}", f".{host.partition('.')[2]}"}
    return bool(host) and not patterns.isdisjoint(names)


def _hashes(http: Level) -> Iterator[Problem]:
    """Yield sizes of hashes that come after our first map, which nginx refuses."""
    is_late = False
    for each in http.directives:
        is_late = is_late or (each.name == "map" and each.is_ours)
        if is_late and each.name in ("map_hash_max_size", "map_hash_bucket_size") and not each.is_ours:
            yield _problem("N109", each, each.text)


def _server(server: Level, installation: Installation, exists: Callable[[str], bool]) -> Iterator[Problem]:
    guard = _guard(server)
    if guard is not None:
        folder = guard.args[0].removesuffix("/server.conf")
        form: Form = "gateway" if "noai-guard-gateway" in folder else "compiled"
        installation = replace(installation, folder=folder, form=form)
    for each in server.directives:
        if each is guard or guard is None:
            break
        if endings := _endings(each):
            is_note = not any(map(_has_content, endings))
            yield _problem("N102", each, each.text, f"{guard.file}:{guard.line}", is_note=is_note)
    if installation.form == "gateway":
        yield from _asking_server(server)
    yield from _documents(server, installation, exists)
    for level in (server, *server.inside()):
        yield from _header_lines(level, installation)
        if installation.form == "gateway":
            yield from _asking(level, installation)


def _endings(each: Directive) -> list[Directive]:
    """Return the directives after which nginx reads no further one of the rewrite module: this one, or in this `if`."""
    if each.name == "if":
        return [ending for inner in flat(each.block) for ending in _endings(inner)]
    is_ending = each.name in ("return", "break") or (each.name == "rewrite" and each.args[-1] in _FLAGS)
    return [each] if is_ending and not each.is_ours else []


def _has_content(ending: Directive) -> bool:
    """Return True unless it is a redirect or an error."""
    if ending.name == "return":
        return ending.args[:1] != () and ending.args[0].startswith("2")
    return ending.name == "break" or ending.args[-1] in ("last", "break")


def _header_lines(level: Level, installation: Installation) -> Iterator[Problem]:
    own, file = level.own("add_header"), f"{installation.folder}/headers.conf"
    inherit = level.effective("add_header_inherit")
    merges = inherit[:1] != [] and inherit[0].args == ("merge",)
    # Below a level with `off`, the lines of that level are not inherited either.
    cuts = own or [each for each in inherit if each.args == ("off",)]
    if cuts and not level.has_ours("add_header") and not merges:
        code = "N201" if level.head.name == "server" else "N202"
        cause = "add_header lines of its own" if own else inherit[0].text.rstrip(";")
        yield _problem(code, cuts[0], level.title, f"include {file};", cause)
    if not own and not merges and level.has_ours("add_header") and (lost := level.inherited("add_header")):
        line = next((each for each in level.directives if each.includes("headers.conf")), level.head)
        yield _problem("N203", line, "add_header", _texts(lost))
    own = level.own("proxy_set_header")
    if not own and level.has_ours("proxy_set_header") and (lost := level.inherited("proxy_set_header")):
        line = next((each for each in level.directives if each.includes("proxy.conf")), level.head)
        yield _problem("N203", line, "proxy_set_header", _texts(lost))


def _documents(server: Level, installation: Installation, exists: Callable[[str], bool]) -> Iterator[Problem]:
    roots = [each.args[0] for each in server.effective("root") if each.args]
    for level in server.inside():
        path = level.head.args[-1] if level.head.name == "location" and level.head.args else ""
        if path in installation.documents:
            files = [each.args[0] for each in level.own("alias") if each.args]
            files += [each.args[0].rstrip("/") + path for each in level.effective("root") if each.args]
            keep = ""
            if path == "/robots.txt" and not installation.merged:
                file = next((file for file in files if exists(file)), "ROBOTS.TXT")
                keep = f"{installation.keep_robots} {file}"
            if level.head.args[0] == "=":
                yield _problem("N301", level.head, level.title, f"; {keep} keeps its rules" if keep else "")
            elif keep:
                yield _problem("N302", level.head, f"what {level.title} sends", keep)
        if level.head.args == ("/",):
            roots += [each.args[0] for each in level.own("root") if each.args]
    file = next((f"{root.rstrip('/')}/robots.txt" for root in roots if exists(f"{root.rstrip('/')}/robots.txt")), "")
    if file and not installation.merged and "/robots.txt" in installation.documents:
        yield _problem("N302", server.head, file, f"{installation.keep_robots} {file}")
    # An auth_request beside or around the gateway's is N103 or N106.
    for name in ("auth_basic", "auth_request") if installation.form == "compiled" else ("auth_basic",):
        if any(each.args[:1] != ("off",) for each in server.effective(name)):
            yield _problem("N303", server.effective(name)[0], name, is_note=True)


def _asking_server(server: Level) -> Iterator[Problem]:
    """Yield what server.conf of the gateway's form removes from a server, or cannot stand beside."""
    for each in server.own("auth_request"):
        yield _problem("N103", each, server.title)
    for each in server.inherited("auth_request"):
        if not server.own("auth_request") and each.args != ("off",):
            yield _problem("N106", _guard(server) or server.head, each.text)
    for each in server.inherited("satisfy"):
        if not server.own("satisfy") and each.args == ("any",):
            yield _problem("N104", each, server.title)
    if not server.own("error_page") and (lost := server.inherited("error_page")):
        yield _problem("N205", _guard(server) or server.head, _texts(lost))
    pages = [each for each in server.directives if each.name == "error_page" and "401" in each.args[:-1]]
    for each in pages or server.inherited("error_page"):
        if not each.is_ours and "401" in each.args[:-1]:
            # Of two for one code in one level, nginx takes the first.
            yield _problem("N208" if pages[:1] == [each] and len(pages) > 1 else "N206", each, each.text)


def _asking(level: Level, installation: Installation) -> Iterator[Problem]:
    for each in level.own("satisfy"):
        if each.args == ("any",):
            yield _problem("N104", each, level.title)
    own = level.own("proxy_set_header")
    if own and not level.has_ours("proxy_set_header"):
        yield _problem("N204", own[0], level.title, f"include {installation.folder}/proxy.conf;", is_note=True)
    own = level.own("fastcgi_pass")
    if own and not level.has_ours("fastcgi_param"):
        yield _problem("N204", own[0], level.title, f"include {installation.folder}/fastcgi.conf;", is_note=True)
    if level.head.name == "server":
        return
    for each in level.own("auth_request"):
        yield _problem("N103", each, level.title)
    for each in level.own("return", "rewrite"):
        if each.name == "return" or each.args[-1] in ("redirect", "permanent"):
            yield _problem("N105", each, level.title, is_note=not _has_content(each))
    pages = level.own("error_page")
    if pages and not level.has_ours("error_page"):
        yield _problem("N207", pages[0], level.title, f"include {installation.folder}/error_page.conf;")


def _texts(directives: Sequence[Directive]) -> str:
    return " ".join(each.text for each in directives)


TEXTS = {
    "N101": ("server {0} does not include noai-guard",
             "type in it, before its rewrite, return and location: include {1.folder}/server.conf;"),
    "N102": ("{0} comes before noai-guard, so what it matches is not guarded",
             "move the include line of {1} before it"),
    "N103": ("{0} has an auth_request of its own, so the gateway is not asked there",
             "the form that asks nobody, `noai-guard config nginx`, guards it"),
    "N104": ("{0} has `satisfy any`: what the gateway lets in needs no password or address any more",
             "type beside it: auth_request off; the form that asks nobody, `noai-guard config nginx`, guards it"),
    "N105": ("{0} has a return or redirect, which nginx carries out before it asks the gateway",
             "the form that asks nobody, `noai-guard config nginx`, guards it"),
    "N106": ("this include replaces {0}, so nobody is asked to log in any more",
             "take noai-guard out of this server; the form that asks nobody, `noai-guard config nginx`, guards it"),
    "N109": ("{0} comes after a map of noai-guard, and nginx takes it only before the first map",
             "move it to the beginning of http {{ }}"),
    "N201": ("{0} has {2}, so it inherits none of noai-guard's", "type beside them: {1}"),
    "N202": ("{0} has {2}, so it inherits none of noai-guard's", "type beside them: {1}"),
    "N203": ("this include removes the {0} lines that are inherited here", "delete it, or type beside it: {1}"),
    "N204": ("{0} does not pass the verdict on, and a client can invent one",
             "if the site reads it, type beside it: {1}"),
    "N205": ("this include has an error_page, so the server inherits none", "type beside it: {0}"),
    "N206": ("{0} is not used: noai-guard has an error_page for 401",
             "put it into the locations that ask for a password"),
    "N207": ("{0} has an error_page of its own, so a refusal there has none of our text", "type beside it: {1}"),
    "N208": ("{0} comes before noai-guard's, so who is refused gets 401 with this page",
             "put it into the locations that ask for a password"),
    "N301": ("{0} is a document of noai-guard, and nginx takes one such location only", "delete it{1}"),
    "N302": ("{0} is not sent any more, noai-guard's robots.txt is", "{1} keeps its rules"),
    "N303": ("the documents of noai-guard are for everyone, also behind this {0}", "nothing has to be done"),
}  # fmt: skip
"""Code -> message and what to type."""


def _problem(code: str, at: Directive, *values: object, is_note: bool = False) -> Problem:
    message, hint = TEXTS[code]
    return Problem(code, message.format(*values), hint.format(*values), at.file, at.line, warning=is_note)
