"""Traefik 3.7 or newer: ForwardAuth, through an entry point of Traefik's own on loopback.

ForwardAuth waits up to 30 s for an answer and cannot let a request in without one (traefik#9857). A service has a
timeout and, since 3.7, a fallback by status; an entry point of its own makes the gateway one.
"""

from collections.abc import Iterator, Sequence
from string import ascii_lowercase

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, spoofable_names, without_characters
from noai_guard.responses.header_fields import one_line_per_name
from noai_guard.targets import go_regex
from noai_guard.targets.target import File

_FILES = {
    "noai-guard-static.yml": ("traefik_static.yml", "in traefik.yml, merged with yours"),
    "dynamic/noai-guard.yml": ("traefik_dynamic.yml", "in the folder of providers.file"),
}
_ENTRY_POINT = "127.0.0.1:9796"
"""Address at which Traefik asks itself."""

_SET_BY_TRAEFIK = ("x-forwarded-uri", "x-forwarded-method", "x-forwarded-host")
_REFUSE = """\
noai-refuse:
  errors:
    status: ["400-401", "404-428", "430-599"]
    statusRewrites: {"400-401": 403, "404-428": 403, "430-599": 403}
    service: noai-itself
    query: "/.noai-guard/refused"
noai-forbidden:
  ipAllowList: {sourceRange: ["255.255.255.255/32"]}
noai-no-store:
  headers:
    customResponseHeaders: {Cache-Control: no-store}
""".splitlines()
_REFUSED = """\
noai-refused:
  entryPoints: [noai]
  rule: "Path(`/.noai-guard/refused`)"
  priority: 3000000
  service: noop@internal
  middlewares: [noai-forbidden]
""".splitlines()
_ITSELF = f"""\
noai-itself:
  loadBalancer:
    servers: [{{url: "http://{_ENTRY_POINT}"}}]
""".splitlines()
_NAMED = """\
noai-refused-names:
  entryPoints: [noai]
  rule: {rule}
  priority: 1000000
  service: noai-gateway
  middlewares: [noai-no-store, noai-refuse]
"""
_NOT_ASKED = """\
{name}: &{name}
  rule: {rule}
  priority: 2000000
  service: noop@internal
  middlewares: [noai-bad-request]
{name}-tls:
  <<: *{name}
  tls: {{}}
"""
"""With TLS too, for entry points that terminate it."""

_BAD_REQUEST = """\
noai-bad-request:
  ipAllowList: {sourceRange: ["255.255.255.255/32"], rejectStatusCode: 400}
""".splitlines()
_LET_IN = """\
noai-or-let-in:
  failover:
    service: noai-gateway
    fallback: ping@internal
    errors: {status: ["400-401", "404-428", "430-599"]}
""".splitlines()


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    if setup.gateway.path:
        advice = "let the gateway listen on an address and name it by --gateway"
        raise CannotExpress(f"Traefik asks no UNIX socket; {advice}")
    if setup.client_address_header != "x-forwarded-for":
        raise CannotExpress("Traefik passes the client's address in x-forwarded-for; set trusted_proxies.header to it")
    cleared = (*spoofable_names(), *(name.title() for name in SOURCES if name not in _SET_BY_TRAEFIK))
    paths = [without_characters("`\\\"'{}\n", path, "Traefik") for path in setup.document_paths]
    documents = " || ".join(f"Path(`{path}`)" for path in paths)
    refusing = ["service: noai-gateway", "middlewares: [noai-no-store, noai-refuse]"]
    refuses = setup.refuses_by_name or not setup.fail_open
    return setup.generated(
        "traefik",
        _FILES,
        entry_point=_ENTRY_POINT,
        verify=VERIFY,
        gateway=str(setup.gateway),
        origin=str(setup.origin),
        cleared=(f'{name}: ""' for name in cleared),
        verdict=", ".join(name.title() for name in VERDICT),
        declared=(f"{name}: {_quoted(value)}" for name, value in _declared(setup)),
        documents=_quoted(documents),
        refuse=_REFUSE if refuses else [],
        refused=_REFUSED if refuses else [],
        itself=_ITSELF if refuses else [],
        named=_NAMED.format(rule=_quoted(_named(setup))).splitlines() if setup.refuses_by_name else [],
        bad_request=_BAD_REQUEST if setup.refused_tokens else [],
        not_asked=(line for name, rule in _not_asked(setup) for line in _router(name, rule)),
        let_in=_LET_IN if setup.fail_open else [],
        asked_service=["service: noai-or-let-in"] if setup.fail_open else refusing,
    )


def _named(setup: GatewaySetup) -> str:
    """Return a rule for requests of which a User-Agent line has the name of a refused agent."""
    expressions = map(go_regex.with_characters, setup.refused_expressions(1 << 20))
    return " || ".join(_user_agent(f"(?i){expression}") for expression in expressions)


def _user_agent(pattern: str) -> str:
    return f"HeaderRegexp(`User-Agent`, `{pattern}`)"


def _not_asked(setup: GatewaySetup) -> Iterator[tuple[str, str]]:
    """Yield name and rule of the routers for requests about which Traefik would ask without what names an agent."""
    if setup.refused_tokens:
        yield "noai-user-agent-removed", "HeaderRegexp(`Connection`, `(?i)user-agent`)"
        # Go sends the first of several lines only. A line with a letter and one without it are two.
        letters = [f"{letter}{letter.upper()}" for letter in ascii_lowercase]
        several = " || ".join(f"({_user_agent(f'[{two}]')} && {_user_agent(f'^[^{two}]*$')})" for two in letters)
        yield "noai-several-user-agents", f"({several}) && ({_named(setup)})"


def _router(name: str, rule: str) -> list[str]:
    return _NOT_ASKED.format(name=name, rule=_quoted(rule)).splitlines()


def _declared(setup: GatewaySetup) -> Iterator[tuple[str, str]]:
    """Yield the fields that the whole site declares. Traefik would replace the site's own Link, so it is left out."""
    fields = setup.compiled.site_declared.fields
    for name, value in one_line_per_name(field for field in fields if field[0] != b"link").items():
        yield name.decode().title(), value.decode()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _limitations(setup: GatewaySetup) -> Iterator[str]:
    if setup.documents:
        own = f"the documents are those of the site at {setup.origin} (--origin; `noai-guard build` writes them)"
        yield f"Traefik sends no files: while the gateway does not answer, {own}, and 418 if it has none."
    if setup.refused_tokens:
        yield "Traefik removes what the client's Connection names: set `forwardedHeaders: {connection: [User-Agent]}`."
    names = ", ".join(name for name, _ in _declared(setup))
    if names:
        yield f"Traefik replaces the site's own {names}: where the site sends one, take ours out of noai-declare."
    if "link" in setup.declared_names:
        yield "Link is not declared through Traefik, which would replace the site's own; robots.txt says the same."
    if len({declared.fields for declared in setup.compiled.declared.values()}) > 1:
        yield "Traefik declares the same for every path: the declaration of the whole site, not those of `paths`."


PROXY = Proxy("traefik", "Traefik", _render, _limitations, root="/etc/traefik", options=frozenset({"origin"}))
