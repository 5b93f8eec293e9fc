import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES, TokenIndex, compile_token, decoded, token_problem

INDEX = TokenIndex(
    compile_token(form, form)
    for form in (
        "GPTBot", "Terra Cotta", "aiHitBot-*", "^Cursor/", "//diffbot.com", "Exabot/3.0", "ExaBot",
        "//github.com/rom1504/", "Foo-*", "AI2Bot", "panscient.com", "WordPress/",
    )
)  # fmt: skip


def names(user_agent: str | bytes) -> set[str]:
    raw = user_agent.encode() if isinstance(user_agent, str) else user_agent
    return {hit.value for hit in INDEX.hits(raw)}


@pytest.mark.parametrize(
    "user_agent",
    [
        "GPTBot",
        "gptbot/1.2",
        "GPTBOT;",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 (compatible;GPTBot/1.2;+https://openai.com/gptbot)",
        "Mozilla/5.0 (compatible; GPTBot",
        '"GPTBot/1.2"',
        "'GPTBot'",
        r"\x22Mozilla/5.0 (compatible; \x47PTBot/1.2)\x22",
        r"curl\nGPTBot/1.0",
        "Mozilla/5.0+(compatible;+GPTBot/1.2;++https://openai.com/gptbot)",
        "Mozilla%2F5.0%20%28compatible%3B%20GPTBot%2F1.2%29",
        "Mozilla%252F5.0%2520GPTBot%252F1.2",
        "Mozilla/5.0_(compatible;_GPTBot/1.0)",
        "Mozilla/5.0 Chrome/126\nGPTBot/1.2",
        "GPTBot.1",
        "(GPTBot)",
        "Mozilla/5.0 [GPTBot]",
        "éGPTBot",
        "\x00GPTBot\x01",
        "python-requests/2.31 (GPTBot)",
        "https://example.org GPTBot/1.0",
        "GPTBot/1.0 (bot@example.org)",
    ],
)
def test_a_name_is_found_in_every_form_that_logs_and_clients_give_it(user_agent: str) -> None:
    assert names(user_agent) == {"GPTBot"}


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        " ",
        "NotGPTBot/1.0",
        "GPTBotter/1.0",
        "GPTBot2/1.0",
        "GPT-Bot",
        "x-gptbot",
        "gptbot_x",
        "Reader/1.0 (+https://example.org/gptbot)",
        "Reader/1.0 (+https://gptbot.example/)",
        "Reader/1.0 (+https://example.org/?ua=GPTBot)",
        "Reader/1.0 (+https://example.org/?q=a+GPTBot)",
        "Reader/1.0 (+https://example.org/?q=a%20GPTBot)",
        "Reader/1.0 (gptbot@example.org)",
        "Reader/1.0 (admin@gptbot)",
        "Reader/1.0 (mailto:gptbot@example.org)",
        "Reader/1.0 (www.gptbot.com)",
        "Reader/1.0 (gptbot.com)",
        "Reader/1.0 (gptbot.com/about)",
        "Reader/1.0 (example.org/gptbot)",
        "Reader/1.0 gptbot.co.uk",
        "http.rb/5.1 (Friendica; +https://gptbot.social/)",
    ],
)
def test_a_name_inside_another_word_or_address_is_not_found(user_agent: str) -> None:
    assert names(user_agent) == set()


def test_a_token_with_a_blank_matches_a_blank_however_it_is_written() -> None:
    assert names("Mozilla/5.0 (compatible; Terra Cotta/1)") == {"Terra Cotta"}
    assert names("Terra%20Cotta/1.0 CFNetwork/1410 Darwin/22") == {"Terra Cotta"}
    assert names("TerraCotta") == set()


def test_a_family_matches_what_follows_its_dash_but_not_as_part_of_an_address() -> None:
    assert names("aiHitBot-BP/1.1") == {"aiHitBot-*"}
    assert names("foo-bar-baz/1") == {"Foo-*"}
    assert names("aiHitBotter") == set()
    assert names("Reader (aihitbot-news@example.org)") == set()
    assert names("Reader (aihitbot-news.example.org)") == set()


def test_an_anchored_token_stands_only_at_the_start_of_a_line() -> None:
    assert names("Cursor/3.0.16 (darwin arm64)") == {"^Cursor/"}
    assert names('"Cursor/3.0"') == {"^Cursor/"}
    assert names("curl/8\nCursor/3.0") == {"^Cursor/"}
    assert names("Mozilla/5.0 (Macintosh) Cursor/1.2.3 Chrome/126 Electron/31") == set()


def test_a_host_counts_only_when_no_name_was_found() -> None:
    assert names("Snap/1.0 (+https://www.diffbot.com/dev/docs/crawl/)") == {"//diffbot.com"}
    assert names("WordPress/6.6; https://diffbot.com") == {"WordPress/"}
    assert names("Snap/1.0 (+https://notdiffbot.com/)") == set()
    assert names("Snap/1.0 (+https://diffbot.com.evil.example/)") == set()
    assert names("Snap/1.0 (+https://example.org/diffbot.com)") == set()


def test_a_host_with_a_path_needs_both() -> None:
    assert names("Firefox/72.0 (compatible; x; +https://github.com/rom1504/img2dataset)") == {"//github.com/rom1504/"}
    assert names("Firefox/72.0 (compatible; x; +https://github.com/someone/else)") == set()


