import pytest

from noai_guard.gateway.proxies import PROXIES

POLICY = 'trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}\n'


def test_a_configuration_is_printed_with_where_each_part_belongs(run, write):
    text = run("snippet", "nginx", "--policy", write(POLICY)).stdout
    assert "# ---- /etc/nginx/conf.d/noai-guard-gateway/server.conf: in each server { }" in text
    assert "server 127.0.0.1:9797;" in text
    assert "return 204;" in text


def test_what_happens_without_an_answer_is_as_the_policy_says(run, write):
    text = run("snippet", "nginx", "--policy", write(POLICY + "on_unknown: deny\n")).stdout
    assert "refuses everybody" in text
    assert "return 204;" not in text.replace("if ($noai_gate_verdict) { return 204; }", "")


def test_files_are_written_and_known_to_be_stale_when_the_policy_asks_for_others(run, write, tmp_path):
    out, policy = str(tmp_path / "conf.d"), write(POLICY)
    run("snippet", "nginx", "--policy", policy, "--out", out)
    assert (
        f"include {out}/noai-guard-gateway/headers.conf;"
        in (tmp_path / "conf.d/noai-guard-gateway/server.conf").read_text()
    )
    assert "stale" not in run("snippet", "nginx", "--policy", policy, "--out", out, "--check").stdout
    changed = write(POLICY + "on_unknown: deny\n")
    assert "stale" in run("snippet", "nginx", "--policy", changed, "--out", out, "--check", code=1).stdout


def test_a_policy_that_lets_nobody_ask_is_no_policy_for_a_gateway(run, write):
    for policy, gateway in (("mode: enforce\n", "127.0.0.1:1"), (POLICY.replace(', "unix:"', ""), "unix:/run/a.sock")):
        result = run("snippet", "nginx", "--policy", write(policy), "--gateway", gateway, code=2)
        assert "trusted_proxies" in result.stderr


@pytest.mark.parametrize("address", ["", "x", "a:0", "a:65536", "a b:80", "a;b:80", "unix:", "unix:relative", "unix:/a b",
                                     "unix:/a;", "http://a:80", "[::1]", "a:80/x", "$x:80", "a:80\n"])  # fmt: skip
def test_an_address_that_is_none_is_said_in_one_line(run, write, address):
    for option in ("--gateway", "--origin"):
        result = run("snippet", "nginx", "--policy", write(POLICY), option, address, code=2)
        assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_would_need_quoting_is_not_taken(run, write):
    for option in ("--cache", "--root"):
        result = run("snippet", "nginx", "--policy", write(POLICY), option, "/var/lib/a b;", code=2)
        assert len(result.stderr.splitlines()) == 1


def test_what_a_proxy_cannot_do_is_said_and_what_would_not_be_as_the_policy_says_is_not_made(run, write):
    assert "on_unknown: deny" in run("snippet", "lighttpd", "--policy", write(POLICY), code=2).stderr
    result = run(
        "snippet", "lighttpd", "--policy", write(POLICY + "on_unknown: deny\n"), "--fastcgi", "unix:/run/a.sock"
    )
    assert '"socket" => "/run/a.sock"' in result.stdout
    assert "note: lighttpd asks about GET and HEAD only" in result.stderr


@pytest.mark.parametrize("proxy", [name for name in PROXIES if name not in ("traefik", "envoy")])
def test_a_header_that_clients_can_write_themselves_is_not_taken_for_their_address(run, write, proxy):
    policy = "on_unknown: deny\ntrusted_proxies: {peers: [127.0.0.1], header: forwarded}\n"
    if proxy == "lighttpd":  # it is the web server itself, so its own peer counts
        run("snippet", proxy, "--policy", write(policy))
    else:
        assert "x-forwarded-for" in run("snippet", proxy, "--policy", write(policy), code=2).stderr


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_proxy_can_ask_through_a_unix_socket_or_says_that_it_cannot(run, write, proxy):
    policy = write(POLICY + "on_unknown: deny\n")
    asked = ("snippet", proxy, "--policy", policy, "--gateway", "unix:/run/noai.sock")
    if proxy == "traefik":
        assert "UNIX socket" in run(*asked, code=2).stderr
    else:
        assert "/run/noai.sock" in run(*asked).stdout
