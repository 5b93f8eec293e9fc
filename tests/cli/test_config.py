import json
from collections.abc import Callable
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_policy
from noai_guard.gateway.proxies import PROXIES
from noai_guard.targets import TARGETS
from noai_guard.targets.static_hosts import HOSTS
from noai_guard.targets.target import Feature
from tests.cli.conftest import Run

Write = Callable[[str], str]

ASKING = 'trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}\n'
SERVERS = [*TARGETS, *HOSTS]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795392000")


def test_every_server_is_listed_without_an_argument_and_in_the_help(run: Run) -> None:
    for text in (run("config").stdout, run("config", "--help").stdout):
        assert [line.split()[0] for line in text.splitlines() if line.split()[:1] and line.split()[0] in SERVERS]
        for server in SERVERS:
            assert f"\n  {server} " in text


def test_a_file_that_its_host_would_read_in_part_is_not_written(run: Run, write: Write, tmp_path: Path) -> None:
    policy = write(
        "extends: no-ai\npaths:\n" + "".join(f"  /{each}/**: {{usages: {{train-ai: yes}}}}\n" for each in range(60))
    )
    own = "/own\n  X-Own: 1\n"
    out = tmp_path / "public"
    out.mkdir()
    (out / "_headers").write_text(own)
    result = run("config", "cloudflare-pages", "--policy", policy, "--out", str(out), code=1)
    assert result.stderr.startswith(
        "noai-guard: T001 Cloudflare Pages takes at most 100 blocks of _headers; there are 12"
    )
    assert files_below(out) == {"_headers"}
    assert (out / "_headers").read_text() == own
    assert "T001" in run("config", "aws", "--policy", policy, "--out", str(out), code=1).stderr
    assert run("config", "netlify", "--policy", policy, "--out", str(out)).stdout


def test_a_server_that_is_misspelt_gets_a_suggestion(run: Run) -> None:
    assert "did you mean nginx" in run("config", "ngnix", code=2).stderr
    assert "did you mean cloudflare-pages" in run("config", "cloudflarepages", code=2).stderr
    assert "see noai-guard config" in run("config", "something", code=2).stderr
    assert "name a SERVER" in run("config", "--out", "x", code=2).stderr


@pytest.mark.parametrize("server", SERVERS)
def test_files_are_written_once_and_known_to_be_stale_after_a_change(run: Run, tmp_path: Path, server: str) -> None:
    out = str(tmp_path / "out")
    assert "stale" in run("config", server, "--out", out, "--check", code=1).stdout
    assert not (tmp_path / "out").exists()
    lines = run("config", server, "--out", out).stdout.splitlines()
    written = {line.split()[1] for line in lines}
    assert written == {f"{out}/{name}" for name in files_below(tmp_path / "out")}
    assert "stale" not in run("config", server, "--out", out, "--check").stdout
    assert "wrote" not in run("config", server, "--out", out).stdout
    changed = Path(min(written))
    changed.write_bytes(b"/*\n  X-A: b\n")
    stale = [line for line in run("config", server, "--out", out, "--check", code=1).stdout.splitlines()
             if line.startswith("stale")]  # fmt: skip
    assert [line.split()[1] for line in stale] == [str(changed)]


@pytest.mark.parametrize("server", TARGETS)
def test_one_file_is_printed_and_several_need_a_folder(run: Run, tmp_path: Path, server: str) -> None:
    out = tmp_path / "out"
    run("config", server, "--out", str(out))
    names = files_below(out)
    if len(names) == 1:
        assert run("config", server, "--root", str(out)).stdout_bytes == (out / names.pop()).read_bytes()
    else:
        assert f"needs {len(names)} files; name a folder for them with --out" in run("config", server, code=2).stderr


