"""Injection of tags into HTML, checked with html5lib and its prescan for charsets."""

import io
import re
from collections.abc import Iterator
from typing import Any

import html5lib
import pytest
from html5lib._inputstream import HTMLBinaryInputStream
from hypothesis import given, settings
from hypothesis import strategies as st
from webencodings.labels import LABELS

from noai_guard.responses import html_injection
from noai_guard.responses.html_injection import (
    HOLD_LIMIT,
    OUTCOMES,
    PRESCAN_LENGTH,
    REASONS,
    SEARCH_LIMIT,
    PageTags,
    TagInjector,
    has_charset,
    injectable,
    rewritten_headers,
)

TAGS = b'<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1">'
HTML = [(b"content-type", b"text/html; charset=utf-8")]
BOM = b"\xef\xbb\xbf"
FILLER = b"<!-- " + b"x" * 91 + b" -->"  # 100 bytes

# Pieces of documents; a generated document is any sequence of them.
PIECES = [
    BOM,
    b"<!doctype html>",
    b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1.dtd">',
    b'<?xml version="1.0" encoding="utf-8"?>',
    b"<html>",
    b'<HTML lang=en data-x="a>b" >',
    b"<html\nlang='x>y'/>",
    b"<head>",
    b"<HEAD profile='a>b'>",
    b"<head/>",
    b"<head",
    b"</head>",
    b"<header>",
    b"<body>",
    b"<body class='<head>'>",
    b"</body>",
    b"</html>",
    b'<meta charset="utf-8">',
    b"<META CHARSET=windows-1252>",
    b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">',
    b'<meta name="description" content="a > b, charset">',
    b"<title>a <head> b</title>",
    b"<title>open",
    b"<textarea><head></textarea>",
    b"<script>'<head>'</script>",
    b"<script><!-- <script> </script> --></script>",
    b"<script>\"<meta charset='koi8-r'>\"</script>",
    b"<style>a{}</style>",
    b"<style><!-- a{} --></style>",
    b"<link rel=stylesheet href=/a.css>",
    b"<base href=/>",
    b"<noscript><img src=x></noscript>",
    b"<noscript><link rel=x></noscript>",
    b"<template><head></template>",
    b"<frameset><frame></frameset>",
    b"<svg><title>x</title></svg>",
    b"<p>text",
    b"</p>",
    b"<br>",
    b"</br>",
    b"</x y='>'>",
    b"</>",
    b"</ x>",
    b"<a =b c = d e='f\"g'h i=\"j'>\"k>",
    b"<a b=>",
    b'<a "b>',
    b"text",
    b"a < b",
    b"&copy;",
    b"\0",
    b"\xe9\xa4",
    b" ",
    b"\n\t\f\r\n",
    b"<!-- c -->",
    b"<!-- <head> -->",
    b"<!-- <meta charset=koi8-r> -->",
    b"<!-->",
    b"<!--->",
    b"<!---->",
    b"<!----!>",
    b"<!-- a --!>",
    b"<!-- a -- b > -->",
    b"<!-- open",
    b"<!->",
    b"<!x>",
    b"<![CDATA[ <head> ]]>",
    b"<!--[if IE]><head><![endif]-->",
    b"<![if !IE]>",
    b"<",
    b"<h",
    b"</",
    b"<!",
    b"<!-",
    b">",
    b"-->",
    b"'",
    b'"',
    FILLER,
    FILLER * 4,
    FILLER * 9,
    TAGS,
    TAGS[:46],
]
documents = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
likely_documents = st.tuples(
    st.sampled_from([b"", BOM, b"\n", PIECES[3], FILLER]),
    st.sampled_from([b"<!doctype html>", PIECES[2], b""]),
    st.sampled_from([b"", b"\n<html>", PIECES[5]]),
    st.sampled_from([b"", b"\n<head>\n", b"<HEAD>", b"<head/>", b"<!-- <head> -->"]),
    documents,
).map(b"".join)


def inject(document: bytes, *, has_charset: bool = False) -> tuple[bytes, str]:
    injector = TagInjector(TAGS, has_charset=has_charset)
    return injector.feed(document, True), injector.outcome