def test_the_longer_of_two_tokens_at_one_position_counts() -> None:
    assert names("Mozilla/5.0 (compatible; Exabot/3.0; +http://www.exabot.com/go/robot)") == {"Exabot/3.0"}
    assert names("ExaBot/1.0") == {"ExaBot"}


def test_a_token_that_is_a_domain_is_found_bare_and_not_in_a_longer_domain() -> None:
    assert names("panscient.com") == {"panscient.com"}
    assert names("Reader (panscient.com.example.org)") == set()


def test_a_long_user_agent_is_read_at_its_head_and_tail() -> None:
    filler = "x " * 40_000
    assert names("GPTBot/1.0 " + filler) == {"GPTBot"}
    assert names(filler + "GPTBot/1.0") == {"GPTBot"}
    assert names(filler + "GPTBot/1.0 " + filler) == set()


def test_the_cut_of_a_long_user_agent_makes_no_name() -> None:
    head = "y" * (HEAD_BYTES - 3) + "Not"
    tail = "GPTBot/1.0".ljust(TAIL_BYTES, "z")
    assert names(head + tail) == set()
    assert names("y " * (HEAD_BYTES // 2) + "Not" * 300 + tail) == set()


def test_the_search_ends_after_24_positions_that_are_no_names() -> None:
    assert names("a@gptbot " * 23 + "GPTBot") == {"GPTBot"}
    assert names("a@gptbot " * 24 + "GPTBot") == set()
    assert names("a@exabot " * 24 + "GPTBot") == set()


def test_a_crowd_of_almost_names_matches_nothing() -> None:
    assert names(" ".join(["xGPTBot"] * 100)) == set()
    assert names(" ".join(["xGPTBot AI2Botx ExaBotx Foo.x"] * 30)) == set()


@given(st.binary(max_size=3000))
def test_any_bytes_are_searched_without_an_exception(raw: bytes) -> None:
    INDEX.hits(raw)
    decoded(raw)


@given(st.text(st.sampled_from("abcXYZ019-_"), max_size=5), st.text(st.sampled_from("abcXYZ019-_"), max_size=5))
def test_a_word_character_on_either_side_hides_a_name(before: str, after: str) -> None:
    assert names(f"Reader {before}GPTBot{after} x") == ({"GPTBot"} if not before + after else set())


@pytest.mark.parametrize(
    "form", ["", " GPTBot", "GPT*Bot", "GPTBot*", "*", "123", "^", "//", "//nodot", "//x.y*", "Ünicode", "a\nb"]
)
def test_a_bad_token_form_is_rejected_with_the_reason(form: str) -> None:
    assert token_problem(form)
    with pytest.raises(ValueError, match="token"):
        compile_token(form, None)


def hidden(user_agent: bytes) -> frozenset[str]:
    return INDEX.read(user_agent).hidden


@pytest.mark.parametrize(
    "name", [b"GPTBot", b"gptbot", b"xGPTBotx", b"https://x.example/gptbot", b"G%50TBot", b"G%2550TBot", b"\\x47PTBot"]
)
@pytest.mark.parametrize("at", [1020, 1024, 30_000, 65_530, 131_070])
def test_a_name_between_head_and_tail_is_hidden_however_it_is_written(name: bytes, at: int) -> None:
    assert hidden(b"x" * at + name + b"x" * 140_000) == {"GPTBot"}


def test_all_names_that_begin_at_one_place_are_hidden_there() -> None:
    index = TokenIndex(compile_token(form, form) for form in ("Foo", "FooBar", "FooBar-*", "Bar", "FooBaz"))
    assert index.read(b"x" * 2000 + b"foobar-1" + b"x" * 2000).hidden == {"Foo", "FooBar", "FooBar-*", "Bar"}
    assert index.read(b"x" * 2000 + b"foobaz" + b"x" * 2000).hidden == {"Foo", "FooBaz"}


def test_nothing_is_hidden_in_what_is_read_closely() -> None:
    assert hidden(b"xGPTBotx" * 3) == frozenset()
    assert hidden(b"x " * 760 + b"xGPTBotx") == frozenset()
    assert hidden(b"xGPTBotx" + b"y" * 3000) == frozenset()


def test_names_are_hidden_behind_24_positions_that_are_no_names_and_among_too_many_escapes() -> None:
    assert hidden(b"a@exabot " * 24 + b"GPTBot") == {"GPTBot", "ExaBot"}
    assert hidden(b"%20" * 257 + b"GPTBot") == {"GPTBot"}


@pytest.mark.parametrize("user_agent", ["GPTBot%41", "GPTBot\\x41", "a GPTBot%2Fx", "Mozilla/5.0%20GPTBot;%20x"])
def test_a_name_that_only_the_raw_form_shows_is_read(user_agent: str) -> None:
    assert names(user_agent) == {"GPTBot"}


def test_a_host_that_needs_a_path_is_hidden_with_its_path_only() -> None:
    filler = b"x" * 2000
    assert hidden(filler + b"https://github.com/rom1504/img2dataset" + filler) == {"//github.com/rom1504/"}
    assert hidden(filler + b"https://github.com/somebody/player" + filler) == frozenset()


def test_a_name_that_begins_with_a_delimiter_is_found_behind_an_address() -> None:
    index = TokenIndex([compile_token("; Talker/", "Talker")])
    for user_agent in (b"x (+https://x.example; Talker/1.0)", b"x; Talker/1.0", b"a@b.example; Talker/1"):
        assert [hit.value for hit in index.hits(user_agent)] == ["Talker"]
