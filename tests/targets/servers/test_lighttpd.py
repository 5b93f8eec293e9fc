"""lighttpd: quoting, and documents beside other modules of a site."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.errors import CannotExpress
from noai_guard.targets.servers.lighttpd import quote
from tests.servers import free_port
from tests.targets.conformance import BROWSER, GPTBOT, NO_AI, fetch
from tests.targets.web_servers import plan_of, program, readable_folder, render, running

CHARACTER = st.one_of(
    st.sampled_from("'\"\\$%[]{}#, ~!&<>()@;a"), st.characters(categories=("L", "N", "P", "S"), max_codepoint=126)
)


@settings(deadline=None, max_examples=4)
@given(st.lists(st.text(CHARACTER, max_size=30).map("<{}>".format), min_size=40, max_size=40))
def test_any_quoted_text_is_literal_in_lighttpd(texts: list[str]) -> None:
    port = free_port()
    with readable_folder() as folder:
        conditions = (
            f'$HTTP["url"] == "/{number}" {{ server.tag = {quote(text)} }}' for number, text in enumerate(texts)
        )
        head = f'server.bind = "127.0.0.1"\nserver.port = {port}\nserver.document-root = "{folder}"\n'
        (folder / "lighttpd.conf").write_text(head + "\n".join(conditions) + "\n")
        with running([program("lighttpd"), "-D", "-f", str(folder / "lighttpd.conf")], port, folder):
            assert [fetch(port, f"/{number}", b"").values("server") for number in range(len(texts))] == [
                [t] for t in texts
            ]


@pytest.mark.parametrize("text", ["a\nb", "a\0", "\x7f", "a\\"])
def test_a_text_that_no_configuration_can_contain_raises_an_error(text: str) -> None:
    with pytest.raises(CannotExpress):
        quote(text)


IN_THE_WAY = {
    "a rewrite of every path": ('"mod_rewrite"', 'url.rewrite-once = ( "^/.*" => "/index.html" )'),
    "a redirect of every path": ('"mod_redirect"', 'url.redirect = ( "^/(.*)" => "https://www.music.example/$1" )'),
    "a backend that is down": ('"mod_proxy"', 'proxy.server = ( "" => (( "host" => "127.0.0.1", "port" => 1 )) )'),
    "a login": (
        '"mod_auth", "mod_authn_file"',
        'auth.backend = "plain"\nauth.backend.plain.userfile = "/dev/null"\n'
        'auth.require = ( "" => ( "method" => "basic", "realm" => "members", "require" => "valid-user" ) )',
    ),
}
"""Modules that respond or change the path before ours, and their settings."""


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_documents_are_for_everyone_whatever_other_modules_respond(name: str) -> None:
    modules, settings_ = IN_THE_WAY[name]
    plan, port = plan_of(NO_AI), free_port()
    robots = plan.compiled.documents["/robots.txt"]
    with readable_folder() as folder:
        render("lighttpd", plan, folder)
        (folder / "index.html").write_text("la la\n")
        (folder / "lighttpd.conf").write_text(
            f'server.modules = ( {modules} )\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
            f'server.document-root = "{folder}"\n{settings_}\n'
            f'include "{folder}/rendered/noai-guard/lighttpd.conf"\n'
        )
        with running([program("lighttpd"), "-D", "-f", str(folder / "lighttpd.conf")], port, folder):
            for user_agent in (BROWSER, GPTBOT, b""):
                response = fetch(port, "/robots.txt", user_agent)
                assert (response.status, response.body) == (200, robots.body)
                assert response.values("content-type") == ["text/plain; charset=utf-8"]
                assert not {"location", "www-authenticate"} & {field for field, _ in response.headers}
                [etag] = response.values("etag")
                unchanged = fetch(port, "/robots.txt", user_agent, b"GET", [b"If-None-Match: " + etag.encode()])
                assert (unchanged.status, unchanged.body) == (304, b"")
                assert fetch(port, "/robots.txt", user_agent, b"HEAD").values("content-length") == [
                    str(len(robots.body))
                ]
                tdmrep = fetch(port, "/.well-known/tdmrep.json", user_agent)
                assert tdmrep.body == plan.compiled.documents["/.well-known/tdmrep.json"].body
            assert fetch(port, "/song", BROWSER).body != robots.body
