"""What static hosts send for a path is what the policy says of it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Site
from noai_guard.errors import CannotExpress, LimitExceeded
from noai_guard.targets.static_hosts import HOSTS
from noai_guard.targets.static_hosts.headers_file import BEGIN, END, paths
from noai_guard.targets.static_hosts.host import StaticSite
from tests.targets.static_hosts.host_readers import READERS

SITE = Site(url="https://band.example", owner="Band", contact="mailto:a@band.example", licence="https://band.example/l")
STANCE = replace(load_stance("no-ai"), site=SITE)
OPEN = dict.fromkeys(Usage, Action.ALLOW)
VERCEL = Draft202012Validator(json.loads((Path(__file__).parent / "schemas" / "vercel.schema.json").read_text()))
SENT_PLAIN = "/!&'()+,-.:;=@_~$*"
"""What browsers do not encode in a path."""

NEUTRAL = {"x-robots-tag": "all", "tdm-reservation": "0", "content-usage": "train-ai=y, ai-use=y, search=y"}
HEADERS_FILES = [key for key, host in HOSTS.items() if host.config_file == "_headers"]


def compiled(*sections, **changes):
    return CompiledPolicy(replace(STANCE, path_policies=sections, **changes), Catalog(()))


def rendered(host, made, existing=b""):
    """The host's configuration file."""
    (file,) = HOSTS[host].render(StaticSite(made, (), existing), "/")
    return file.content.decode("utf-8", "surrogateescape")


def limitations(host, made, existing=b""):
    """What this host alone cannot do."""
    return list(HOSTS[host].specific_limitations(StaticSite(made, (), existing)))


def sent(host, made, path, existing=b""):
    return READERS[host](rendered(host, made, existing), path)


def declared(made, path):
    """What the middleware sends for a path, several lines of one name as one."""
    fields: dict[str, str] = {}
    for name, value in made.declared[made.guard.table.path_class(path).path_policy].fields:
        fields[name.decode()] = (
            f"{fields[name.decode()]}, {value.decode()}" if name.decode() in fields else value.decode()
        )
    return fields


def says_the_same(host, made, path):
    found, wanted = sent(host, made, quote(path, safe=SENT_PLAIN)), declared(made, path)
    assert {name: found.get(name) for name in wanted} == wanted, (path, rendered(host, made))
    if not wanted:
        # A field cannot be taken back, so it says that nothing is reserved; an address beside it has no effect.
        assert {name: value for name, value in found.items() if name in NEUTRAL}.items() <= NEUTRAL.items()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/tracks/a.mp3", "/a/b/c"])
def test_a_stance_is_said_on_every_path(host, path):
    says_the_same(host, compiled(), path)
    assert sent(host, compiled(), path)["x-robots-tag"] == "noai, noimageai, noarchive, noml"


@pytest.mark.parametrize("host", HOSTS)
def test_noai_has_no_colon_on_its_line_and_no_field_stands_twice(host):
    found = rendered(host, compiled())
    assert len(re.findall("X-Robots-Tag", found)) == 1
    assert ":" not in sent(host, compiled(), "/")["x-robots-tag"]


@pytest.mark.parametrize("host", HOSTS)
def test_every_document_has_its_media_type(host):
    made = compiled(site=replace(SITE, policy_page="/ki/"))
    for path, document in made.documents.items():
        assert sent(host, made, path)["content-type"] == document.media_type
    assert "content-type" not in sent(host, made, "/")


segments = st.sampled_from(["tracks", "press", "a b", "café", "x", "pressroom", "(1)", "k.it"])
directories = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
patterns = st.one_of(
    directories.map(lambda d: f"{d}/**"),
    directories.filter(bool),
    directories.map(lambda d: f"{d}/**/*.flac"),
    st.tuples(directories, directories).map(lambda d: f"{d[0]}/*{d[1]}/x"),
    st.tuples(directories, directories.filter(bool)).map(lambda d: f"{d[0]}/*{d[1]}/**"),
)
wishes = st.sampled_from([
    STANCE.usages, OPEN, {**OPEN, Usage.AI_INPUT: Action.DENY}, {**STANCE.usages, Usage.TRAIN_AI: Action.LICENSE_REQUIRED},
])  # fmt: skip
requested = directories.flatmap(
    lambda d: st.sampled_from([d or "/", f"{d}/q.mp3", f"{d}/q/x", f"{d}/x", f"{d}/q.flac"])
)


@pytest.mark.parametrize("host", HOSTS)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.builds(PathPolicy, patterns, wishes), max_size=4, unique_by=lambda s: s.pattern), wishes, requested)
def test_any_sections_come_out_right(host, sections, usages, path):
    says_the_same(host, compiled(*sections, usages=usages), path)


