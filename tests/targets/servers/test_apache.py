"""Apache: the generated lines beside other directives of a site, in a virtual host and in .htaccess."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.errors import CannotExpress
from noai_guard.targets import apache_directives
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers import apache, htaccess
from tests.servers import free_port
from tests.targets.conformance import BROWSER, GPTBOT, fetch, policy, refusal
from tests.targets.web_servers import apache_main, plan_of, program, readable_folder, render, running

PLAYER = b"AntennaPod/3.4.0"
POLICY = policy(
    b"extends: no-ai\npaths: {/press/**: {usages: {train-ai: allow}}, /tracks/: {usages: {train-ai: allow}}}\n"
)
PLAN = plan_of(POLICY)
COMPILED = PLAN.compiled


def public(folder: Path) -> Path:
    site = folder / "public"
    for name in ("app", "press", "tracks"):
        (site / name).mkdir(parents=True)
        (site / name / "index.html").write_text(f"{name}\n")
    (site / "index.html").write_text("start\n")
    (site / "song.html").write_text("song\n")
    (site / "error.html").write_text("nothing there\n")
    (site / "app" / ".htaccess").write_text(
        "RewriteEngine On\nRewriteRule ^cdn/ https://cdn.example/signed [R,L]\n"
        "RewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . /app/index.html [L]\n"
    )
    (site / "press" / ".htaccess").write_text("RewriteEngine On\nRewriteRule ^moved$ /index.html [L]\n")
    return site


def vhost(folder: Path, site: Path) -> str:
    return (
        f"Include {folder}/rendered/noai-guard/vhost.conf\nDocumentRoot {site}\nErrorDocument 404 /error.html\n"
        f"<Directory {site}>\nAllowOverride All\nOptions +MultiViews\nRequire all granted\n</Directory>\n"
        "Header always set X-Frame-Options DENY\nHeader set X-Robots-Tag nosnippet\nProxyPass /down/ http://127.0.0.1:1/\n"
        "RewriteEngine On\nRewriteRule ^/short/(.*) /app/$1 [PT]\n"
    )


def in_htaccess(folder: Path, site: Path) -> str:
    generated = folder / "rendered" / "noai-guard"
    shutil.copytree(generated / "documents", site, dirs_exist_ok=True)
    (site / ".htaccess").write_text((generated / "htaccess").read_text() + "Header always set X-Robots-Tag nosnippet\n")
    return vhost(folder, site).replace(f"Include {folder}/rendered/noai-guard/vhost.conf\n", "")


@pytest.fixture(scope="module", params=[vhost, in_htaccess], ids=["vhost", "htaccess"])
def site(request: pytest.FixtureRequest) -> Iterator[int]:
    with readable_folder() as folder:
        render("apache" if request.param is vhost else "htaccess", PLAN, folder)
        port = free_port()
        main = apache_main(folder, port, request.param(folder, public(folder)))
        with running([program("apache2"), "-f", str(main), "-DFOREGROUND"], port, folder):
            yield port


PAGES = {
    "/": (200, b"start\n"),
    "/app/anything": (200, b"app\n"),
    "/short/anything": (200, b"app\n"),
    "/press/": (200, b"press\n"),
    "/press/moved": (200, b"start\n"),
    "/tracks/": (200, b"tracks\n"),
    "/nothing": (404, b"nothing there\n"),
    "/press/nothing": (404, b"nothing there\n"),
}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("user_agent", [BROWSER, PLAYER, b""])
def test_people_get_the_site_unchanged_and_every_response_declares(site: int, path: str, user_agent: bytes) -> None:
    response = fetch(site, path, user_agent)
    assert (response.status, response.body) == PAGES[path]
    section = 0 if not path.startswith(("/press", "/tracks/")) else 1
    declared = {(name.decode(), value.decode()) for name, value in list(COMPILED.declared.values())[section].fields}
    assert not declared - set(response.headers)
    assert len(response.values("content-usage")) == 1
    assert not response.values("vary")
    if response.status == 200:
        assert "nosnippet" in response.values("x-robots-tag")


@pytest.mark.parametrize("path", PAGES)
def test_the_path_of_the_request_decides_also_after_internal_redirects(site: int, path: str) -> None:
    status, _ = refusal(COMPILED, path, GPTBOT)
    response = fetch(site, path, GPTBOT)
    assert response.status == (status or PAGES[path][0])
    if status:
        assert response.body.startswith((b"GPTBot (OpenAI) is not", b"This client is not"))


@pytest.mark.parametrize("path", ["/app/cdn/song", "/song"])
def test_an_agent_gets_neither_a_redirect_to_another_host_nor_a_file_of_multiviews(site: int, path: str) -> None:
    assert fetch(site, path, BROWSER).status in (200, 302)
    response = fetch(site, path, GPTBOT)
    # In .htaccess the file that MultiViews looks for is refused, so it finds none.
    assert response.status in (403, 404)
    assert not response.values("location")


PRIVATE = """
Redirect /cdn https://cdn.example/signed
RewriteEngine On
RewriteRule ^/short/(.*) https://cdn.example/$1 [R]
<Location "/">
    Require all denied
    SetHandler none-of-ours
