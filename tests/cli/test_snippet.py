import pytest

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
    assert f"include {out}/noai-guard-gateway/headers.conf;" in (tmp_path / "conf.d/noai-guard-gateway/server.conf").read_text()
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