def test_vercel_says_every_pattern_and_others_list_what_they_cannot():
    odd = [PathPolicy(pattern, OPEN) for pattern in ("/demo-?", "/a*b/**", "/**/kit", "/a:b", "/audio/*.mp3")]
    made = compiled(*odd)
    assert limitations("vercel", made) == []
    for path in ("/demo-1", "/axb/c", "/x/y/kit", "/a:b", "/audio/1.mp3"):
        says_the_same("vercel", made, path)
    for host in HEADERS_FILES:
        notes = "\n".join(limitations(host, made))
        for section in odd:
            assert paths(section.pattern) is None
            assert f"_headers has no path for {section.pattern};" in notes
        assert sent(host, made, "/demo-1")["tdm-reservation"] == "1"


@pytest.mark.parametrize("host", HOSTS)
def test_one_level_is_one_level(host):
    made = compiled(PathPolicy("/press/*", OPEN))
    for path in ("/", "/press/", "/press/a", "/press/a/b", "/pressroom"):
        says_the_same(host, made, path)
    # For Netlify a path with a slash at its end is the path without it.
    assert (sent(host, made, "/press")["tdm-reservation"] == "0") is (host == "netlify")


def sections_of(number):
    return [PathPolicy(f"/artist-{each}/**", OPEN) for each in range(number)]


def test_cloudflare_pages_gets_as_few_blocks_as_say_the_same():
    made = compiled(*sections_of(45))
    assert len(re.findall("^/", rendered("cloudflare-pages", made), re.MULTILINE)) == 96
    for path in ("/artist-1", "/artist-1/", "/artist-44/x", "/artist-44/x/y.mp3", "/artist-444", "/artist-45/x", "/"):
        says_the_same("cloudflare-pages", made, path)


@pytest.mark.parametrize("sections", [0, 1, 20, 46])
def test_no_block_is_lost_behind_the_hundredth_that_cloudflare_pages_reads(sections):
    made = compiled(*sections_of(sections))
    ours = len(re.findall("^/", rendered("cloudflare-pages", made), re.MULTILINE))
    own = "".join(f"/own-{number}\n  X-Own: {number}\n" for number in range(101 - ours)).encode()
    fits = own[: own.rindex(b"/own-")]
    assert sent("cloudflare-pages", made, f"/own-{99 - ours}", fits)["x-own"] == str(99 - ours)
    with pytest.raises(LimitExceeded, match=rf"^T001 .* 100 blocks .* are 101; {101 - ours} are your own"):
        rendered("cloudflare-pages", made, own)
    # Absolute addresses begin blocks too; comments do not.
    assert rendered("cloudflare-pages", made, b"# /a\n # https://a.example\n" + fits)
    with pytest.raises(LimitExceeded):
        rendered("cloudflare-pages", made, fits + b"https://*.pages.example/*\n  X-Own: 1\n")
    assert rendered("netlify", made, own).endswith(own.decode())


def test_more_sections_than_fit_into_a_hosts_file_are_refused():
    with pytest.raises(LimitExceeded, match="name fewer, or one folder for several"):
        rendered("cloudflare-pages", compiled(*sections_of(60)))
    with pytest.raises(LimitExceeded, match="at most 2,048 entries of headers"):
        rendered("vercel", compiled(), json.dumps({"headers": [{}] * 2048}).encode())


@pytest.mark.parametrize(("host", "limit"), [("cloudflare-pages", "2,000"), ("vercel", "4,096")])
def test_a_line_that_a_host_would_pass_over_is_refused(host, limit):
    long = compiled(PathPolicy("/" + "\N{MUSICAL SCORE}" * 400 + "/**", OPEN))
    with pytest.raises(LimitExceeded, match=f"at most {limit} characters in a"):
        rendered(host, long)
    assert rendered("netlify", long)


@pytest.mark.parametrize(("host", "length"), [("cloudflare-pages", 2000), ("vercel", 32_768)])
def test_a_value_that_a_host_would_pass_over_is_refused(host, length):
    with pytest.raises(LimitExceeded, match="characters in a"):
        rendered(host, compiled(site=replace(SITE, licence=f"https://band.example/{'l' * length}")))


def test_sections_that_wish_the_same_are_not_repeated():
    assert rendered("netlify", compiled(PathPolicy("/a/**", STANCE.usages))) == rendered("netlify", compiled())


@pytest.mark.parametrize("host", HOSTS)
def test_a_site_that_reserves_nothing_declares_nothing(host):
    assert sent(host, compiled(usages=OPEN), "/tracks/a.mp3") == {}


def test_vercel_json_is_as_its_schema_says():
    made = compiled(PathPolicy("/press/**", OPEN), PathPolicy("/künstler/*/x?", STANCE.usages))
    VERCEL.validate(json.loads(rendered("vercel", made)))
    for entry in json.loads(rendered("vercel", made))["headers"]:
        # A named segment would make templates of the values, in which `https://` is a mistake.
        assert not re.search(r":[A-Za-z]", entry["source"].replace("(?:noai-guard^)?", ""))
        assert not re.search(r"\((?!\?)", entry["source"][2:])


