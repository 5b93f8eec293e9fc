"""What is Varnish's own: what it keeps of the site is guarded too, and bodies are sent twice."""

from tests.gateway.proxies.rig import POLICY, SCRAPER, fetch


def test_what_is_in_the_cache_is_guarded_too(edges, audio):
    port = edges("varnish")
    for _ in range(2):
        assert fetch(port, "/kept.mp3").body == audio.read_bytes()
    assert int(fetch(port, "/kept.mp3").value("x-varnish").count(" ")) == 1
    assert fetch(port, "/kept.mp3", SCRAPER).status == 403
    assert fetch(port, "/kept.mp3").values("tdm-reservation") == ["1"]
    assert fetch(port, "/kept.mp3").status == 200


def test_a_body_that_cannot_be_kept_is_as_on_unknown_says(start_edge, gateway, edges):
    large = b"x" * 2_000_000
    got = fetch(edges("varnish"), "/upload", method="POST", body=large)
    assert (got.status, got.said["body"]["size"]) == (200, len(large))
    assert fetch(edges("varnish"), "/upload", SCRAPER, body=large).status == 413
    closed = start_edge("varnish", gateway, POLICY + "on_unknown: deny\n").port
    assert fetch(closed, "/upload", method="POST", body=large).status == 403
    assert fetch(closed, "/upload", method="POST", body=large[:1000]).status == 200
