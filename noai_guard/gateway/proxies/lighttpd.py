"""lighttpd 1.4.56 or newer: a FastCGI authorizer, for sites of files and of FastCGI programs such as PHP.

What 1.4.69 does (tried 2026-11-26): an authorizer swallows the body of a POST, so only GET and HEAD are asked about;
behind it, mod_proxy finds nothing; and a request without an answer gets 503 or 504.
"""

import re
from collections.abc import Iterator, Sequence

from noai_guard.core.model import HeaderField
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, spellings, title


def _conf(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('lighttpd')}"
    yield "# Include this behind your own fastcgi.server lines. It needs mod_fastcgi, mod_proxy and mod_setenv."
    yield 'var.noai_docroot = "/var/www/html"'
    yield '$HTTP["request-method"] =~ "^(?:GET|HEAD)$" {'
    yield '    fastcgi.server += ("/" => (('
    if wanted.fastcgi.socket:
        yield f'        "socket" => "{wanted.fastcgi.socket}",'
    else:
        yield f'        "host" => "{wanted.fastcgi.host.strip("[]")}", "port" => {wanted.fastcgi.port},'
    yield '        "mode" => "authorizer", "docroot" => var.noai_docroot, "check-local" => "disable",'
    yield '        "connect-timeout" => 1, "write-timeout" => 1, "read-timeout" => 1,'
    yield "    )))"
    yield "}"
    documents = "|".join(_expression(path).removeprefix("^").removesuffix("$") for path in wanted.documents)
    yield f'$HTTP["url"] =~ "^(?:{documents})$" {{'
    yield "    fastcgi.server = ()"
    if wanted.gateway.socket:
        yield f'    proxy.server = ("" => (("socket" => "{wanted.gateway.socket}")))'
    else:
        yield f'    proxy.server = ("" => (("host" => "{wanted.gateway.host}", "port" => {wanted.gateway.port})))'
    yield "}"
    yield '$HTTP["url"] =~ "" {'
    cleaned = ", ".join(f'"{name}" => ""' for name in spellings("-_"))
    yield f"    setenv.set-request-header = ({cleaned})"
    yield "}"
    yield "# What every response declares; a later pattern that matches replaces it."
    for number, pattern in _sections(wanted):
        yield f'$HTTP["url"] =~ "{_expression(pattern)}" {{'
        fields = wanted.compiled.declared[number].fields
        yield f"    setenv.add-response-header = ({_listed(fields, beside=True)})"
        yield f"    setenv.set-response-header = ({_listed(fields, beside=False)})"
        yield "}"


def _sections(wanted: GatewaySetup) -> Iterator[tuple[int, str]]:
    """(number, pattern) of each section, the most specific one last."""
    yield 0, "/**"
    patterns = [path_policy.pattern for path_policy in wanted.compiled.policy.path_policies]
    yield from ((place + 1, patterns[place]) for place in reversed(wanted.most_specific_first))


def _listed(fields: Sequence[HeaderField], beside: bool) -> str:
    joined: dict[str, str] = {}
    for raw, value in fields:
        name = raw.decode("ascii")
        if (name in BESIDE) is beside:
            joined[name] = ", ".join(filter(None, (joined.get(name), value.decode("ascii"))))
    return ", ".join(f'"{title(name)}" => "{_escaped(value)}"' for name, value in joined.items())


def _escaped(text: str) -> str:
    if "\\" in text:
        raise CannotExpress(f"lighttpd: {text[:60]!r} holds a backslash, which would begin an escape there")
    return text.replace('"', '\\"')


def _expression(pattern: str) -> str:
    """A path pattern without backslashes, of which lighttpd's configuration takes some away."""
    raw = glob_to_regex(pattern).encode("ascii")
    plain = re.sub(rb"\\x([0-9a-f]{2})", lambda match: _literal(bytes.fromhex(match[1].decode())), raw)
    if b"\\" in plain or b'"' in plain:
        raise CannotExpress(f"lighttpd: the path {pattern!r} cannot be written there; choose a plainer one")
    return plain.decode("utf-8")


def _literal(character: bytes) -> bytes:
    if character >= b"\x80":
        return character
    return b"\\" if character in (b"^", b"\\", b"]") else b"[" + character + b"]"


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.lets_in:
        raise CannotExpress(
            "lighttpd can only refuse while the gateway does not answer, and the policy says to let in; say "
            "on_unknown: deny, or let lighttpd carry the policy out by itself (noai-guard edge)"
        )
    text = "".join(f"{line}\n" for line in _conf(wanted))
    return [Snippet("conf-available/90-noai-guard.conf", "behind your own fastcgi.server lines, by include", text)]


def _limits(wanted: GatewaySetup) -> Iterator[str]:
    yield "lighttpd asks about GET and HEAD only, in front of files and FastCGI, not of mod_proxy."
    yield "lighttpd answers 503 or 504, not 403, while the gateway does not answer."
    alone = ", ".join(title(name) for name in wanted.declared if name not in BESIDE)
    if alone:
        yield f"lighttpd replaces the site's own {alone}."


PROXY = Proxy("lighttpd", "lighttpd", "/etc/lighttpd", _render, lambda wanted: tuple(_limits(wanted)))