OWN_HEADERS = "/*\n  Cache-Control: no-cache\n  X-Robots-Tag: noindex\r\n\n/a\n  X-Frame-Options: DENY"
OWN_VERCEL = {
    "cleanUrls": True,
    "headers": [{"source": "/(.*)", "headers": [{"key": "X-Robots-Tag", "value": "noindex"}]}],
    "redirects": [{"source": "/ä", "destination": "/b"}],
}


@pytest.mark.parametrize("host", HEADERS_FILES)
def test_the_sites_own_blocks_stay_and_count_more(host):
    once = rendered(host, compiled(), OWN_HEADERS.encode())
    assert once.endswith(OWN_HEADERS)
    assert rendered(host, compiled(), once.encode()) == once
    assert rendered(host, compiled(PathPolicy("/press/**", OPEN)), once.encode()).endswith(OWN_HEADERS)
    found = READERS[host](once, "/")
    assert found["cache-control"] == "no-cache"
    assert found["x-robots-tag"].endswith("noindex")
    assert found["content-usage"] == declared(compiled(), "/")["content-usage"]
    (note,) = limitations(host, compiled(), OWN_HEADERS.encode())
    assert "your own X-Robots-Tag" in note
    assert limitations(host, compiled(), rendered(host, compiled()).encode()) == []


@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
def test_the_sites_own_vercel_json_stays_and_counts_more(indent):
    own = json.dumps(OWN_VERCEL, indent=indent, ensure_ascii=False).encode()
    once = rendered("vercel", compiled(), own)
    found = json.loads(once)
    assert {key: value for key, value in found.items() if key != "headers"} == {
        key: value for key, value in OWN_VERCEL.items() if key != "headers"}  # fmt: skip
    assert found["headers"][-1:] == OWN_VERCEL["headers"]
    assert "/ä" in once
    assert indent is None or f'\n{indent * " " if isinstance(indent, int) else indent}"' in once
    assert rendered("vercel", compiled(), once.encode()) == once
    other = json.loads(rendered("vercel", compiled(PathPolicy("/press/**", OPEN)), once.encode()))
    assert other["headers"][-1:] == OWN_VERCEL["headers"]
    assert len([entry for entry in other["headers"] if "noai-guard" not in entry["source"]]) == 1
    assert READERS["vercel"](once, "/")["x-robots-tag"] == "noindex"
    (note,) = limitations("vercel", compiled(), own)
    assert "your own X-Robots-Tag" in note


@pytest.mark.parametrize(
    "existing", [b"{", b"[]", b'{"headers": {}}', b'{"routes": []}', b"// comment\n{}", b"\xff\xfe", b"[" * 99999]
)
def test_a_vercel_json_that_cannot_be_added_to_is_refused(existing):
    with pytest.raises(CannotExpress, match=r"vercel\.json exists and .*--vercel"):
        rendered("vercel", compiled(), existing)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.mark.parametrize("host", HEADERS_FILES)
@settings(deadline=None)
@given(
    st.lists(st.one_of(texts, st.sampled_from([BEGIN, END, "/*", "  X-A: b"])), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_building_again_changes_nothing_whatever_was_there(host, lines, end):
    once = rendered(host, compiled(), end.join(lines).encode())
    assert rendered(host, compiled(), once.encode("utf-8", "surrogateescape")) == once


json_values: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | texts
        | st.lists(json_values, max_size=3)
        | st.dictionaries(texts | st.sampled_from(["headers", "source"]), json_values, max_size=3)
    )
)


@settings(deadline=None)
@given(json_values)
def test_any_json_is_kept_or_refused(found):
    existing = json.dumps(found).encode()
    try:
        once = rendered("vercel", compiled(), existing)
    except CannotExpress:
        return
    kept = json.loads(once)
    assert kept.pop("headers")[-len(found.get("headers", [])) or len(kept) + 99 :] == found.get("headers", [])
    assert kept == {key: value for key, value in found.items() if key != "headers"}
    assert rendered("vercel", compiled(), once.encode("utf-8", "surrogateescape")) == once


@settings(deadline=None)
@given(texts, texts, texts)
def test_no_fact_of_a_site_breaks_out_of_its_line(owner, address, page):
    site = Site(
        url=f"https://band.example/{address}",
        owner=owner,
        contact=address,
        licence=f"https://x/{address}",
        policy_page=f"/{page}",
    )
    made = compiled(site=site)
    lines = rendered("cloudflare-pages", made).splitlines()
    assert all(re.fullmatch(r"/[!-~]*|  [A-Z][A-Za-z-]*: [ -~]+|# (Begin|End) noai-guard", line) for line in lines)
    VERCEL.validate(json.loads(rendered("vercel", made)))
