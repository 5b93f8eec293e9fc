"""Varnish 6 or newer, with the modules it has: a request first goes to the gateway and then, by restart, to the site.

The gateway is asked before the look-up, so cached objects are guarded too, and a refusal is never cached.
"""

import re
from collections.abc import Iterator, Sequence

from noai_guard.core.text import ascii_text
from noai_guard.gateway.contract import HEALTH, SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import (
    UNUSUAL_PATH,
    GatewaySetup,
    Proxy,
    batched,
    repeatable,
    spoofable_names,
    unquoted,
)
from noai_guard.responses.documents import document_headers
from noai_guard.targets.servers.varnish import quote
from noai_guard.targets.target import File

_MAX_BODY = 1024 * 1024
"""Bytes of a request body that are kept in memory while the gateway is asked."""

_REFUSE = 'return (synth(403, "Forbidden"));'
_STRIPPED = """\
# Varnish leaves out what Connection names when it asks; from 7.1.1 on it says 400 by itself.
std.collect(req.http.Connection);
if (req.http.Connection ~ "(?i)user-agent") { return (synth(400, "Bad Request")); }
""".splitlines()
_MAX_EXPRESSION = 3800
"""Characters of one expression, so that a line can still be read."""


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("Varnish")
    names, gateway = setup.declared_names, setup.gateway
    address = [f'.host = "{gateway.host}";', f'.port = "{gateway.port}";']
    comment = setup.header_comment("varnish")
    stored = "".join(f"{line}\n" for line in (f"# {comment}", *_document_texts(setup))).encode()
    configuration = setup.generated(
        "varnish",
        {"noai-guard.vcl": ("varnish.vcl", "behind your backends and before your subs, by include")},
        root=root,
        health=HEALTH,
        gateway=[f'.path = "{gateway.path}";'] if gateway.path else address,
        spoofable=(f"unset req.http.{name};" for name in spoofable_names("-_")),
        stripped=_STRIPPED if setup.refused_tokens else [],
        documents="|".join(map(_expression, setup.document_paths)),
        cleared=(f"unset bereq.http.{name.title()};" for name in SOURCES if name != "x-original-uri"),
        client_address=["set bereq.http.X-Real-IP = client.ip;"] if setup.client_address_header == "x-real-ip" else [],
        no_authorization=[] if setup.asks_for_keys else ["unset bereq.http.Authorization;"],
        max_body=str(_MAX_BODY),
        verify=VERIFY,
        verdict=_verdict(),
        not_asked_about=(f"# {line}" for line in setup.not_asked_about),
        suspects=_suspects(setup) if setup.suspects_only else [],
        unless_unasked=' && bereq.http.X-NoAI-Kept !~ "^-"' if setup.suspects_only else "",
        never_piped=list(_never_piped(setup)),
        kept=' + "\t" + '.join(f"resp.http.{name.title()}" for name in (*VERDICT, *names)),
        unanswered=list(_unanswered(setup)),
        declared=(line for place, name in enumerate(names, len(VERDICT)) for line in _declared(name, place)),
    )
    return [*configuration, File("noai-guard-documents.vcl", stored, "included by noai-guard.vcl")]


def _document_texts(setup: GatewaySetup) -> Iterator[str]:
    """Yield a sub that sends the documents while the gateway does not answer."""
    yield "sub vcl_synth {"
    yield "    if (req.backend_hint == noai_gateway) {"
    for document in setup.documents:
        yield rf'        if (req.url ~ "^{_expression(document.path)}(?:\?|$)") {{'
        fields = (field for field in document_headers(document) if field[0] != b"content-length")
        yield from (f"            set resp.http.{name.decode()} = {quote(value.decode())};" for name, value in fields)
        yield f"            synthetic({quote(document.body.decode())});"
        yield "            return (deliver);"
        yield "        }"
    yield "    }"
    yield "}"


