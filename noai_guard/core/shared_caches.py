"""Shared caches (CDNs, Varnish) in front of a site, by what they add to a request."""

from collections.abc import Iterable, Mapping

from noai_guard.core.model import HeaderField

CACHES = ("akamai", "bunny", "cloudflare", "cloudfront", "fastly", "varnish", "other")
"""Every cache that can be told from a request; `other` names itself, but not as one of these."""

HIDDEN_USER_AGENT = b"Amazon CloudFront"
"""What CloudFront sends to the origin in place of the client's user agent unless told otherwise (its developer guide,
"Request and response behavior for custom origins", read 2026-11-29)."""

# How the fields begin that only one of them adds. AWS developer guide, Cloudflare HTTP headers, Fastly HTTP headers
# reference, bunny.net "Find your PoP" (CDN-ServerId), Varnish reference; all read 2026-11-29.
_FIELDS = {
    b"akamai-": "akamai",
    b"x-akamai-": "akamai",
    b"cdn-serverid": "bunny",
    b"x-bunny": "bunny",
    b"cf-ray": "cloudflare",
    b"x-amz-cf-id": "cloudfront",
    b"fastly-client-ip": "fastly",
    b"fastly-ff": "fastly",
    b"x-varnish": "varnish",
}
_NAMING = (b"via", b"cdn-loop")
"""Fields in which proxies (RFC 9110 section 7.6.3) and CDNs (RFC 8586) name themselves."""

_NAMES = {name.encode(): name for name in CACHES[:-1]}
_NO_CACHES = (b"caddy", b"envoy", b"vegur")
"""Proxies that name themselves in Via and keep nothing unless told to."""

_MAX_VALUE = 1024
_BEGINNINGS = frozenset(field[:6] for field in (*_FIELDS, *_NAMING))
"""A look at each field name as a whole would cost twice as much, and nearly no request has one of them."""


def shared_caches(headers: Iterable[HeaderField]) -> Mapping[str, str]:
    """Return each cache that a request came through by its own account, with the field that says so.

    Names in `headers` are in lower case. Anybody can write these fields: use it to warn, never to believe.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name[:6] in _BEGINNINGS:
            for field, cache in _FIELDS.items():
                if name.startswith(field):
                    found.setdefault(cache, field.decode())
            if name in _NAMING:
                for cache in _named(value[:_MAX_VALUE].lower()):
                    found.setdefault(cache, name.decode())
    if "fastly" in found:  # which is a Varnish, and says so too
        found.pop("varnish", None)
    return found


def _named(value: bytes) -> Iterable[str]:
    names = [cache for text, cache in _NAMES.items() if text in value]
    if not names and value.strip() and not any(text in value for text in _NO_CACHES):
        names = [CACHES[-1]]
    return names
