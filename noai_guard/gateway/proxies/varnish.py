"""Varnish 6 or newer, with the modules it has: a request first goes to the gateway and then, by restart, to the site.

The gateway is asked before the look-up, so cached objects are guarded too, and a refusal is never cached.
"""

from collections.abc import Iterator, Sequence

from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, spoofable_names, unquoted
from noai_guard.targets.target import File

_MAX_BODY = 1024 * 1024
"""Bytes of a request body that are kept in memory while the gateway is asked."""

_RESTORED = ("x-original-uri", "x-original-method", "x-original-host")
_SYNTH = """\
sub vcl_synth {
    if (req.http.X-NoAI-Step == "unanswered") {
        set resp.http.Content-Type = "text/plain";
        set resp.http.Cache-Control = "no-store";
        set resp.body = "Forbidden";
        return (deliver);
    }
}
""".splitlines()
_REFUSE = ('set req.http.X-NoAI-Step = "unanswered";', 'return (synth(403, "Forbidden"));')


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("Varnish")
    names, gateway = setup.declared_names, setup.gateway
    address = [f'.host = "{gateway.host}";', f'.port = "{gateway.port}";']
    return setup.generated(
        "varnish",
        {"noai-guard.vcl": ("varnish.vcl", "behind your backends and before your subs, by include")},
        gateway=[f'.path = "{gateway.path}";'] if gateway.path else address,
        spoofable=(f"unset req.http.{name};" for name in spoofable_names("-_")),
        unset_declared=(f"unset req.http.{_kept(name)};" for name in names),
        unset_declared_fetch=(f"unset bereq.http.{_kept(name)};" for name in names),
        documents="|".join(map(_expression, setup.document_paths)),
        cleared=(f"unset req.http.{name.title()};" for name in SOURCES if name not in _RESTORED),
        client_address=["set req.http.X-Real-IP = client.ip;"] if setup.client_address_header == "x-real-ip" else [],
        max_body=str(_MAX_BODY),
        unasked=['set req.http.X-NoAI-Step = "not asked";'] if setup.fail_open else _REFUSE,
        verify=VERIFY,
        verdict=[
            *(f"set req.http.{name.title()} = resp.http.{name.title()};" for name in VERDICT),
            *(f"set req.http.{_kept(name)} = resp.http.{name.title()};" for name in names),
        ],
        unanswered=["return (restart);"] if setup.fail_open else _REFUSE,
        declared=(line for name in names for line in _declared(name)),
        synth=[] if setup.fail_open else _SYNTH,
    )


def _kept(name: str) -> str:
    """Return the request header that keeps a declared field until the response is delivered."""
    return f"X-NoAI-Kept-{name.title()}"


def _declared(name: str) -> Iterator[str]:
    own, ours = f"resp.http.{name.title()}", f"req.http.{_kept(name)}"
    yield f'if ({ours} && {ours} != "" && !{own}) {{ set {own} = {ours}; }}'
    if repeatable(name):
        yield f'else if ({ours} && {ours} != "") {{ set {own} = {own} + ", " + {ours}; }}'


def _expression(path: str) -> str:
    """Return an expression for a path in any percent-encoding: VCL decodes none."""
    return "".join(f"(?:[{character}]|(?i:%{ord(character):x}))" for character in unquoted(path, "Varnish"))


def _limitations(setup: GatewaySetup) -> Iterator[str]:
    outcome = "let in" if setup.fail_open else "refused"
    yield f"Varnish cannot ask about a request with more than 1 MiB of body, or a chunked one: it is {outcome}."
    joined = ", ".join(name.title() for name in setup.declared_names if repeatable(name))
    if joined:
        yield f"Varnish has no second line of a name: {joined} is joined to the site's own."


PROXY = Proxy("varnish", "Varnish", _render, _limitations, root="/etc/varnish")