def _unanswered(setup: GatewaySetup) -> Iterator[str]:
    """Yield what refuses a request about which the gateway gave no verdict, everyone's or that of a refused agent."""
    if not setup.fail_open:
        yield _REFUSE
    elif setup.refuses_by_name:
        yield "std.collect(req.http.User-Agent);"
        for expression in setup.refused_expressions(_MAX_EXPRESSION):
            yield f'if (req.http.User-Agent ~ "(?i){expression}") {{ {_REFUSE} }}'


def _suspects(setup: GatewaySetup) -> Iterator[str]:
    """Yield what lets in unasked who is no suspect, with the declarations of the whole site."""
    # The dash stands for a verdict. (Varnish drops a blank at the beginning of a value.)
    values = "\t".join(
        ("-", *("" for _ in VERDICT[1:]), *(setup.site_fields.get(name, "") for name in setup.declared_names))
    )
    special = "|".join((UNUSUAL_PATH, *setup.sections_that_declare_otherwise))
    looks = [f"req.http.User-Agent !~ {quote(f'(?i){look}')}" for look in setup.first_look(_MAX_EXPRESSION)]
    yield "std.collect(req.http.User-Agent);"
    yield f'if (regsub(req.url, "[?].*$", "") !~ {quote(f"(?i){special}")}'
    yield from (f"    && !req.http.{name.title()}" for name in setup.claim_headers)
    yield from (f"    && {look}" for look in looks)
    yield ") {"
    yield f"    set req.http.X-NoAI-Kept = {quote(values)};"
    yield "} else"


def _never_piped(setup: GatewaySetup) -> Iterator[str]:
    """Yield what keeps agents that are refused somewhere from a websocket where they are let in.

    Varnish passes what follows on a piped connection on unseen, whether or not the site has switched protocols.
    """
    names = sorted({re.escape(ascii_text(token.value.name)) for token in setup.refused_tokens})
    if names:
        yield "# Varnish does not look at what follows on a piped connection."
        expressions = (f'resp.http.X-NoAI-Agent ~ "^(?:{"|".join(batch)})$"' for batch in batched(names, 100))
        yield from (f"if ({expression}) {{ unset req.http.Upgrade; }}" for expression in expressions)


def _verdict() -> list[str]:
    """Return the lines that give the site the verdict, each header only if there was room for the one before."""
    sets = [f"set bereq.http.{name.title()} = {_kept('bereq', place)};" for place, name in enumerate(VERDICT)]
    conditions = [f"if (bereq.http.{name.title()}) {{" for name in VERDICT[:-1]]
    opened = [f"{one} {condition}" for one, condition in zip(sets, conditions, strict=False)]
    return [*opened, f"{sets[-1]} {'}' * len(opened)}"]


def _kept(request: str, place: int) -> str:
    """Return one of the values that are kept until the response is delivered."""
    return rf'regsub({request}.http.X-NoAI-Kept, "^(?:[^\t]*\t){{{place}}}([^\t]*).*$", "\1")'


def _declared(name: str, place: int) -> Iterator[str]:
    own, ours = f"resp.http.{name.title()}", _kept("req", place)
    yield f'if ({ours} != "" && !{own}) {{ set {own} = {ours}; }}'
    if repeatable(name):
        yield f'else if ({ours} != "") {{ set {own} = {own} + ", " + {ours}; }}'


def _expression(path: str) -> str:
    return unquoted(path, "Varnish").replace(".", "[.]")


def _limitations(setup: GatewaySetup) -> Iterator[str]:
    outcome = "let in" + ", unless it names a refused agent" * setup.refuses_by_name if setup.fail_open else "refused"
    yield f"Varnish cannot ask about a request with more than 1 MiB of body, or a chunked one: it is {outcome}."
    joined = ", ".join(name.title() for name in setup.declared_names if repeatable(name))
    if joined:
        yield f"Varnish has no second line of a name: {joined} is joined to the site's own."


PROXY = Proxy("varnish", "Varnish", _render, _limitations, root="/etc/varnish", options=frozenset({"ask", "merge"}))
