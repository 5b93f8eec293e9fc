"""Apache 2.4 with mod_lua and LuaSocket: a quick handler asks the gateway before any other handler runs."""

from collections.abc import Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import CDN, READ, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, spoofable_names, variable
from noai_guard.resources import text
from noai_guard.targets.target import File

_FILES = {
    "noai-guard-gateway/virtual-host.conf": ("apache_virtual_host.conf", "in each VirtualHost, by Include"),
    "noai-guard-gateway/ask.lua": ("apache_ask.lua", "loaded by virtual-host.conf"),
}
_REFUSAL = """\
r.status = 403
r.content_type = "text/plain"
r.err_headers_out["Cache-Control"] = "no-store"
if not r.header_only then r:write("Forbidden\\n") end
return apache2.DONE""".splitlines()


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("Apache")
    gateway = setup.gateway
    return setup.generated(
        "apache",
        _FILES,
        root=root,
        declarations=map(_declared, setup.declared_names),
        documents=(_document(path, setup) for path in setup.document_paths),
        module="socket.unix" if gateway.path else "socket",
        connection="socket()" if gateway.path else "socket.tcp()",
        address=f'"{gateway.path}"' if gateway.path else f'"{gateway.host}", {gateway.port}',
        verify=VERIFY,
        read=", ".join(f'"{name}"' for name in (*READ, *CDN)),
        passed_on=", ".join(f'["{name}"] = "{name.title()}"' for name in VERDICT),
        declared=", ".join(f'["{name}"] = "{_environment(name)}"' for name in setup.declared_names),
        spoofed=", ".join(f'"{name}"' for name in spoofable_names()),
        client_address=[_client_address(setup.client_address_header)],
        unanswered=["return apache2.DECLINED"] if setup.fail_open else _REFUSAL,
        exchange=text("gateway/proxies/exchange.lua").splitlines(),
    )


def _client_address(header: str) -> str:
    """Return the Lua statement that passes the client's address to the gateway."""
    received = f'r.headers_in["{header}"]'
    if header == "x-forwarded-for":
        return f'lines[#lines + 1] = "{header}: " .. ({received} and {received} .. ", " or "") .. r.useragent_ip'
    if header == "x-real-ip":
        return f'lines[#lines + 1] = "{header}: " .. r.useragent_ip'
    return f'if {received} then lines[#lines + 1] = "{header}: " .. {received} end'


def _declared(name: str) -> str:
    value = _environment(name)
    action = "always add" if repeatable(name) else "setifempty"
    return f'Header {action} {name.title()} "%{{{value}}}e" env={value}'


def _document(path: str, setup: GatewaySetup) -> str:
    if any(character in path for character in '"\\ \n%$'):
        raise CannotExpress(f"Apache: the path {path!r} of a document would need quoting; choose a plainer one")
    gateway = f"unix:{setup.gateway.path}|http://noai-guard" if setup.gateway.path else f"http://{setup.gateway}"
    return f'ProxyPass "{path}" "{gateway}{path}" connectiontimeout=1 timeout=2'


def _environment(name: str) -> str:
    return f"NOAI_{variable(name).upper()}"


PROXY = Proxy("apache", "Apache", _render, root="/etc/apache2")
