"""Is an address known to be the client's? Only then it says anything about who the client is."""

from collections.abc import Iterable

from noai_guard.core.address_headers import HEADERS
from noai_guard.core.client_address import ClientAddress
from noai_guard.core.networks import NetworkSet
from noai_guard.core.trusted_proxies import TrustedProxies

DOUBTS = (
    "address_unknown",  # a UNIX socket, or a header that could not be read
    "address_not_public",  # a private or loopback address: a proxy of the site's own
    "address_not_proven",  # a server may have taken it from a header, or a trusted proxy said nothing
    "proxy_not_named",  # a field says that a proxy stands in front, and `trusted_proxies` names none
)
"""Every reason for which an address is not known to be the client's, fit for a metric label."""

NOT_PUBLIC = NetworkSet(
    # IANA special-purpose registries, 2026-11: this host, private use, shared (RFC 6598), loopback, link-local, ULA.
    (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"),
    )
)
"""Addresses that no client on the internet has."""

FORWARDING = frozenset(name.encode("ascii") for name in HEADERS) | {
    # Fields that proxies and CDNs add beside the client's address: RFC 9110 section 7.6.3, RFC 8586, and the CDNs' own
    # references, read 2026-11.
    *(b"via", b"cdn-loop", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-server", b"x-forwarded-port"),
    *(b"x-forwarded", b"forwarded-for", b"x-original-forwarded-for", b"x-proxyuser-ip", b"x-amzn-trace-id"),
    *(b"x-amz-cf-id", b"cf-ray", b"cf-visitor", b"cf-ipcountry", b"x-azure-ref", b"fastly-ff", b"x-varnish"),
    *(b"akamai-origin-hop", b"x-akamai-config-log-detail", b"x-cache-forward", b"x-sucuri-country", b"x-vercel-id"),
    *(b"x-nf-request-id", b"fly-forwarded-proto", b"x-cloud-trace-context", b"x-appengine-user-ip"),
}
"""Fields, in lower case, that a proxy adds to what it passes on."""


def doubt(client: ClientAddress, headers: Iterable[tuple[bytes, bytes]], trusted: TrustedProxies) -> str | None:
    """Return why an address is not known to be the client's, one of `DOUBTS`; None if it is known to be."""
    if client.address is None:
        return "address_unknown"
    if client.address in NOT_PUBLIC:
        return "address_not_public"
    if trusted.header_name is None and any(name.lower() in FORWARDING for name, _ in headers):
        return "proxy_not_named"
    return None if client.is_proven else "address_not_proven"