def inject_pieces(pieces: list[bytes], *, has_charset: bool = False) -> tuple[bytes, str]:
    injector = TagInjector(TAGS, has_charset=has_charset)
    sent = [injector.feed(piece, False) for piece in pieces]
    sent.append(injector.feed(b"", True))
    return b"".join(sent), injector.outcome


def nodes(document: bytes) -> tuple[list[Any], list[int]]:
    """Return the tree that html5lib builds, flat and without our tags, and the number of each of them in its head."""
    text = document.removeprefix(BOM).decode("latin-1")
    root = html5lib.HTMLParser(html5lib.getTreeBuilder("dom"), namespaceHTMLElements=False).parse(text)
    head = root.documentElement.getElementsByTagName("head")[0]
    counts = [0, 0]
    for meta in list(head.childNodes):
        for i, content in enumerate(("noai, noimageai", "1")):
            if meta.nodeName == "meta" and meta.getAttribute("content") == content:
                head.removeChild(meta)
                counts[i] += 1
    head.normalize()
    return list(flat(root)), counts


def flat(node: Any) -> Iterator[Any]:
    attributes = sorted(node.attributes.items()) if node.attributes else None
    yield node.nodeName, node.nodeValue, attributes, getattr(node, "publicId", None)
    for child in node.childNodes:
        yield from flat(child)
    yield None


def prescan(document: bytes) -> Any:
    return HTMLBinaryInputStream(io.BytesIO(document)).detectEncodingMeta()


@pytest.mark.parametrize(
    "marked",
    [
        b"<!doctype html><html><head>@<title>x</title></head>",
        b"<HTML><HEAD\n>@</HEAD>",
        b"<head/>@",
        b"<head data-a='>' data-b=\">\" data-c = x>@x",
        b'<html data-a="<head>"><head>@',
        b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">\n<head>@',
        BOM + b" \n<!doctype html><head>@",
        b"<!-- a --><!doctype html><!-- <head> --><html><!-- > --><head>@",
        b"<!--[if lt IE 9]><html class=ie><![endif]--><!--[if !IE]><!--><html><!--<![endif]--><head>@",
        b"<![if !IE]><html><![endif]><head>@",
        b"<!doctype html><html>\n@<header>x</header>",
        b"<!doctype html><html>@<body><head>",
        b"<html>@<title><head></title>",
        b"<!doctype html>@<script>'<head>'</script><head>",
        b"<!doctype html>@<textarea><head></textarea>",
        b"<!doctype html>\n@Hello",
        b"<!doctype html>@a < b",
        b"<!doctype html>@< b",
        b"<!doctype html>@</body>",
        b"<!doctype html></p></>@</br>",
        b"<!doctype html>@",
        b"<html>\n@",
        b"<!doctype html>@<averyveryverylongname>",
        b"@<title>x</title>",
        b"<!-- c -->@<meta name=a>",
        b"@<body>",
        b"@<frameset>",
    ],
)
def test_tags_go_where_the_head_begins(marked: bytes) -> None:
    document = marked.replace(b"@", b"")
    assert inject(document) == (marked.replace(b"@", TAGS), "injected")
    assert inject(document, has_charset=True) == (marked.replace(b"@", TAGS), "injected")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"<!-- c -->",
        b"text",
        b"<p>fragment</p>",
        b"<div><head>",
        b"<header>x</header>",
        b"<textarea><head></textarea>",
        b"<script>'<head>'</script>",
        b"<template><html></template>",
        b'{"a": "<head>"}',
        b'<?xml version="1.0"?><rss>',
        b"<!doctype html><!-- never closed <head>",
        b"<!doctype html><html lang='never closed><head>",
        b"<!doctype html",
        b"<!doctype html></x",
        b"<!doctype html><tit",
        b"\xff\xfe<\0h\0e\0a\0d\0>\0",
        b"<\0h\0e\0a\0d\0>\0",
        b"\xef\xbb",
        b"<",
    ],
)
def test_a_body_that_does_not_begin_like_a_document_is_not_changed(body: bytes) -> None:
    assert inject(body) == (body, "no-place")
    assert inject_pieces([body[i : i + 1] for i in range(len(body))]) == (body, "no-place")


