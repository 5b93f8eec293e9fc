"""lighttpd: quoting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.errors import CannotExpress
from noai_guard.targets.servers.lighttpd import quote
from tests.servers import free_port
from tests.targets.conformance import fetch
from tests.targets.web_servers import program, readable_folder, running

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