def test_the_sites_own_robots_txt_is_kept(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("User-agent: *\nDisallow: /drafts/\n")
    run("config", "nginx", "--out", str(tmp_path / "nginx"), "--merge", str(own))
    run("config", "vercel", "--out", str(tmp_path / "vercel"), "--merge", str(own))
    for file in ("nginx/noai-guard/documents/robots.txt", "vercel/robots.txt"):
        text = (tmp_path / file).read_text()
        assert "Disallow: /drafts/" in text
        assert "User-agent: GPTBot" in text


MERGING = [key for key, target in TARGETS.items() if Feature.DOCUMENTS in target.supports]


@pytest.mark.parametrize("server", MERGING)
def test_a_merged_robots_txt_is_remembered_by_the_next_run_and_by_check(run: Run, tmp_path: Path, server: str) -> None:
    own, out = tmp_path / "own robots.txt", tmp_path / "out"
    own.write_text("User-agent: *\nDisallow: /drafts/\n")
    command = ("config", server, "--out", str(out))
    run(*command, "--merge", str(own))
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert any(b"/drafts/" in content for content in kept.values())
    assert f"--merge {own}, as before" in run(*command, "--check").stderr
    assert "wrote" not in run(*command).stdout
    own.write_text("User-agent: *\nDisallow: /sketches/\n")
    assert "stale" in run(*command, "--check", code=1).stdout
    run(*command)
    assert any(b"/sketches/" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    own.unlink()
    assert "own robots.txt cannot be read" in run(*command, code=2).stderr
    run(*command, "--no-merge")
    assert ", as before" not in run(*command, "--check").stderr
    assert not any(b"/sketches/" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_a_file_that_cannot_stand_in_a_comment_is_not_merged(run: Run, tmp_path: Path) -> None:
    for name in ("a\nb", "a`b"):
        (tmp_path / name).write_text("User-agent: *\nDisallow: /drafts/\n")
        out = str(tmp_path / "out")
        assert "comment" in run("config", "nginx", "--out", out, "--merge", str(tmp_path / name), code=2).stderr


@pytest.mark.parametrize("form", [(), ("--ask-gateway",)])
def test_a_second_policy_does_not_replace_the_first(run: Run, tmp_path: Path, form: tuple[str, ...]) -> None:
    out = tmp_path / "conf.d"
    policies = {name: tmp_path / f"{name}.yaml" for name in ("a", "b")}
    for name, file in policies.items():
        file.write_text(f"{ASKING}site: {{url: 'https://{name}.example'}}\n")
    command = ("config", "nginx", *form, "--out", str(out), "--policy")
    run(*command, str(policies["a"]))
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = run(*command, str(policies["b"]), code=2)
    assert (
        "is of the policy a.example, and this one is b.example; --name b.example writes this one beside it"
        in result.stderr
    )
    run(*command, str(policies["b"]), "--name", "b.example")
    assert {path: path.read_bytes() for path in first} == first
    base = "noai-guard-gateway" if form else "noai-guard"
    assert (out / f"{base}-b.example.conf").exists()
    assert f"{out}/{base}-b.example/server.conf" in (out / f"{base}-b.example.conf").read_text()
    assert "stale" not in run(*command, str(policies["b"]), "--name", "b.example", "--check").stdout
    assert "a-z" in run(*command, str(policies["b"]), "--name", "B;", code=2).stderr


def test_a_folder_on_the_server_is_absolute(run: Run, tmp_path: Path) -> None:
    assert "not absolute" in run("config", "nginx", "--out", str(tmp_path), "--root", "conf.d", code=2).stderr


@pytest.mark.parametrize(("arguments", "option"), [
    ("nginx --gateway 127.0.0.1:1", "--gateway"), ("nginx --cache /var/c", "--cache"), ("caddy --origin a:1", "--origin"),
    ("nginx --vercel a", "--vercel"), ("traefik --ask-gateway --merge a", "--merge"), ("envoy --ask-gateway --ask suspects", "--ask"), ("traefik --merge a", "--merge"),
    ("caddy --ask-gateway --cache /var/c", "--cache"), ("nginx --ask-gateway --origin a:1", "--origin"),
    ("netlify --root /a", "--root"), ("netlify --vercel a", "--vercel"), ("vercel --gateway 127.0.0.1:1", "--gateway"),
])  # fmt: skip
def test_an_option_that_does_not_apply_is_an_error(run: Run, arguments: str, option: str) -> None:
    result = run("config", *arguments.split(), code=2)
    server = (
        arguments.partition(" --ask-gateway")[0] + " --ask-gateway" if "--ask" in arguments else arguments.split()[0]
    )
    assert f"{option} does not apply to `noai-guard config {server}`" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_check_needs_a_folder_to_compare_with(run: Run) -> None:
    assert "--out" in run("config", "varnish", "--check", code=2).stderr


# Static hosts


def test_a_host_gets_the_documents_and_its_file_of_header_fields(run: Run, tmp_path: Path) -> None:
    build = tmp_path / "build"
    run("build", "--out", str(build))
    for host, file in (("netlify", "_headers"), ("cloudflare-pages", "_headers"), ("vercel", "vercel.json")):
        result = run("config", host, "--out", str(tmp_path / host))
        assert files_below(tmp_path / host) - files_below(build) == {file}
        assert f"{file}  header fields\n" in result.stdout
        assert "/robots.txt  text/plain" in result.stdout
        assert "the header fields are in no file" not in result.stderr
        assert '<meta name="tdm-reservation" content="1">' in result.stderr


def test_cloudflare_takes_back_what_netlify_replaces(run: Run, write: Write, tmp_path: Path) -> None:
    file = write("paths: {/press/**: {usages: {train-ai: yes}}}\n")
    for host, takes_back in (("netlify", False), ("cloudflare-pages", True)):
        run("config", host, "--out", str(tmp_path / host), "--policy", file)
        assert ("  ! Content-Usage" in (tmp_path / host / "_headers").read_text()) is takes_back


def test_the_vercel_json_may_be_elsewhere(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "vercel.json"
    own.write_text('{"cleanUrls": true}')
    run("config", "vercel", "--out", str(tmp_path / "dist"), "--vercel", str(own))
    assert "vercel.json" not in files_below(tmp_path / "dist")
    assert json.loads(own.read_text())["cleanUrls"] is True
    assert b"Content-Usage" in own.read_bytes()


def test_what_the_site_has_in_its_files_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "_headers").write_text("/*\n  Cache-Control: no-cache\n")
    (tmp_path / "vercel.json").write_text('{"trailingSlash": false}')
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /drafts/\n")
    for _ in range(2):
        for host in HOSTS:
            run("config", host, "--out", str(tmp_path))
        assert "  Cache-Control: no-cache\n" in (tmp_path / "_headers").read_text()
        assert json.loads((tmp_path / "vercel.json").read_text())["trailingSlash"] is False
        assert "Disallow: /drafts/" in (tmp_path / "robots.txt").read_text()
        assert "User-agent: GPTBot" in (tmp_path / "robots.txt").read_text()
    assert "wrote" not in run("config", "vercel", "--out", str(tmp_path)).stdout


@pytest.mark.parametrize("content", ["{", '{"routes": []}'])
def test_a_vercel_json_that_cannot_be_added_to_is_left_alone(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "vercel.json").write_text(content)
    result = run("config", "vercel", "--out", str(tmp_path), code=2)
    assert len(result.stderr.splitlines()) == 1
    assert "--vercel" in result.stderr
    assert files_below(tmp_path) == {"vercel.json"}
    assert (tmp_path / "vercel.json").read_text() == content


def test_limitations_of_the_declarations_and_of_the_host_are_notes(run: Run, write: Write, tmp_path: Path) -> None:
    file = write("site: {url: https://band.example}\npaths: {/a-?/**: {usages: {train-ai: yes}}}\n")
    notes = run("config", "netlify", "--out", str(tmp_path / "out"), "--policy", file).stderr
    for sentence in CompiledPolicy(load_policy(file), load_catalog()).limitations:
        assert f"note: {sentence}\n" in notes
    assert "note: Netlify: _headers has no path for /a-?/**;" in notes
    notes = run("config", "vercel", "--out", str(tmp_path / "out"), "--policy", file).stderr
    assert "Netlify" not in notes
    assert "Vercel" not in notes


@pytest.mark.parametrize("server", [key for key, target in TARGETS.items() if Feature.DOCUMENTS in target.supports])
def test_that_a_robots_txt_of_the_site_is_not_sent_any_more_is_said(
    server: str, run: Run, write: Write, tmp_path: Path
) -> None:
    own = tmp_path / "robots.txt"
    own.write_text("User-agent: *\nDisallow: /drafts/\n")
    command = ("config", server, "--out", str(tmp_path / "out"), "--policy", write(""))
    assert "it is not sent any more; --merge ROBOTS.TXT keeps its rules" in run(*command).stderr
    assert "not sent any more" not in run(*command, "--merge", str(own)).stderr


def test_that_a_robots_txt_of_the_site_is_not_sent_any_more_is_said_where_the_gateway_is_asked(
    run: Run, write: Write
) -> None:
    trusting = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
    for server in PROXIES:
        assert "serve --own-robots" in run("config", server, "--ask-gateway", "--policy", write(trusting)).stderr
        replacing = write(trusting + "declarations: {robots_txt: off}\n")
        assert "serve --own-robots" not in run("config", server, "--ask-gateway", "--policy", replacing).stderr


def test_limitations_of_a_server_are_notes(run: Run, write: Write, tmp_path: Path) -> None:
    file = write("usages: {train-ai: throttle}\n")
    notes = run("config", "htaccess", "--out", str(tmp_path / "out"), "--policy", file).stderr.splitlines()
    assert notes[1].startswith("note: throttle: requests are not counted here")
    assert "note: Apache (.htaccess) cannot do this: the refusal's own text and headers." in notes
    assert notes[-1] == f"policy: {file}"
    assert "note: Apache (.htaccess): the agent's name is neither in the refusal nor told to the backend." in notes
    assert any(
        "ProxyPass, RewriteRule with P) or takes from elsewhere (Alias) is not covered" in note for note in notes
    )


# Proxies that ask the gateway


def test_a_configuration_is_printed_with_where_each_part_belongs(run: Run, write: Write) -> None:
    text = run("config", "nginx", "--ask-gateway", "--policy", write(ASKING)).stdout
    assert "# ---- /etc/nginx/conf.d/noai-guard-gateway/server.conf: in each server { }" in text
    assert "server 127.0.0.1:9797 max_fails=3" in text
    assert "return 204;" in text


def test_the_sites_own_robots_txt_stays_while_the_gateway_does_not_answer(
    run: Run, write: Write, tmp_path: Path
) -> None:
    own, out = tmp_path / "own.txt", tmp_path / "out"
    own.write_text("User-agent: *\nDisallow: /private\n")
    command = ("config", "nginx", "--ask-gateway", "--out", str(out), "--policy", write(ASKING))
    assert "--merge ROBOTS.TXT keeps its rules there too" in run(*command).stderr
    assert "there too" not in run(*command, "--merge", str(own)).stderr
    robots = out / "noai-guard-gateway" / "documents" / "robots.txt"
    assert "Disallow: /private" in robots.read_text()
    assert "as before" in run(*command, "--check").stderr
    run(*command, "--no-merge")
    assert "Disallow: /private" not in robots.read_text()


def test_a_policy_that_has_to_see_everybody_cannot_ask_about_suspects_alone(run: Run, write: Write) -> None:
    command = ("config", "nginx", "--ask-gateway", "--ask", "suspects", "--policy")
    text = run(*command, write(ASKING)).stdout
    assert "not counted, not logged, not throttled" in text
    assert "--ask suspects" in text
    run(*command, write(ASKING + "exemptions: {addresses: [198.51.100.7]}\n"))
    for more, why in (
        ("rules: [{id: slow, identities: [unclaimed], action: throttle}]\n", "restricts clients that name no agent"),
        ("features: {second_look: yes}\n", "second_look of the policy looks at all user agents"),
    ):
        stderr = run(*command, write(ASKING + "usages: {unknown-bot: deny}\n" + more), code=2).stderr
        assert f"--ask suspects: the policy {why}" in stderr or f"--ask suspects: {why}" in stderr


def test_a_gateway_that_does_not_answer_is_as_the_policy_says(run: Run, write: Write) -> None:
    text = run("config", "nginx", "--ask-gateway", "--policy", write(ASKING + "on_unknown: deny\n")).stdout
    assert "refuses every request" in text
    assert "return 204;" not in text.replace("if ($noai_gate_verdict) { return 204; }", "")


def test_the_files_of_a_proxy_are_stale_when_the_policy_asks_for_others(run: Run, write: Write, tmp_path: Path) -> None:
    asking = ("config", "nginx", "--ask-gateway", "--out", str(tmp_path / "conf.d"), "--policy")
    policy = write(ASKING)
    lines = run(*asking, policy).stdout.splitlines()
    server_conf = tmp_path / "conf.d/noai-guard-gateway/server.conf"
    assert f"wrote   {server_conf}  in each server {{ }} that is protected" in lines
    assert f"include {tmp_path}/conf.d/noai-guard-gateway/ask.conf;" in server_conf.read_text()
    assert "stale" not in run(*asking, policy, "--check").stdout
    changed = write(ASKING + "on_unknown: deny\n")
    assert f"stale   {server_conf}" in run(*asking, changed, "--check", code=1).stdout


def test_a_policy_that_lets_nobody_ask_is_no_policy_for_a_gateway(run: Run, write: Write) -> None:
    for policy, gateway in (("mode: enforce\n", "127.0.0.1:1"), (ASKING.replace(', "unix:"', ""), "unix:/run/a.sock")):
        result = run("config", "nginx", "--ask-gateway", "--policy", write(policy), "--gateway", gateway, code=2)
        assert "trusted_proxies" in result.stderr


@pytest.mark.parametrize("address", ["", "x", "a:0", "a:65536", "a b:80", "a;b:80", "unix:", "unix:relative", "unix:/a b",
                                     "unix:/a;", "http://a:80", "[::1]", "a:80/x", "$x:80", "a:80\n"])  # fmt: skip
def test_an_address_that_is_none_is_an_error_of_one_line(run: Run, write: Write, address: str) -> None:
    for option in ("--gateway", "--origin"):
        result = run("config", "caddy", "--ask-gateway", "--policy", write(ASKING), option, address, code=2)
        assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_would_need_quoting_is_not_taken(run: Run, write: Write) -> None:
    for option in ("--cache", "--root"):
        result = run("config", "nginx", "--ask-gateway", "--policy", write(ASKING), option, "/var/lib/a b;", code=2)
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("server", [server for server in SERVERS if server not in PROXIES])
def test_a_server_that_cannot_ask_the_gateway_says_so(run: Run, write: Write, server: str) -> None:
    result = run("config", server, "--ask-gateway", "--policy", write(ASKING + "on_unknown: deny\n"), code=1)
    assert "cannot ask the gateway" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout


def test_limitations_of_a_proxy_are_notes(run: Run, write: Write) -> None:
    *notes, last = run("config", "varnish", "--ask-gateway", "--policy", write(ASKING)).stderr.splitlines()
    assert last.startswith("policy: ")
    assert any("more than 1 MiB of body" in line for line in notes)
    assert all(line.startswith("note: ") for line in notes)


@pytest.mark.parametrize("proxy", [name for name in PROXIES if name not in ("traefik", "envoy")])
def test_a_header_that_clients_can_write_themselves_is_not_taken_for_their_address(
    run: Run, write: Write, proxy: str
) -> None:
    policy = "on_unknown: deny\ntrusted_proxies: {peers: [127.0.0.1], header: forwarded}\n"
    assert "x-forwarded-for" in run("config", proxy, "--ask-gateway", "--policy", write(policy), code=2).stderr


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_proxy_can_ask_through_a_unix_socket_or_says_that_it_cannot(run: Run, write: Write, proxy: str) -> None:
    policy = write(ASKING + "on_unknown: deny\n")
    asked = ("config", proxy, "--ask-gateway", "--policy", policy, "--gateway", "unix:/run/noai.sock")
    if proxy == "traefik":
        assert "UNIX socket" in run(*asked, code=2).stderr
    else:
        assert "/run/noai.sock" in run(*asked).stdout