def test_a_head_within_the_search_limit_is_found_and_one_after_it_is_not() -> None:
    comment = b"<!--" + b"-" * (SEARCH_LIMIT - 13) + b"-->"
    assert inject(comment + b"<head>") == (comment + b"<head>" + TAGS, "injected")
    for late in (comment + b"-<head>", comment + b"      <head>", b"<!--" + b">" * 2 * SEARCH_LIMIT):
        assert inject(late) == (late, "no-place")
        assert inject_pieces([late[i : i + 999] for i in range(0, len(late), 999)]) == (late, "no-place")


def test_a_long_comment_in_single_bytes_takes_bounded_work_and_memory() -> None:
    injector = TagInjector(TAGS)
    body = b"<!doctype html><!--" + b"x" * SEARCH_LIMIT
    sent = [injector.feed(body[i : i + 1], False) for i in range(len(body))]
    assert b"".join(sent) == body
    assert injector.outcome == "no-place"
    assert injector._data == b""


class Watched(bytearray):
    """Counts the bytes that are searched for a delimiter."""

    searched = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(sub, start, end)
        Watched.searched += (found if found >= 0 else len(self) if end is None else end) - start
        return found


class Counting:
    """An expression that counts the bytes that it was given."""

    scanned = 0

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern

    def match(self, data: bytes, position: int = 0, end: int = 2**62) -> re.Match[bytes] | None:
        match = self.pattern.match(data, position, end)
        Counting.scanned += (match.end() if match else min(len(data), end)) - position
        return match

    def search(self, data: bytes, position: int, end: int) -> re.Match[bytes] | None:
        match = self.pattern.search(data, position, end)
        Counting.scanned += (match.end() if match else min(len(data), end)) - position
        return match


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 97])
@pytest.mark.parametrize(
    ("begin", "unit"),
    [
        (b"<html data-x='", b">"),
        (b"<html ", b'a=">" '),
        (b"<html ", b"a='>'b "),
        (b"<html ", b"a>b='"),
        (b"<html ", b'a="x" '),
        (b"<html ", b"a"),
        (b"<html ", b" ="),
        (b"<html data-x=", b'"'),
        (b"<!--", b">"),
        (b"<!--", b"--!-"),
        (b"<!--", b"->"),
        (b"<!doctype ", b"x"),
        (b"<!doctype html>", b"<!-- > -->"),
        (b"<!doctype html>", b"\n"),
        (b"<!doctype html>", b"</a b='>'>"),
        (b"<!doctype html></", b"a"),
        (b"<!doctype html></a ", b"b='>'"),
        (b"<?", b"a"),
    ],
)
def test_the_work_grows_with_the_length_of_the_prologue_whatever_the_chunks(
    begin: bytes, unit: bytes, size: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The expressions that read more than a few bytes.
    for name in ("_BLANKS", "_TOKEN", "_COMMENT_END", "_TAG_END", "_OPEN_QUOTE", "_LAST_QUOTED"):
        monkeypatch.setattr(html_injection, name, Counting(getattr(html_injection, name)))
    monkeypatch.setattr(html_injection, "bytearray", Watched, raising=False)

    def work(length: int) -> int:
        Counting.scanned = Watched.searched = 0
        document = begin + unit * (length // len(unit))
        injector = TagInjector(TAGS, has_charset=known)
        for i in range(0, len(document), size):
            injector.feed(document[i : i + size], False)
        return Counting.scanned + Watched.searched

    short, long = work(4_000), work(16_000)
    assert long < 5 * short + 1_000


def test_tags_are_inserted_after_a_charset_declaration_in_the_prescanned_bytes() -> None:
    before = b"<!doctype html><head><title>x</title>" + FILLER * 8 + b"<script>1</script>"
    declaration = b'<meta http-equiv=Content-Type content="text/html; CHARSET=koi8-r">'
    document = before + declaration + b"\n<title>"
    assert inject(document) == (before + declaration + TAGS + b"\n<title>", "injected")


@pytest.mark.parametrize(
    "marked",
    [
        b'<head><meta charset="utf-8">@<script async></script>',
        b"<head>\n  <META CHARSET=utf-8/>@\n",
        b"<head><meta data-x='a>b' charset = 'utf-8' >@<title>",
        b"<head><!-- a > b --> <!-- c --><meta\ncharset=utf-8>@</head>",
        b'<head><meta content="text/html; charset=utf-8" http-equiv=Content-Type>@',
        b"<!doctype html>\n<meta charset=utf-8>@<title>x</title>",
        b"<head>" + FILLER * 9 + b"<meta charset=utf-8>@",
        b"<head>@<title>x</title><meta charset=utf-8>",
        b"<head>@<meta name=description content='charset=utf-8'><meta charset=utf-8>",
        b"<head>@<meta http-equiv=refresh content='1; charset=utf-8'>",
        b"<head>@<!-- <meta charset=utf-8> -->",
        b"<head>@<!-- open <meta charset=utf-8>",
        b"<head>@" + FILLER * 11 + b"<meta charset=utf-8>",
        b"<head>@<metadata charset=utf-8>",
        b"<head>@<meta charset='utf-8>",
    ],
)
def test_where_content_type_names_the_charset_only_a_leading_declaration_stands_before_the_tags(marked: bytes) -> None:
    document = marked.replace(b"@", b"")
    assert inject(document, has_charset=True) == (marked.replace(b"@", TAGS), "injected")
    for size in (1, 7):
        pieces = [document[i : i + size] for i in range(0, len(document), size)]
        assert inject_pieces(pieces, has_charset=True) == (marked.replace(b"@", TAGS), "injected")


@pytest.mark.parametrize(
    ("flushed", "held"),
    [
        (b"<!doctype html><html><head>", b""),
        (b"<head><link rel=preload href=/a.css>", b""),
        (b'<head><meta charset="utf-8">', b""),
        (b"<head><meta charset=utf-8>\n<link rel=preload href=/a.css>", b""),
        (b"<head><meta name=viewport content=x>", b""),
        (b"<head><title>x</title>", b""),
        (b"<head>\n", b"\n"),
        (b"<head><meta char", b"<meta char"),
        (b"<head><meta charset=utf-8>" + TAGS[:20], TAGS[:20]),
        (b"<head>" + TAGS[:-1], TAGS[:-1]),
    ],
)
def test_an_early_flush_goes_out_as_soon_as_nothing_behind_it_can_matter(flushed: bytes, held: bytes) -> None:
    injector = TagInjector(TAGS, has_charset=True)
    sent = injector.feed(flushed, False).replace(TAGS, b"")
    assert sent == flushed.removesuffix(held)


@pytest.mark.parametrize("behind", [b"<template></template>", b"<noscript></noscript>", b"</head><body>"])
def test_a_declaration_out_of_reach_is_never_pushed_out_of_the_prescanned_bytes(behind: bytes) -> None:
    declaration = b"<meta charset=koi8-r>"
    for gap in range(PRESCAN_LENGTH - 200, PRESCAN_LENGTH + 20):
        document = b"<head>" + behind.ljust(gap, b" ") + declaration
        output, outcome = inject(document)
        assert prescan(output) == prescan(document)
        if outcome == "no-place":
            assert PRESCAN_LENGTH - len(TAGS) < len(document) < PRESCAN_LENGTH + len(declaration)


def test_tags_the_application_wrote_are_recognised() -> None:
    for head in (
        b"@",
        b"\n@",
        b"<meta charset=utf-8><title>x</title>\n<style>a{}</style> @",
        FILLER * 10 + b"@",
    ):
        document = b"<!doctype html><head>" + head.replace(b"@", TAGS) + b"</head>"
        assert inject(document) == (document, "present")
    for head in (b"@", b"\n@", b"<meta charset=utf-8>\n@", FILLER * 10 + b"@"):
        document = b"<!doctype html><head>" + head.replace(b"@", TAGS) + b"</head>"
        assert inject(document, has_charset=True) == (document, "present")


@pytest.mark.parametrize(
    "decoy",
    [
        b"<!-- @ -->",
        b"<title>@</title>",
        b"<script>'@'</script>",
        b"<template>@</template>",
        b"<meta content='@'>",
        b"</head><body>@",
        b"<p>@",
    ],
)
def test_tags_inside_other_elements_do_not_count_as_present(decoy: bytes) -> None:
    document = b"<!doctype html><head>" + decoy.replace(b"@", TAGS)
    assert inject(document) == (b"<!doctype html><head>" + TAGS + document[21:], "injected")


@pytest.mark.parametrize("length", [HOLD_LIMIT - 9, HOLD_LIMIT + 1, HOLD_LIMIT + len(TAGS) + 1])
def test_a_declaration_inside_a_long_script_is_not_moved_out_of_the_prescanned_bytes(length: int) -> None:
    for gap in range(PRESCAN_LENGTH - 200, PRESCAN_LENGTH):
        script = b"<script>".ljust(gap) + b"'<meta charset=koi8-r>'"
        document = b"<head>" + script.ljust(length - 9) + b"</script>"
        output = inject(document)[0]
        assert prescan(output) == prescan(document)
        assert inject(output)[0] == output


def test_no_tags_change_nothing() -> None:
    injector = TagInjector(b"")
    assert injector.feed(b"<head>", True) == b"<head>"
    assert injector.outcome == "present"


def test_a_memoryview_is_accepted_as_a_chunk() -> None:
    assert TagInjector(TAGS).feed(memoryview(b"<head>"), True) == b"<head>" + TAGS  # type: ignore[arg-type]


def test_bytes_before_the_head_are_sent_at_once() -> None:
    injector = TagInjector(TAGS)
    assert injector.feed(b"<!doctype html><!-- c", False) == b"<!doctype html><!-- c"
    assert injector.feed(b" --><html lang='", False) == b" --><html lang='"
    assert injector.feed(b"en'><he", False) == b"en'>"
    assert injector.feed(b"ad data-x", False) == b"<head data-x"
    assert injector.feed(b"><meta charset=utf-8></he", False) == b">"
    assert injector.feed(b"ad>", False) == b"<meta charset=utf-8>" + TAGS + b"</head>"


def test_a_page_with_a_charset_that_sends_its_first_content_early_is_not_held_back() -> None:
    injector = TagInjector(TAGS, has_charset=True)
    assert injector.feed(b"<html><body>Loading", False) == b"<html>" + TAGS + b"<body>Loading"


@pytest.mark.parametrize(
    "declaration",
    [
        b"<META charset='UTF-8'/>",
        b"<meta charset=utf-8>",
        b'<meta http-equiv="Content-Type" content="text/html; charset=utf-8">',
    ],
)
def test_a_page_that_declares_its_charset_is_held_back_until_its_head_ends(declaration: bytes) -> None:
    injector = TagInjector(TAGS)
    assert injector.feed(b"<head>" + declaration, False) == b"<head>"
    assert injector.feed(b"</head><body>Loading", False) == declaration + TAGS + b"</head><body>Loading"


@pytest.mark.parametrize("declaration", [b"", b"<meta charset=utf-8/>", b"<meta name=a content='charset=utf-8'>"])
def test_a_page_without_a_charset_is_held_back_while_browsers_look_for_one(declaration: bytes) -> None:
    injector = TagInjector(TAGS)
    assert injector.feed(b"<head>" + declaration + b"</head><body>", False) == b"<head>"
    assert TAGS in injector.feed(b" " * PRESCAN_LENGTH, False)


def test_a_chunk_after_the_decision_is_the_same_object() -> None:
    injector = TagInjector(TAGS)
    injector.feed(b"<head></head>" + FILLER * 11, False)
    chunk = bytes(bytearray(b"<head>" * 100))
    assert injector.feed(chunk, False) is chunk
    fragment = bytes(bytearray(b"<p>" * 100))
    assert TagInjector(TAGS).feed(fragment, False) is fragment


@settings(max_examples=400, deadline=None)
@given(likely_documents, st.booleans())
def test_a_parser_sees_the_tags_in_the_head_and_otherwise_the_same_tree(document: bytes, known: bool) -> None:
    output, outcome = inject(document, has_charset=known)
    before, present = nodes(document)
    after, seen = nodes(output)
    assert after == before
    assert seen == [count + (outcome == "injected") for count in present]
    assert outcome != "present" or all(present)


@settings(max_examples=400, deadline=None)
@given(likely_documents)
def test_the_prescan_finds_the_same_charset(document: bytes) -> None:
    assert prescan(inject(document)[0]) == prescan(document)


@settings(max_examples=400, deadline=None)
@given(likely_documents | documents | st.binary(max_size=200), st.booleans())
def test_nothing_is_lost_and_a_second_run_changes_nothing(document: bytes, known: bool) -> None:
    output, outcome = inject(document, has_charset=known)
    assert outcome in OUTCOMES[1:]
    if outcome != "injected":
        assert output == document
    assert any(output[:i] + output[i + len(TAGS) :] == document for i in positions(output)) or output == document
    for again in (True, False):
        if again == known or (known and outcome == "injected"):
            assert inject(output, has_charset=again)[0] == output


def positions(output: bytes) -> Iterator[int]:
    position = output.find(TAGS)
    while position >= 0:
        yield position
        position = output.find(TAGS, position + 1)


@settings(max_examples=60, deadline=None)
@given(likely_documents, st.booleans())
def test_every_split_of_the_bytes_gives_the_same_result(document: bytes, known: bool) -> None:
    expected = inject(document, has_charset=known)
    for i in range(len(document) + 1):
        assert inject_pieces([document[:i], document[i:]], has_charset=known) == expected


@settings(max_examples=200, deadline=None)
@given(likely_documents, st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_many_small_pieces_give_the_same_result_and_little_is_held_back(
    document: bytes, sizes: list[int], known: bool
) -> None:
    injector = TagInjector(TAGS, has_charset=known)
    sent = b""
    fed = turn = 0
    while fed < len(document):
        size = sizes[turn % len(sizes)]
        sent += injector.feed(document[fed : fed + size], False)
        fed = min(fed + size, len(document))
        turn += 1
        held = fed - len(sent) + len(TAGS) * (injector.outcome == "injected")
        assert 0 <= held <= HOLD_LIMIT + len(TAGS)
    sent += injector.feed(b"", True)
    assert (sent, injector.outcome) == inject(document, has_charset=known)


@pytest.mark.parametrize(
    ("expected", "status", "headers"),
    [
        (None, 200, [(b"Content-Type", b"Text/HTML")]),
        (None, 200, [(b"content-type", b'text/html;charset="UTF-8"')]),
        (None, 200, [*HTML, (b"content-encoding", b"identity"), (b"cache-control", b"no-cache")]),
        ("content-type", 200, []),
        ("content-type", 200, [(b"content-type", b"application/xhtml+xml")]),
        ("content-type", 200, [(b"content-type", b"application/json")]),
        ("content-type", 200, [(b"content-type", b"text/event-stream")]),
        ("content-type", 200, [(b"content-type", b"text/html5")]),
        ("content-type", 200, [*HTML, (b"Content-Type", b"application/json")]),
        ("content-type", 200, [(b"content-type", b"text/html; charset=utf-8, application/json")]),
        ("content-type", 404, [(b"content-type", b"application/json")]),
        *(("status", status, HTML) for status in (103, 201, 203, 204, 205, 206, 226, 301, 304, 404, 500)),
        ("charset", 200, [(b"content-type", b"text/html; charset=UTF-16LE")]),
        ("charset", 200, [(b"content-type", b"text/html; charset=utf-7")]),
        ("charset", 200, [(b"content-type", b"text/html; charset=utf-8; Charset = iso-2022-jp")]),
        ("charset", 200, [(b"content-type", b"text/html; charset=hz-gb-2312")]),
        ("charset", 200, [(b"content-type", b"text/html; charset=made-up")]),
        ("charset", 200, [(b"content-type", b"text/html; charset")]),
        ("content-encoding", 200, [*HTML, (b"Content-Encoding", b"GZIP")]),
        ("content-encoding", 200, [*HTML, (b"content-encoding", b"identity, br")]),
        ("content-encoding", 200, [*HTML, (b"cache-control", b"no-transform"), (b"content-encoding", b"br")]),
        ("content-range", 200, [*HTML, (b"content-range", b"bytes 0-1/2")]),
        ("no-transform", 200, [*HTML, (b"cache-control", b"public"), (b"cache-control", b"a, No-Transform")]),
    ],
)
def test_only_whole_plain_html_is_injectable(
    expected: str | None, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    assert injectable(status, iter(headers)) == expected
    assert expected is None or expected in REASONS


@pytest.mark.parametrize(
    ("expected", "name", "value"),
    [
        ("fragment", b"hx-request", b"true"),
        ("fragment", b"x-requested-with", b"XMLHttpRequest"),
        (None, b"x-requested-with", b"com.example.browser"),
        ("fragment", b"turbo-frame", b"comments"),
        ("fragment", b"x-pjax", b"true"),
        ("fragment", b"x-inertia", b"true"),
        ("fragment", b"x-up-version", b"3.9"),
        ("fragment", b"sec-fetch-dest", b"empty"),
        ("fragment", b"sec-fetch-dest", b""),
        ("fragment", b"sec-fetch-dest", b"audio"),
        *((None, b"sec-fetch-dest", dest) for dest in (b"document", b"iframe", b"frame", b"embed", b"object")),
        (None, b"sec-fetch-dest", b"fencedframe"),
        (None, b"user-agent", b"GPTBot/1.2"),
    ],
)
def test_fragments_fetched_by_scripts_are_not_injectable(expected: str | None, name: bytes, value: bytes) -> None:
    assert injectable(200, HTML, iter([(b"host", b"a"), (name, value)])) == expected


def test_a_charset_is_compatible_exactly_when_the_encoding_standard_makes_it_contain_ascii() -> None:
    incompatible = {"utf-16le", "utf-16be", "iso-2022-jp", "replacement"}
    for label, name in LABELS.items():
        headers = [(b"content-type", b"text/html; charset=" + label.encode())]
        assert injectable(200, headers) == ("charset" if name in incompatible else None), label


def test_a_response_names_its_charset_or_not() -> None:
    assert has_charset([(b"vary", b"a"), (b"Content-Type", b"text/html; Charset=utf-8")])
    assert not has_charset([(b"content-type", b"text/html"), (b"x", b"charset=utf-8")])


def test_headers_that_would_no_longer_be_true_are_dropped_and_the_others_kept_in_order() -> None:
    headers = [
        (b"Set-Cookie", b"a=1"),
        (b"Content-Length", b"10"),
        (b"Digest", b"x"),
        (b"content-digest", b"x"),
        (b"repr-digest", b"x"),
        (b"content-md5", b"x"),
        (b"accept-ranges", b"bytes"),
        (b"Set-Cookie", b"b=1"),
    ]
    given_headers = list(headers)
    assert rewritten_headers(iter(headers)) == [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=1")]
    assert headers == given_headers


@pytest.mark.parametrize(
    ("etag", "kept"),
    [
        (b'"x"', [(b"ETag", b'W/"x"')]),
        (b'W/"x"', [(b"ETag", b'W/"x"')]),
        (b' "x"', [(b"ETag", b'W/"x"')]),
        (b"x", []),
    ],
)
def test_a_strong_etag_becomes_weak(etag: bytes, kept: list[tuple[bytes, bytes]]) -> None:
    assert rewritten_headers([(b"ETag", etag)]) == kept


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40))), st.integers())
def test_any_headers_are_accepted(headers: list[tuple[bytes, bytes]], status: int) -> None:
    headers = [(b"content-type", b"text/html"), *headers]
    assert injectable(status, headers, headers) in (None, *REASONS)
    assert rewritten_headers(rewritten_headers(headers)) == rewritten_headers(headers)


REMEMBERING = PageTags(TAGS)


@settings(max_examples=400, deadline=None)
@given(likely_documents, likely_documents)
def test_a_whole_page_gets_the_tags_where_a_stream_does_whatever_pages_came_before(first: bytes, second: bytes) -> None:
    for document in (first, second, first[: len(first) // 2] + second, first):
        assert REMEMBERING.inserted(document) == inject(document, has_charset=True)


def test_the_beginnings_of_pages_that_are_remembered_are_few() -> None:
    for number in range(100):
        document = b"<head><meta name=x%d><title>a</title></head>" % number
        assert REMEMBERING.inserted(document) == inject(document, has_charset=True)
    assert len(REMEMBERING._positions) <= 8
