"""Apache 2.4 with mod_lua and LuaSocket: a quick handler asks the gateway before any other handler runs."""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import Document
from noai_guard.gateway.contract import CDN, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import (
    UNUSUAL_PATH,
    GatewaySetup,
    Proxy,
    lua_names,
    repeatable,
    spoofable_names,
    variable,
    without_characters,
)
from noai_guard.resources import text
from noai_guard.targets import lua
from noai_guard.targets.apache_directives import quote_argument
from noai_guard.targets.target import File

_FILES = {
    "noai-guard-gateway/virtual-host.conf": ("apache_virtual_host.conf", "in each VirtualHost, by Include"),
    "noai-guard-gateway/ask.lua": ("apache_ask.lua", "loaded by virtual-host.conf"),
}
_MAX_EXPRESSION = 7000
"""Characters of one expression: Apache reads lines of at most 8,192 bytes (MAX_STRING_LEN)."""

_LUA_FOLDERS = [
    f"{folder}/{version}" for folder in ("/usr/share/lua", "/usr/local/share/lua") for version in (5.1, 5.2, 5.3, 5.4)
]
"""Where Lua looks for modules in Lua (its luaconf.h; Debian's packages)."""

_REFUSAL = """\
r.status = 403
r.content_type = "text/plain"
r.err_headers_out["Cache-Control"] = "no-store"
if not r.header_only then r:write("Forbidden\\n") end
return apache2.DONE""".splitlines()
_LET_IN = ["return apache2.DECLINED"]


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("Apache")
    gateway = setup.gateway
    stored = setup.stored_documents("noai-guard-gateway/documents")
    configuration = setup.generated(
        "apache",
        _FILES,
        root=root,
        found=(line for folder in _LUA_FOLDERS for line in _found(folder)),
        declarations=map(_declared, setup.declared_names),
        documents=(_document(document, f"{root}/{file.path}") for document, file in stored),
        suspects=_suspects(setup) if setup.suspects_only else [],
        unasked=_unasked(setup) if setup.suspects_only else [],
        module="socket.unix" if gateway.path else "socket",
        connection="socket()" if gateway.path else "socket.tcp()",
        address=f'"{gateway.path}"' if gateway.path else f'"{gateway.host}", {gateway.port}',
        verify=VERIFY,
        read=", ".join(f'"{name}"' for name in (*setup.read, *CDN)),
        passed_on=", ".join(f'["{name}"] = "{name.title()}"' for name in VERDICT),
        declared=", ".join(f'["{name}"] = "{_environment(name)}"' for name in setup.declared_names),
        spoofed=", ".join(f'"{name}"' for name in spoofable_names()),
        client_address=[_client_address(setup.client_address_header)],
        refused_names=lua_names(setup) if setup.refuses_by_name else [],
        unanswered=_unanswered(setup),
        exchange=text("gateway/proxies/exchange.lua").splitlines(),
    )
    return [*configuration, *(file for _, file in stored)]


def _suspects(setup: GatewaySetup) -> Iterator[str]:
    """Yield what tells, before any handler runs, about whom to ask."""
    yield from (f"# {line}" for line in setup.not_asked_about)
    for look in setup.first_look(_MAX_EXPRESSION):
        yield f"SetEnvIfNoCase User-Agent {quote_argument(look)} NOAI_SUSPECT"
    for name in setup.claim_headers:
        yield f"SetEnvIf {name.title()} . NOAI_SUSPECT"
    for pattern in (UNUSUAL_PATH, *setup.sections_that_declare_otherwise):
        yield f"SetEnvIfNoCase Request_URI {quote_argument(pattern)} NOAI_SUSPECT"


def _unasked(setup: GatewaySetup) -> Iterator[str]:
    """Yield the Lua statements that let in unasked who is no suspect, with the declarations of the whole site."""
    yield 'if not r.subprocess_env["NOAI_SUSPECT"] then'
    for name, value in setup.site_fields.items():
        yield f'  r.subprocess_env["{_environment(name)}"] = {lua.quote(value)}'
    yield "  return apache2.DECLINED"
    yield "end"


def _unanswered(setup: GatewaySetup) -> list[str]:
    """Return the Lua statements for a request about which the gateway gave no verdict."""
    if not setup.fail_open:
        return _REFUSAL
    if not setup.refuses_by_name:
        return _LET_IN
    condition = 'if names_refused(r.headers_in["User-Agent"] or "") then'
    return [condition, *(f"  {line}" for line in _REFUSAL), "end", *_LET_IN]


def _client_address(header: str) -> str:
    """Return the Lua statement that passes the client's address to the gateway."""
    received = f'r.headers_in["{header}"]'
    if header == "x-forwarded-for":
        return f'lines[#lines + 1] = "{header}: " .. ({received} and {received} .. ", " or "") .. r.useragent_ip'
    if header == "x-real-ip":
        return f'lines[#lines + 1] = "{header}: " .. r.useragent_ip'
    return f'if {received} then lines[#lines + 1] = "{header}: " .. {received} end'


def _found(folder: str) -> Iterator[str]:
    yield f'<IfFile "{folder}/socket.lua">'
    yield "    Define NOAI_LUASOCKET"
    yield "</IfFile>"


def _declared(name: str) -> str:
    value = _environment(name)
    action = "always add" if repeatable(name) else "setifempty"
    return f'Header {action} {name.title()} "%{{{value}}}e" env={value}'


def _document(document: Document, file: str) -> str:
    path = without_characters('"\\ \n%$', document.path, "Apache")
    return f'["{path}"] = {{ path = "{path}", file = "{file}", media_type = "{document.media_type}" }},'


def _environment(name: str) -> str:
    return f"NOAI_{variable(name).upper()}"


PROXY = Proxy("apache", "Apache", _render, root="/etc/apache2", options=frozenset({"ask", "merge"}))
