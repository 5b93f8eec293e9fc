"""Whatever a listener asks for is, byte for byte and header by header, what the site gives without a guard."""

import pytest

from tests.clients.site import AUDIO, COVER, FEED, TRACK, Answer, PlainSite, Site, fetched


def lost(site: Site, plain: PlainSite, target: str, method: str = "GET", **headers: str) -> list[object]:
    """What the guarded answer has not that the plain one has; tags, a weakened entity tag and chunking aside."""
    ours = fetched(site.url, target, method, **headers)
    theirs = fetched(plain.url, target, method, **headers)
    body = without_boundary(ours).replace(site.tags(target.partition("?")[0]), b"")
    fields = [field for field in told(theirs) if field not in told(ours)]
    return [each for each in (
        ours.status != theirs.status and f"{target}: {ours.status}, not {theirs.status}",
        body != without_boundary(theirs) and f"{target}: another body",
        fields and (target, fields),
    ) if each]  # fmt: skip


def without_boundary(answer: Answer) -> bytes:
    """The body; the boundary between several parts, which is another each time, is taken out."""
    boundary = answer.headers.get_boundary("").encode()
    return answer.body.replace(boundary, b"") if boundary else answer.body


def told(answer: Answer) -> list[tuple[str, str]]:
    html = answer.headers.get_content_type() == "text/html"
    varies = {"date", "server"}
    if html:
        varies.add("content-length")
    if answer.headers.get_boundary():
        varies.add("content-type")
    fields = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in varies]
    return [(name, value.removeprefix("W/") if html and name == "etag" else value) for name, value in fields]


def test_every_page_and_file_is_whole(site: Site, plain: PlainSite) -> None:
    targets = [*plain.targets(), FEED, "/sitemap.xml", "/embed/paper-boats"]
    assert [loss for target in targets for loss in lost(site, plain, target)] == []


@pytest.mark.parametrize("target", [TRACK, AUDIO, COVER, FEED])
def test_head_tells_the_same(site: Site, plain: PlainSite, target: str) -> None:
    assert lost(site, plain, target, "HEAD") == []


@pytest.mark.parametrize("part", ["0-", "0-1", "1000-1999", "-500", "2000000-", "0-1,1000-1001"])
def test_every_part_of_a_recording_is_the_same(site: Site, plain: PlainSite, part: str) -> None:
    assert lost(site, plain, AUDIO, Range=f"bytes={part}") == []


@pytest.mark.parametrize("target", [TRACK, AUDIO, COVER, FEED])
def test_who_has_it_already_is_told_so(site: Site, target: str) -> None:
    tag = fetched(site.url, target).headers["etag"]
    again = fetched(site.url, target, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")


def test_what_is_not_there_is_still_404(guarded_site: Site, plain: PlainSite) -> None:
    assert lost(guarded_site, plain, "/tracks/nowhere") == []


def test_a_part_that_is_not_there_is_still_416(guarded_site: Site, plain: PlainSite) -> None:
    assert lost(guarded_site, plain, AUDIO, Range="bytes=99999999-") == []