</Location>
<Location "/cdn">
    Require all granted
</Location>
"""


def test_a_virtual_host_refuses_and_documents_before_passwords_redirects_and_handlers_of_the_site() -> None:
    with readable_folder() as folder:
        render("apache", PLAN, folder)
        port = free_port()
        main = apache_main(folder, port, f"Include {folder}/rendered/noai-guard/vhost.conf\n{PRIVATE}")
        with running([program("apache2"), "-f", str(main), "-DFOREGROUND"], port, folder):
            assert fetch(port, "/robots.txt", BROWSER).body.startswith(b"# Begin noai-guard")
            assert not fetch(port, "/robots.txt", GPTBOT).values("x-robots-tag")
            assert fetch(port, "/page", BROWSER).status == 403
            for path in ("/page", "/cdn/song", "/short/song"):
                response = fetch(port, path, GPTBOT)
                assert (response.status, response.body.decode()) == refusal(COMPILED, path, GPTBOT)
                assert response.values("x-robots-tag") == ["noai, noimageai, noarchive, noml"]


def test_who_signs_as_a_refused_agent_gets_no_redirect_of_the_site_either() -> None:
    with readable_folder() as folder:
        render("apache", plan_of(policy(b"")), folder)
        port = free_port()
        main = apache_main(folder, port, f"Include {folder}/rendered/noai-guard/vhost.conf\n{PRIVATE}")
        with running([program("apache2"), "-f", str(main), "-DFOREGROUND"], port, folder):
            assert fetch(port, "/cdn/song", BROWSER).status == 302
            for path in ("/page", "/cdn/song", "/short/song"):
                response = fetch(port, path, BROWSER, headers=[b'Signature-Agent: "https://chatgpt.com"'])
                assert response.body.startswith(b"This client is not allowed to fetch this as an AI agent")
                assert (response.status, response.values("location")) == (403, [])
                assert response.values("x-robots-tag") == ["noai, noimageai, noarchive, noml"]


@pytest.mark.parametrize("site", [vhost], indirect=True, ids=["vhost"])
def test_the_response_for_an_unreachable_upstream_declares_too(site: int) -> None:
    response = fetch(site, "/down/x", BROWSER)
    assert response.status == 503
    assert "noai, noimageai, noarchive, noml" in response.values("x-robots-tag")
    assert fetch(site, "/down/x", GPTBOT).status == 403


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_map_line_holds_one_key_and_one_value(text: str) -> None:
    assert not any(character.isspace() or ord(character) < 32 for character in apache.quote(text))


def test_a_text_longer_than_a_line_of_a_map_is_complete() -> None:
    message = "日" * 290
    text = f"extends: no-ai\nrules: [{{id: long, agents: [GPTBot], action: deny, message: '{message}'}}]\n"
    plan = plan_of(policy(text.encode()))
    with readable_folder() as folder:
        render("apache", plan, folder)
        assert max(map(len, (folder / "rendered/noai-guard/texts.txt").read_text().splitlines())) < 1024
        port = free_port()
        main = apache_main(folder, port, vhost(folder, public(folder)))
        with running([program("apache2"), "-f", str(main), "-DFOREGROUND"], port, folder):
            assert fetch(port, "/", GPTBOT).body.decode() == refusal(plan.compiled, "/", GPTBOT)[1]


def test_a_text_that_no_directive_can_contain_raises_an_error() -> None:
    for text in ("${HOME}", "a\nb"):
        with pytest.raises(CannotExpress):
            apache_directives.quote_argument(text)
    for value in ("expr=1", "a\\nb"):
        with pytest.raises(CannotExpress):
            apache_directives.header_value(value)
    with pytest.raises(CannotExpress):
        apache.TARGET.render(PLAN, "/etc/${HOME}")


def test_htaccess_names_its_limitations() -> None:
    plan = TargetPlan(CompiledPolicy(load_stance("no-ai"), load_catalog()))
    assert any("agent's name" in sentence for sentence in htaccess.TARGET.limitations(plan))
