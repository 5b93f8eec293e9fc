"""Apache: whatever a site has beside the compiled lines, in a virtual host and in .htaccess."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog, load_stance
from noai_guard.errors import CannotExpress
from noai_guard.targets import apache_directives
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers import apache, htaccess
from tests.servers import free_port
from tests.targets.conformance import ask, refusal
from tests.targets.web_servers import apache_main, program, readable_folder, render, running

GPTBOT = b"Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"
PLAYER = b"AntennaPod/3.4.0"
POLICY, _ = check_policy_text(
    b"extends: no-ai\npaths: {/press/**: {usages: {train-ai: allow}}, /tracks/: {usages: {train-ai: allow}}}\n"
)
FRONT = CompiledPolicy(POLICY, load_catalog())


def public(folder: Path) -> Path:
    site = folder / "public"
    for name in ("app", "press", "tracks"):
        (site / name).mkdir(parents=True)
        (site / name / "index.html").write_text(f"{name}\n")
    (site / "index.html").write_text("start\n")
    (site / "error.html").write_text("nothing there\n")
    (site / "app" / ".htaccess").write_text(
        "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . /app/index.html [L]\n"
    )
    (site / "press" / ".htaccess").write_text("RewriteEngine On\nRewriteRule ^moved$ /index.html [L]\n")
    return site


def vhost(folder: Path, site: Path) -> str:
    return (
        f"Include {folder}/rendered/noai-guard/vhost.conf\nDocumentRoot {site}\nErrorDocument 404 /error.html\n"
        f"<Directory {site}>\nAllowOverride All\nRequire all granted\n</Directory>\n"
        "Header always set X-Frame-Options DENY\nHeader set X-Robots-Tag nosnippet\nProxyPass /down/ http://127.0.0.1:1/\n"
        "RewriteEngine On\nRewriteRule ^/short/(.*) /app/$1 [PT]\n"
    )


def in_htaccess(folder: Path, site: Path) -> str:
    ours = folder / "rendered" / "noai-guard"
    shutil.copytree(ours / "documents", site, dirs_exist_ok=True)
    (site / ".htaccess").write_text((ours / "htaccess").read_text() + "Header set X-Robots-Tag nosnippet\n")
    return vhost(folder, site).replace(f"Include {folder}/rendered/noai-guard/vhost.conf\n", "")


@pytest.fixture(scope="module", params=[vhost, in_htaccess], ids=["vhost", "htaccess"])
def site(request) -> Iterator[int]:
    with readable_folder() as folder:
        render("apache" if request.param is vhost else "htaccess", FRONT, folder)
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
def test_listeners_get_the_site_as_it_is_and_every_response_declares(site: int, path: str, user_agent: bytes) -> None:
    answer = ask(site, path, user_agent)
    assert (answer.status, answer.body) == PAGES[path]
    section = 0 if not path.startswith(("/press", "/tracks/")) else 1
    declared = {(name.decode(), value.decode()) for name, value in FRONT.declared[section].fields}
    assert not declared - set(answer.headers)
    assert len(answer.all("content-usage")) == 1
    assert not answer.all("vary")
    if answer.status == 200:
        assert "nosnippet" in answer.all("x-robots-tag")


@pytest.mark.parametrize("path", PAGES)
def test_what_an_agent_gets_is_decided_by_the_path_that_it_asked_for(site: int, path: str) -> None:
    status, _ = refusal(FRONT, path, GPTBOT)
    answer = ask(site, path, GPTBOT)
    assert answer.status == (status or PAGES[path][0])
    if status:
        assert answer.body.startswith((b"GPTBot (OpenAI) is not", b"This client is not"))


@pytest.mark.parametrize("site", [vhost], indirect=True, ids=["vhost"])
def test_an_upstream_that_is_down_declares_too(site: int) -> None:
    answer = ask(site, "/down/x", BROWSER)
    assert answer.status == 503
    assert "noai, noimageai" in answer.all("x-robots-tag")
    assert ask(site, "/down/x", GPTBOT).status == 403


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_map_line_holds_one_key_and_one_value(text: str) -> None:
    assert not any(sign.isspace() or ord(sign) < 32 for sign in apache.quote(text))


def test_a_text_longer_than_a_line_of_a_map_comes_whole() -> None:
    message = "日" * 290
    found, _ = check_policy_text(
        f"extends: no-ai\nrules: [{{id: long, agents: [GPTBot], action: deny, message: '{message}'}}]\n".encode()
    )
    compiled = CompiledPolicy(found, load_catalog())
    with readable_folder() as folder:
        render("apache", compiled, folder)
        assert max(map(len, (folder / "rendered/noai-guard/texts.txt").read_text().splitlines())) < 1024
        port = free_port()
        main = apache_main(folder, port, vhost(folder, public(folder)))
        with running([program("apache2"), "-f", str(main), "-DFOREGROUND"], port, folder):
            assert ask(port, "/", GPTBOT).body.decode() == refusal(compiled, "/", GPTBOT)[1]


def test_what_a_directive_cannot_hold_is_said_and_not_written() -> None:
    for text in ("${HOME}", "a\nb"):
        with pytest.raises(CannotExpress):
            apache_directives.quote_argument(text)
    for value in (b"expr=1", b"a\\nb"):
        with pytest.raises(CannotExpress):
            apache_directives.header_value(value)
    with pytest.raises(CannotExpress):
        apache.TARGET.render(TargetPlan(FRONT), "/etc/${HOME}")


def test_htaccess_says_what_it_cannot_do() -> None:
    said = list(htaccess.TARGET.cannot_express(TargetPlan(CompiledPolicy(load_stance("no-ai"), load_catalog()))))
    assert any("agent's name" in sentence for sentence in said)
