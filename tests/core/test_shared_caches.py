"""Which shared cache a request came through, by its own account."""

import pytest

from noai_guard.core.shared_caches import CACHES, shared_caches

PLAIN = [(b"host", b"music.example"), (b"user-agent", b"Firefox/154.0"), (b"x-forwarded-for", b"203.0.113.7")]


@pytest.mark.parametrize(
    ("field", "caches"),
    [
        ((b"x-amz-cf-id", b"abc=="), {"cloudfront": "x-amz-cf-id"}),
        ((b"cf-ray", b"8a-FRA"), {"cloudflare": "cf-ray"}),
        ((b"fastly-ff", b"a!FRA!cache"), {"fastly": "fastly-ff"}),
        ((b"fastly-client-ip", b"203.0.113.7"), {"fastly": "fastly-client-ip"}),
        ((b"x-varnish", b"32770"), {"varnish": "x-varnish"}),
        ((b"akamai-origin-hop", b"2"), {"akamai": "akamai-"}),
        ((b"x-akamai-edgescape", b"x"), {"akamai": "x-akamai-"}),
        ((b"cdn-serverid", b"7"), {"bunny": "cdn-serverid"}),
        ((b"x-bunny-trace", b"1"), {"bunny": "x-bunny"}),
        ((b"via", b"1.1 a1b2.cloudfront.net (CloudFront)"), {"cloudfront": "via"}),
        ((b"via", b"BunnyCDN"), {"bunny": "via"}),
        ((b"via", b"1.1 v1-akamaitech.net(ghost) (AkamaiGHost)"), {"akamai": "via"}),
        ((b"via", b"1.1 cache.example (squid/6.9)"), {"other": "via"}),
        ((b"cdn-loop", b"cloudflare; loops=1"), {"cloudflare": "cdn-loop"}),
        ((b"cdn-loop", b"Fastly, cloudflare"), {"cloudflare": "cdn-loop", "fastly": "cdn-loop"}),
        ((b"cdn-loop", b"edge.example"), {"other": "cdn-loop"}),
        ((b"via", b"1.1 Caddy"), {}),
        ((b"via", b"1.1 vegur"), {}),
        ((b"via", b" "), {}),
        ((b"via", b"1.1 " + b"x" * 2000 + b" varnish"), {"other": "via"}),
        ((b"viable", b"varnish"), {}),
        ((b"x-amz-date", b"cloudfront"), {}),
    ],
)
def test_a_cache_is_known_by_what_it_adds(field: tuple[bytes, bytes], caches: dict[str, str]) -> None:
    assert shared_caches([*PLAIN, field]) == caches
    assert set(caches) <= set(CACHES)


def test_a_request_that_came_straight_from_a_client_names_no_cache() -> None:
    assert shared_caches(PLAIN) == {}


def test_several_caches_in_a_row_are_all_named() -> None:
    fields = [(b"cf-ray", b"8a-FRA"), (b"x-varnish", b"1"), (b"via", b"1.1 varnish (Varnish/7.5)")]
    assert shared_caches(fields) == {"cloudflare": "cf-ray", "varnish": "x-varnish"}


def test_fastly_is_named_once_although_it_is_a_varnish() -> None:
    assert shared_caches([(b"x-varnish", b"1"), (b"fastly-ff", b"x")]) == {"fastly": "fastly-ff"}
