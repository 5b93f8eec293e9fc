"""The demo's site, without its guard."""

import io
import json
import re
import subprocess
import sys
import wave
import zlib
from array import array
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import feedparser
import h11
import pytest
from starlette.testclient import TestClient

from examples.music_site import artwork, feeds, label, pages, pieces, shelf, synth
from examples.music_site.app import create_site
from examples.music_site.visitors import VISITORS, Visitor
from noai_guard.config import load_policy
from noai_guard.declarations.rsl import FeedTerms

URL = "https://nightferry.example"
AUDIO = "/audio/paper-boats.wav"
ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
VOID = {"meta", "link", "img", "input", "br", "path", "circle"}
SLUGS = tuple(label.TRACK_BY_SLUG)


class Page(HTMLParser):
    """The elements of a page, and whether they are nested as they should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def meta(self, name: str) -> str:
        (content,) = [m["content"] for m in self.all("meta") if name in (m.get("property"), m.get("name"))]
        return content


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> shelf.Shelf:
    return shelf.fill(tmp_path_factory.getbasetemp() / "tapes")


@pytest.fixture(scope="module")
def client(tapes: shelf.Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    site = create_site(URL, tmp_path_factory.getbasetemp() / "tapes")
    with TestClient(site, base_url=URL) as client:
        yield client


def page_paths(client: TestClient) -> list[str]:
    found = ElementTree.fromstring(client.get("/sitemap.xml").content)
    return [urlsplit(loc.text or "").path for loc in found.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]


def test_a_range_request_gets_exactly_the_bytes_it_asked_for(client: TestClient) -> None:
    whole = client.get(AUDIO).content
    part = client.get(AUDIO, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, whole[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(whole)}"
    assert part.headers["content-type"] == "audio/wav"


def test_a_player_may_ask_for_the_end_of_a_recording(client: TestClient) -> None:
    tail = client.get(AUDIO, headers={"Range": "bytes=-500"})
    assert (tail.status_code, len(tail.content)) == (206, 500)


def test_a_range_beyond_the_end_is_416(client: TestClient) -> None:
    assert client.get(AUDIO, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_if_range_gives_the_part_of_the_same_recording_and_the_whole_of_another(client: TestClient) -> None:
    tag = client.head(AUDIO).headers["etag"]
    assert client.get(AUDIO, headers={"Range": "bytes=0-9", "If-Range": tag}).status_code == 206
    assert client.get(AUDIO, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/", AUDIO, "/feed.xml", "/covers/paper-boats.svg", "/covers/paper-boats.png"])
def test_head_tells_what_get_would_and_sends_no_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.content == b""
    assert head.headers == get.headers
    assert int(head.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("path", ["/", AUDIO, "/feed.xml", "/covers/paper-boats.svg", "/covers/paper-boats.png"])
def test_a_client_that_has_it_already_gets_304(client: TestClient, path: str) -> None:
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


def test_a_recording_not_changed_since_is_304(client: TestClient) -> None:
    modified = client.head(AUDIO).headers["last-modified"]
    assert client.get(AUDIO, headers={"If-Modified-Since": modified}).status_code == 304
    assert parsedate_to_datetime(modified) == label.TRACK_BY_SLUG["paper-boats"].released


def test_a_recording_takes_no_post(client: TestClient) -> None:
    assert client.post(AUDIO).status_code == 405


@pytest.mark.parametrize("slug", SLUGS)
def test_a_recording_is_stereo_audible_and_neither_clipped_nor_cut_off(tapes: shelf.Shelf, slug: str) -> None:
    with wave.open(str(tapes.recordings[slug].audio)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, synth.RATE)
        assert 20 <= file.getnframes() / synth.RATE <= 40
        samples = array("h", file.readframes(file.getnframes()))
    assert 10_000 < max(max(samples), -min(samples)) < 32_000
    assert samples[0::2] != samples[1::2]
    assert max(map(abs, samples[-2000:])) < 64
    # A lane that overflowed would jump by the whole range from one frame to the next.
    left = samples[0::2]
    assert max(abs(a - b) for a, b in pairwise(left)) < 20_000


def test_no_two_recordings_are_alike(tapes: shelf.Shelf) -> None:
    assert len({zlib.crc32(recording.audio.read_bytes()) for recording in tapes.recordings.values()}) == len(SLUGS)
    assert len({recording.cover for recording in tapes.recordings.values()}) == len(SLUGS)


def test_a_recording_is_the_same_every_time(tapes: shelf.Shelf) -> None:
    code = (
        "import zlib; from examples.music_site.pieces import record; print(zlib.crc32(record('salt-on-the-strings')))"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(again.stdout) == zlib.crc32(tapes.recordings["salt-on-the-strings"].audio.read_bytes())


def test_every_track_has_a_piece() -> None:
    assert set(pieces.PIECES) == set(SLUGS)


def test_a_note_sounds_at_its_pitch() -> None:
    pure = (synth.Layer((1.0,), attack=0.01, decay=0),)
    with wave.open(io.BytesIO(synth.mix([synth.Note(0.0, synth.tone(pure, 69, 2.0), 15)]))) as file:
        left = array("h", file.readframes(synth.RATE))[0::2]
    rising = sum(a < 0 <= b for a, b in pairwise(left))
    assert rising == pytest.approx(440, abs=2)


def test_a_note_to_the_left_is_louder_on_the_left() -> None:
    pure = (synth.Layer((1.0,), attack=0.01, decay=0.05),)
    with wave.open(io.BytesIO(synth.mix([synth.Note(0.0, synth.tone(pure, 69, 0.05), 15, -0.8)]))) as file:
        samples = array("h", file.readframes(synth.RATE // 20))
    assert max(samples[0::2]) > 3 * max(samples[1::2])


def test_a_full_shelf_is_not_recorded_again(tapes: shelf.Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tapes.preview.parent
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    for module, function in ((pieces, "record"), (artwork, "png")):
        monkeypatch.setattr(module, function, lambda *_: pytest.fail("recorded or painted again"))
    assert shelf.fill(folder) == tapes
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before


@pytest.mark.parametrize(("path", "size"), [("/covers/slow-signal.png", (1400, 1400)), ("/harbour.png", (1200, 630))])
def test_a_picture_is_a_whole_png(client: TestClient, path: str, size: tuple[int, int]) -> None:
    data = client.get(path).content
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    start = data.index(b"IDAT")
    rows = zlib.decompress(data[start + 4 : data.index(b"IEND") - 8])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert ((width, height), len(rows)) == (size, height * (width + 1))


def test_a_drawing_paints_its_shapes_where_they_are() -> None:
    square = artwork.Drawing(4, 4, "#000000", (("#ffffff", [(1, 1), (3, 1), (3, 3), (1, 3)]),))
    data = artwork.png(square, 4)
    start = data.index(b"IDAT")
    rows = zlib.decompress(data[start + 4 : data.index(b"IEND") - 8])
    assert rows == bytes(5) + b"\0\0\1\1\0" * 2 + bytes(5)


def test_covers_are_well_formed_svg(client: TestClient) -> None:
    for path in ("/harbour.svg", "/favicon.svg", *(f"/covers/{slug}.svg" for slug in SLUGS)):
        assert ElementTree.fromstring(client.get(path).content).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_feed_is_a_podcast_that_apps_accept(client: TestClient, tapes: shelf.Shelf) -> None:
    answer = client.get("/feed.xml")
    assert answer.headers["content-type"] == "application/rss+xml"
    rss = ElementTree.fromstring(answer.content)
    channel = rss.find("channel")
    assert channel is not None
    assert rss.attrib["version"] == "2.0"
    for required in ("title", "link", "description", "language", f"{ITUNES}author", f"{ITUNES}explicit"):
        assert channel.findtext(required), required
    assert channel.find(f"{ITUNES}category") is not None
    assert channel.find(f"{ITUNES}image") is not None
    assert channel.findtext(f"{ITUNES}owner/{ITUNES}email") == label.EMAIL
    myself = channel.find("{http://www.w3.org/2005/Atom}link")
    assert myself is not None
    assert myself.attrib["href"] == f"{URL}/feed.xml"
    assert len(channel.findall("item")) == len(tapes.recordings)


def test_every_episode_says_what_its_recording_is_licensed_for_and_is_read_as_before(tapes: shelf.Shelf) -> None:
    terms = FeedTerms(load_policy(Path(feeds.__file__).parent / "noai.yaml"))
    plain, licensed = feeds.rss(URL, tapes), feeds.rss(URL, tapes, terms)
    for item in ElementTree.fromstring(licensed).iter("item"):
        (content,) = item.iter("{https://rslstandard.org/rsl}content")
        enclosure = item.find("enclosure")
        assert enclosure is not None
        assert content.attrib["url"] == enclosure.attrib["url"]
        assert "ai-all" in [rule.text for rule in content.iter("{https://rslstandard.org/rsl}prohibits")]
    before, after = feedparser.parse(plain), feedparser.parse(licensed)
    assert not after.bozo
    for one, other in zip(before.entries, after.entries, strict=True):
        assert {key: other[key] for key in one} == dict(one)


def test_every_episode_has_an_enclosure_of_the_stated_length_and_type(client: TestClient) -> None:
    guids = set()
    for item in ElementTree.fromstring(client.get("/feed.xml").content).iter("item"):
        enclosure = item.find("enclosure")
        assert enclosure is not None
        audio = client.head(enclosure.attrib["url"])
        assert audio.headers["content-length"] == enclosure.attrib["length"]
        assert audio.headers["content-type"] == enclosure.attrib["type"]
        assert int(item.findtext(f"{ITUNES}duration") or 0) >= 20
        assert parsedate_to_datetime(item.findtext("pubDate") or "").tzinfo is not None
        guids.add(item.findtext("guid"))
    assert len(guids) == len(SLUGS)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_track_page_tells_previews_what_it_is(client: TestClient, slug: str) -> None:
    page = Page(client.get(f"/tracks/{slug}").text)
    assert page.meta("og:type") == "music.song"
    assert page.meta("og:url") == f"{URL}/tracks/{slug}"
    assert page.meta("og:audio") == page.meta("og:audio:secure_url") == f"{URL}/audio/{slug}.wav"
    assert page.meta("og:audio:type") == client.head(page.meta("og:audio")).headers["content-type"]
    assert page.meta("og:image:type") == client.head(page.meta("og:image")).headers["content-type"]
    assert page.meta("twitter:card") == "player"
    assert client.get(page.meta("twitter:player")).status_code == 200


def test_every_page_has_a_title_a_description_and_a_picture_for_previews(client: TestClient) -> None:
    for path in page_paths(client):
        page = Page(client.get(path).text)
        assert page.meta("og:title")
        assert page.meta("description")
        assert client.get(page.meta("og:image")).status_code == 200


def test_the_structured_data_names_the_recording(client: TestClient) -> None:
    text = client.get("/tracks/slow-signal").text
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', text)
    assert found is not None
    assert json.loads(found[1])["name"] == "Slow Signal"


def test_every_page_is_well_nested_and_closed(client: TestClient) -> None:
    for path in [*page_paths(client), "/search?q=piano", "/embed/slow-signal", "/nowhere"]:
        assert Page(client.get(path).text).open == [], path


def test_every_link_on_the_site_answers_200(client: TestClient) -> None:
    to_read, seen = ["/"], {"/", "/.well-known/noai"}  # the guard answers the latter
    while to_read:
        path = to_read.pop()
        answer = client.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for _, attributes in Page(answer.text).elements:
            for name in ("href", "src", "action", "data-fragment"):
                target = urlsplit(urljoin(URL + path, attributes.get(name, path)))
                here = target._replace(scheme="", netloc="", fragment="").geturl()
                if f"{target.scheme}://{target.netloc}" == URL and here not in seen:
                    seen.add(here)
                    to_read.append(here)
    assert {f"/audio/{slug}.wav" for slug in SLUGS} < seen
    assert {"/feed.xml", "/sitemap.xml", "/press/one-sheet.txt", "/static/style.css"} < seen


def test_nothing_is_loaded_from_another_host(client: TestClient) -> None:
    for path in [*page_paths(client), "/embed/slow-signal"]:
        for tag, attributes in Page(client.get(path).text).elements:
            if tag in ("script", "img", "audio", "link") and attributes.get("rel") != "canonical":
                address = attributes.get("src") or attributes.get("href") or ""
                assert not urlsplit(address).netloc or address.startswith(URL), (path, address)


def test_pages_need_no_inline_script_or_style(client: TestClient) -> None:
    for path in [*page_paths(client), "/search?q=piano", "/embed/slow-signal"]:
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag, attributes in Page(answer.text).elements:
            assert tag != "style"
            assert not any(name == "style" or name.startswith("on") for name in attributes)
            assert tag != "script" or "src" in attributes or attributes["type"] == "application/ld+json"


def test_only_the_embed_may_stand_in_a_frame(client: TestClient) -> None:
    assert client.get("/").headers["content-security-policy"].endswith("frame-ancestors 'none'")
    assert client.get("/embed/slow-signal").headers["content-security-policy"].endswith("frame-ancestors *")


def test_every_page_says_no_to_training_and_yes_to_listeners(client: TestClient) -> None:
    for path in page_paths(client):
        assert '<a href="/.well-known/noai">No AI training. Listeners welcome.</a>' in client.get(path).text


def test_every_picture_control_and_player_has_a_name(client: TestClient) -> None:
    for path in [*page_paths(client), "/search"]:
        page = Page(client.get(path).text)
        labelled = {attributes["for"] for attributes in page.all("label")}
        assert all("alt" in attributes for attributes in page.all("img"))
        assert all(attributes.get("aria-label") for attributes in page.all("audio"))
        assert all(attributes["id"] in labelled for attributes in page.all("input") + page.all("textarea"))
        assert len(page.all("h1")) == len(page.all("main")) == 1


def test_oembed_gives_a_frame_no_larger_than_asked(client: TestClient) -> None:
    page = Page(client.get("/tracks/paper-boats").text)
    (discovery,) = [link["href"] for link in page.all("link") if link.get("type") == "application/json+oembed"]
    answer = client.get(discovery + "&maxwidth=300&maxheight=90000").json()
    assert (answer["version"], answer["type"], answer["width"], answer["height"]) == ("1.0", "rich", 300, 160)
    (frame,) = Page(answer["html"]).all("iframe")
    assert frame["src"] == f"{URL}/embed/paper-boats"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("url=https://elsewhere.example/tracks/paper-boats", 404),
        (f"url={URL}/tracks/unknown", 404),
        (f"url={URL}/tracks/paper-boats&format=xml", 501),
        (f"url={URL}/tracks/paper-boats&maxwidth={'9' * 5000}", 200),
        (f"url={URL}/tracks/paper-boats&maxwidth=-1&maxheight=%C2%B2", 200),
    ],
)
def test_oembed_refuses_what_it_does_not_know(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/oembed?{query}").status_code == status


@pytest.mark.parametrize(
    ("query", "found"),
    [("piano", 2), ("PIANO waltz", 1), ("cork", 2), ("nothing like it", 0), ("", 0), ("  ", 0)],
)
def test_search_finds_tracks_that_hold_every_word(client: TestClient, query: str, found: int) -> None:
    assert client.get("/search/results", params={"q": query}).text.count('class="card"') == found


def test_the_search_fragment_is_the_middle_of_the_search_page(client: TestClient) -> None:
    fragment = client.get("/search/results?q=harp", headers={"HX-Request": "true"}).text
    assert "<html" not in fragment
    assert fragment in client.get("/search?q=harp").text


def test_a_search_for_markup_is_shown_as_text(client: TestClient) -> None:
    hostile = '"><script>alert(1)</script>'
    for path in ("/search", "/search/results"):
        text = client.get(path, params={"q": hostile}).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text


def test_the_host_header_writes_no_links(client: TestClient) -> None:
    assert "evil.example" not in client.get("/feed.xml", headers={"Host": "evil.example"}).text
    assert "evil.example" not in client.get("/tracks/slow-signal", headers={"Host": "evil.example"}).text


@pytest.mark.parametrize(
    "path",
    ["/tracks/x", "/artists/x", "/audio/x.wav", "/audio/../app.py.wav", "/covers/x.svg", "/covers/x.png", "/embed/x"],
)
def test_what_does_not_exist_is_404_with_a_way_back(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'href="/tracks/"' in answer.text


def test_robots_txt_holds_the_labels_own_rules(client: TestClient) -> None:
    text = client.get("/robots.txt").text
    assert text == feeds.robots(URL)
    assert "User-agent: *\nDisallow: /admin/" in text
    assert f"\nSitemap: {URL}/sitemap.xml\n" in text


def test_an_address_with_quotes_cannot_leave_its_attribute() -> None:
    code = pages.embed_code('https://a.example/"><script>', label.TRACKS[0])
    assert [tag for tag, _ in Page(code).elements] == ["iframe"]


@pytest.mark.parametrize("visitor", VISITORS, ids=lambda visitor: visitor.name)
def test_a_visitor_sends_well_formed_requests_for_things_that_exist(client: TestClient, visitor: Visitor) -> None:
    for line in visitor.lines:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
        server.receive_data(line.wire("music.example:8000"))
        request = server.next_event()
        assert isinstance(request, h11.Request)
        assert (b"host", b"music.example:8000") in request.headers
        assert client.request(line.method, line.path).status_code == 200


def test_the_crowd_holds_every_kind_of_visitor() -> None:
    kinds = {visitor.kind for visitor in VISITORS}
    assert kinds == {"listener", "player", "podcast", "feed", "search", "preview", "ai", "tool", "odd"}
    assert len({visitor.name for visitor in VISITORS}) == len(VISITORS)
    assert max(len(visitor.user_agent) for visitor in VISITORS) >= 65_536


def test_no_request_says_host_where_the_host_belongs() -> None:
    assert all(b"{host}" not in line.wire("a.example") for visitor in VISITORS for line in visitor.lines)
