"""`noai-guard config nginx --inspect`: each finding in a configuration that has it, and gone when the hint is followed."""

import re
import subprocess
from pathlib import Path

import pytest

from noai_guard.cli.nginx_files import read_nginx
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import TARGETS
from noai_guard.targets.nginx_inspection import TEXTS, Form, Installation, inspect
from noai_guard.targets.plan import TargetPlan
from tests.cli.conftest import Run
from tests.targets.web_servers import nginx_main, program

DOCS = Path(__file__).resolve().parents[2] / "docs" / "servers" / "nginx.md"
POLICY = """extends: no-ai
site: {url: "https://music.example"}
trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}
"""
HTTP = "add_header Strict-Transport-Security max-age=600 always; error_page 404 /404.html; proxy_set_header Host $host;"
COMPILED = "include @CONF@/noai-guard/server.conf;"
GATEWAY = "include @CONF@/noai-guard-gateway/server.conf;"
PAGES = "error_page 404 /404.html;"

# Form, http, server, codes (a note in lower case), and what is typed instead in http or server.
CASES: dict[str, tuple[Form, str, str, str, str, str]] = {
    "fine": ("compiled", HTTP, f"{COMPILED} location / {{ }}", "", "", ""),
    "fine with the gateway": ("gateway", HTTP, f"{GATEWAY} {PAGES} location / {{ }}", "", "", ""),
    "no include": ("compiled", HTTP, "location / { }", "N101", "location / {", f"{COMPILED} location / {{"),
    "rewrite first": ("compiled", "", f"rewrite ^/old /new last; {COMPILED}", "N102",
                      f"rewrite ^/old /new last; {COMPILED}", f"{COMPILED} rewrite ^/old /new last;"),
    "return in an if first": ("compiled", "", f"if ($arg_x) {{ return 200 hello; }} {COMPILED}", "N102", "200 hello", "301 /x"),
    "redirect first": ("compiled", "", f"if ($scheme = http) {{ return 301 https://x; }} {COMPILED}", "n102", "", ""),
    "break first": ("compiled", "", f"if ($arg_x) {{ break; }} {COMPILED}", "N102", "break;", "set $x 1;"),
    "own auth_request": ("gateway", "", f"{GATEWAY} location /a/ {{ auth_request /b; }}", "N103", "auth_request /b;", ""),
    "auth_request off": ("gateway", "", f"{GATEWAY} location /a/ {{ auth_request off; }}", "N103", "auth_request off;", ""),
    "satisfy any": ("gateway", "", f"{GATEWAY} location /a/ {{ satisfy any; deny all; }}", "N104", "satisfy any;", ""),
    "satisfy any in the server": ("gateway", "", f"{GATEWAY} satisfy any;", "N104", "satisfy any;", "satisfy all;"),
    "satisfy any around the server": ("gateway", "satisfy any;", GATEWAY, "N104", "satisfy any;", "satisfy all;"),
    "auth_request around the server": ("gateway", "auth_request /a;", GATEWAY, "N106", "auth_request /a;", ""),
    "return with the gateway": ("gateway", "", f"{GATEWAY} location /a/ {{ return 200 a; }}", "N105", "200 a", "404"),
    "redirect with the gateway": ("gateway", "", f"{GATEWAY} location /a/ {{ return 301 /b/; }}", "n105", "", ""),
    "return without the gateway": ("compiled", "", f"{COMPILED} location /a/ {{ return 200 a; }}", "", "", ""),
    "late size": ("compiled", "include @CONF@/noai-guard.conf; map_hash_max_size 4096;", COMPILED, "N109",
                  "include @CONF@/noai-guard.conf; map_hash_max_size 4096;",
                  "map_hash_max_size 4096; include @CONF@/noai-guard.conf;"),
    "own lines in the server": ("compiled", "", f"{COMPILED} add_header X-A b;", "N201",
                                "X-A b;", "X-A b; include @CONF@/noai-guard/headers.conf;"),
    "own lines in a location": ("gateway", "", f"{GATEWAY} location ~ \\.mp3$ {{ add_header X-A b; }}", "N202",
                                "X-A b;", "X-A b; include @CONF@/noai-guard-gateway/headers.conf;"),
    "own lines in an if": ("compiled", "", f"{COMPILED} location / {{ if ($arg_a) {{ add_header X-A b; }} }}", "N202",
                           "X-A b;", "X-A b; include @CONF@/noai-guard/headers.conf;"),
    "no lines of the server": ("compiled", "", f"{COMPILED} add_header_inherit off;", "N201",
                               "off;", "off; include @CONF@/noai-guard/headers.conf;"),
    "no lines below an off": ("gateway", "", f"{GATEWAY} location /a/ {{ add_header_inherit off; location /a/b/ {{ }} }}",
                              "N202", "off;", "on;"),
    "own lines that are merged": ("compiled", "add_header_inherit merge;", f"{COMPILED} add_header X-A b;", "", "", ""),
    "lines that remove": ("compiled", HTTP, f"{COMPILED} location / {{ include @CONF@/noai-guard/headers.conf; }}", "N203",
                          "include @CONF@/noai-guard/headers.conf;", ""),
    "proxy lines that remove": ("compiled", HTTP, f"{COMPILED} location / {{ include @CONF@/noai-guard/proxy.conf; }}",
                                "N203", "proxy.conf;", f"proxy.conf; {HTTP.split(';')[2]};"),
    "no verdict": ("gateway", "", f"{GATEWAY} location / {{ proxy_set_header X-A b; }}", "n204",
                   "X-A b;", "X-A b; include @CONF@/noai-guard-gateway/proxy.conf;"),
    "no verdict in PHP": ("gateway", "", f"{GATEWAY} location / {{ fastcgi_pass unix:/php; }}", "n204",
                          "/php;", "/php; include @CONF@/noai-guard-gateway/fastcgi.conf;"),
    "error pages": ("gateway", HTTP, GATEWAY, "N205", GATEWAY, f"{GATEWAY} {PAGES}"),
    "error page for 401": ("gateway", "", f"{GATEWAY} error_page 401 /login;", "N206", "error_page 401 /login;", ""),
    "error page for 401 first": ("gateway", "", f"error_page 401 /login; {GATEWAY}", "N208", "error_page 401 /login;", ""),
    "error pages of a location": ("gateway", "", f"{GATEWAY} location / {{ error_page 404 /a; }}", "N207",
                                  "/a;", "/a; include @CONF@/noai-guard-gateway/error_page.conf;"),
    "own location": ("compiled", "", f"{COMPILED} location = /robots.txt {{ alias @DIR@/own.txt; }}", "N301",
                     "location = /robots.txt { alias @DIR@/own.txt; }", ""),
    "own file": ("compiled", "", f"{COMPILED} root @DIR@;", "N302", "root @DIR@;", "root @CONF@;"),
    "own file of location /": ("compiled", "", f"{COMPILED} location / {{ root @DIR@; }}", "N302", "root @DIR@;", ""),
    "own robots.txt by prefix": ("compiled", "", f"{COMPILED} location ^~ /robots.txt {{ alias @DIR@/own.txt; }}", "N302",
                                 "location ^~ /robots.txt { alias @DIR@/own.txt; }", ""),
    "password": ("compiled", "", f"{COMPILED} auth_basic x;", "n303", "", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of both forms."""
    folder = tmp_path_factory.mktemp("nginx") / "conf.d"
    policy, _ = check_policy_text(POLICY.encode())
    assert policy
    compiled, address = CompiledPolicy(policy, load_catalog()), SocketAddress("127.0.0.1", 1)
    setup = GatewaySetup(compiled, address, address)
    plan = TargetPlan(compiled)
    for file in (*TARGETS["nginx"].render(plan, str(folder)), *PROXIES["nginx"].render(setup, str(folder))):
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes(file.content)
    return folder


def inspected(conf: Path, folder: Path, form: Form, http: str, server: str, merged: bool = False) -> set[str]:
    """Return the codes for a configuration of one server beside another site's; a note in lower case."""
    servers = f"server {{ server_name music.example;\n{server} }}\nserver {{ server_name b.example; }}"
    text = f"http {{\n{http}\n{servers}\n}}\n"
    (folder / "nginx.conf").write_text(text.replace("@DIR@", str(folder)).replace("@CONF@", str(conf)))
    for name in ("robots.txt", "own.txt"):
        (folder / name).write_text("User-agent: *\nDisallow: /drafts/\n")
    base = f"{conf}/noai-guard{'-gateway' if form == 'gateway' else ''}"
    installation = Installation(form, base, ("/robots.txt",), "music.example", merged)
    problems = inspect(read_nginx(str(folder)).main, installation, lambda path: Path(path).is_file())
    return {problem.code.lower() if problem.warning else problem.code for problem in problems} - {"n101"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_lost_or_unguarded_is_found_and_gone_when_the_hint_is_followed(
    conf: Path, tmp_path: Path, case: tuple[Form, str, str, str, str, str]
) -> None:
    form, http, server, code, old, new = case
    assert inspected(conf, tmp_path, form, http, server) == {code} - {""}
    if old:
        assert code not in inspected(conf, tmp_path, form, http.replace(old, new), server.replace(old, new))


def test_every_code_is_shown_and_documented() -> None:
    assert {case[3].upper() for case in CASES.values()} - {""} == set(TEXTS)
    assert set(re.findall(r"^\| (N\d+) ", DOCS.read_text(), re.MULTILINE)) == set(TEXTS)


def test_a_finding_says_where_it_is_and_what_to_type(run: Run, tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text(POLICY)
    (tmp_path / "sites").mkdir()
    (tmp_path / "nginx.conf").write_text("http { include sites/*; }")
    file, folder = tmp_path / "sites" / "music", tmp_path / "conf.d" / "noai-guard"
    file.write_text(f"server {{\n  include {folder}/server.conf;\n  location / {{\n    add_header X-A b;\n  }}\n}}\n")
    command = ("config", "nginx", "--policy", str(tmp_path / "noai.yaml"), "--out", str(tmp_path / "conf.d"))
    lines = run(*command, "--inspect", str(tmp_path), code=1).stdout.splitlines()
    assert lines[-2:] == [
        f"{file}:4: N202 location / has add_header lines of its own, so it inherits none of noai-guard's; "
        f"type beside them: include {folder}/headers.conf;",
        "1 problem",
    ]
    file.write_text(file.read_text().replace("X-A b;", f"X-A b; include {folder}/headers.conf;"))
    assert run(*command, "--inspect", str(tmp_path)).stdout.splitlines()[-1].startswith("fine")
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /drafts/\n")
    file.write_text(f"server {{ include {folder}/server.conf; root {tmp_path}; }}")
    (finding, _) = run("config", "nginx", "--inspect", str(tmp_path), code=1).stdout.splitlines()
    merge = finding.partition("nginx ")[2].partition(" keeps")[0].split()
    run(*command, *merge)
    assert run(*command, "--inspect", str(tmp_path)).stdout.splitlines()[-1].startswith("fine")


def test_the_output_of_nginx_is_read_like_its_files(run: Run, tmp_path: Path) -> None:
    run("config", "nginx", "--out", str(tmp_path / "conf.d"))
    server = "server { listen 127.0.0.1:1; include conf.d/noai-guard/server.conf; location / { add_header X-A b; } }"
    (tmp_path / "nginx.conf").write_text(nginx_main(tmp_path, f"include conf.d/*.conf; {server}"))
    command = [program("nginx"), "-T", "-q", "-c", str(tmp_path / "nginx.conf")]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    from_dump = run("config", "nginx", "--inspect", "-", input=dump, code=1).stdout
    (tmp_path / "dump").write_text(dump)
    assert "N202 location /" in from_dump
    assert run("config", "nginx", "--inspect", str(tmp_path / "dump"), code=1).stdout == from_dump
    assert run("config", "nginx", "--inspect", str(tmp_path), code=1).stdout == from_dump


@pytest.mark.parametrize("text", ["http { server {", "server }", "", "}"])
def test_what_is_no_configuration_is_one_line_and_no_traceback(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "nginx.conf").write_text(text)
    assert len(run("config", "nginx", "--inspect", str(tmp_path), code=2).stderr.splitlines()) == 1
    assert len(run("config", "nginx", "--inspect", "-", input=text, code=2).stderr.splitlines()) == 1
    assert "nginx -T" in run("config", "nginx", "--inspect", str(tmp_path / "nothing"), code=2).stderr


def test_a_configuration_that_includes_itself_ends(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("http { include nginx.conf; }")
    run("config", "nginx", "--inspect", str(tmp_path))


def test_only_nginx_is_inspected(run: Run, tmp_path: Path) -> None:
    assert "--inspect does not apply" in run("config", "caddy", "--inspect", str(tmp_path), code=2).stderr
