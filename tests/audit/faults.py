"""One broken site for every finding."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from noai_guard.declarations.shared.robots_file import MAX_BYTES
from noai_guard.tagging.fields import NOTHING, Fields
from tests.audit.live_site import (
    CLOSED,
    LICENCE,
    PAGE,
    REFUSED,
    RESERVATIONS,
    ROBOTS,
    TAGS,
    Fault,
    SiteRequest,
    SiteResponse,
    good,
    tagged,
)

DECLARING = tuple(name.lower() for name, _ in RESERVATIONS)
TDM = "/.well-known/tdmrep.json"
CHALLENGE = b"<!doctype html><title>Just a moment...</title><p>Verifying you are human"


class Broken(NamedTuple):
    code: str
    fault: Fault


Change = Callable[[SiteResponse], SiteResponse | None]
Condition = Callable[[SiteRequest], bool]


def at(path: str, change: Change, when: Condition = lambda request: True) -> Fault:
    """Change the responses for one path (`*` for all) to requests that meet a condition."""

    def fault(request: SiteRequest, response: SiteResponse) -> SiteResponse | None:
        return change(response) if path in (request.path, "*") and when(request) else response

    return fault


def status(number: int, **lines: str) -> Callable[[SiteResponse], SiteResponse]:
    """Respond with an error, without the site's own content."""
    made = tuple((name.replace("_", "-"), value) for name, value in lines.items())
    return lambda response: SiteResponse(number, (("Content-Type", "text/plain"), *made), b"error")


def body(text: str | bytes, media_type: str = "") -> Callable[[SiteResponse], SiteResponse]:
    """Replace the body of responses with 200, and their media type if one is given."""
    data = text.encode() if isinstance(text, str) else text

    def change(response: SiteResponse) -> SiteResponse:
        if response.status != 200:
            return response
        return replace(response.line("Content-Type", media_type) if media_type else response, body=data)

    return change


def gzipped(text: str) -> Callable[[SiteResponse], SiteResponse]:
    return lambda response: body(gzip.compress(text.encode()))(response).line("Content-Encoding", "gzip")


def line(name: str, *values: str) -> Callable[[SiteResponse], SiteResponse]:
    return lambda response: response.line(name, *values)


def without(*names: str) -> Callable[[SiteResponse], SiteResponse]:
    return lambda response: response.without(*names)


def nothing(response: SiteResponse) -> None:
    return None


def named(*names: str) -> Condition:
    """Return the condition that the user agent contains one of these names."""
    return lambda request: any(name in request.user_agent for name in names)


def robots(text: str | bytes) -> Fault:
    return at("/robots.txt", body(text))


def page(*changes: tuple[str, str]) -> Fault:
    text = PAGE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return at("/", body(text), lambda request: not named(*REFUSED)(request))


def licence(*changes: tuple[str, str]) -> Fault:
    text = LICENCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return at("/license.xml", body(text))


def both(*faults: Fault) -> Fault:
    def fault(request: SiteRequest, response: SiteResponse) -> SiteResponse | None:
        for one in faults:
            changed = one(request, response)
            if changed is None:
                return None
            response = changed
        return response

    return fault


def audio_bytes(content: bytes) -> Fault:
    """Serve other bytes as the audio, in parts too."""

    def fault(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        if request.path != "/a.mp3" or response.status not in (200, 206):
            return response
        first, last = 0, len(content)
        if response.status == 206:
            first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
            response = response.line("Content-Range", f"bytes {first}-{last}/{len(content)}")
        return replace(response, body=content[first : last + 1])

    return fault


def audio(fields: Fields) -> Fault:
    return audio_bytes(tagged(fields))


def robots_moved(request: SiteRequest, response: SiteResponse) -> SiteResponse:
    """Redirect robots.txt to another name of this machine."""
    host = request.headers["host"]
    if request.path == "/robots.txt" and host.startswith("127."):
        return SiteResponse(302, (("Location", f"http://localhost:{host.partition(':')[2]}/robots.txt"),))
    return response


def page_moved(request: SiteRequest, response: SiteResponse) -> SiteResponse:
    """Redirect the page to another name of this machine."""
    host = request.headers["host"]
    if request.path == "/" and host.startswith("127."):
        return SiteResponse(302, (("Location", f"http://localhost:{host.partition(':')[2]}/"),))
    return response


def served_to_ai(request: SiteRequest, response: SiteResponse) -> SiteResponse:
    """Serve crawlers what everybody gets."""
    if named(*REFUSED)(request) and response.status == 403:
        return good(SiteRequest(request.method, request.path, {**request.headers, "user-agent": "x"}))
    return response


def is_auditor(request: SiteRequest) -> bool:
    return "noai-guard-audit" in request.user_agent


def wants_markdown(request: SiteRequest) -> bool:
    return request.headers.get("accept") == "text/markdown"


def accepts_gzip(request: SiteRequest) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def has(name: str) -> Condition:
    return lambda request: name in request.headers


def is_head(request: SiteRequest) -> bool:
    return request.method == "HEAD"


def cached(keeps: Callable[[SiteResponse], bool], by_query: bool = True, **lines: str) -> Fault:
    """Stand a shared cache in front that tells no client from another; `lines` are on what it hands out."""
    kept: dict[tuple[str, ...], SiteResponse] = {}

    def fault(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        key = (request.method, request.path, request.headers.get("range", ""), request.query * by_query)
        if key in kept:
            response = kept[key]
            for name, value in lines.items():
                response = response.line(name.replace("_", "-"), value)
        elif keeps(response):
            kept[key] = response
        return response

    return fault


PLAIN = "User-agent: *\nAllow: /\n"
ANSWERED_200 = at("*", lambda response: SiteResponse(200, (("Content-Type", "text/html"),), CHALLENGE), named(*REFUSED))

BROKEN = (
    Broken("A001", at("/ai.txt", nothing)),
    Broken("A002", at("/", status(500))),
    Broken("A003", at("/", status(403), is_auditor)),
    Broken("A004", page_moved),
    Broken("A101", at("/robots.txt", status(403))),
    Broken("A101", at("/robots.txt", status(401, WWW_Authenticate="Basic"))),
    Broken("A102", at("/robots.txt", status(404))),
    Broken("A103", at("/robots.txt", status(503))),
    Broken("A103", at("/robots.txt", nothing)),
    Broken("A104", at("/robots.txt", status(302, Location="/robots.txt"))),
    Broken("A105", robots_moved),
    Broken("A106", at("/robots.txt", line("Content-Type", "application/octet-stream"))),
    Broken("A107", robots(ROBOTS + "# more\n" * (MAX_BYTES // 7))),
    Broken("A108", robots(b"\xef\xbb\xbf" + ROBOTS.encode())),
    Broken("A109", robots("<!DOCTYPE html><title>Our site</title>")),
    Broken("A110", robots(f"User-agent: *\nContent-Signal: search=yes, ai-train=no\n\n{CLOSED}")),
    Broken("A110", robots(f"User-agent: *\nCrawl-delay: 1\n\nUser-agent: b\nSitemap: https://a.invalid\n\n{CLOSED}")),
    Broken("A111", robots(f"{ROBOTS}\nUser-agent: Bingbot\nCrawl-delay: 1\n")),
    Broken("A112", robots(f"{ROBOTS}\nUser-agent: AI2Bot\nDisallow: /\n")),
    Broken("A113", robots(f"{ROBOTS}\nUser-agent: SomeBot/1.0\nDisallow: /\n")),
    Broken("A113", robots(f"{ROBOTS}\nUser-agent: SomeBot, OtherBot\nDisallow: /\n")),
    Broken("A114", robots(f"{ROBOTS}\nUser-agent: Bingbot\nAllow: /\n")),
    Broken("A115", robots(f"{ROBOTS}\nUser-agent: Bingbot\nAllow: /\nContent-Usage: train-ai=n\n")),
    Broken("A116", robots(f"{PLAIN}License: https://a.invalid/l.xml\n\nUser-agent: Bingbot\nAllow: /\n")),
    Broken("A117", robots(f"{PLAIN}Content-Usage: train-ai=n,\n")),
    Broken("A117", robots(f"{PLAIN}Content-Usage: Train-AI=n\n")),
    Broken("A117", robots(f"{PLAIN}Content-Usage: /music/ train-ai: n\n")),
    Broken("A118", robots(f"{PLAIN}Content-Usage: train-ai=no\n")),
    Broken("A118", robots(f"{PLAIN}Content-Usage: ai-train=n\n")),
    Broken("A118", robots(f"{PLAIN}Content-Usage: train-ai=n; search=y\n")),
    Broken("A119", robots(f"{PLAIN}Content-Signal: ai-train=n\n")),
    Broken("A119", robots(f"{PLAIN}Content-Signal: train-ai=no\n")),
    Broken("A119", robots(f"{PLAIN}Content-Signal: ai-train=no; search=yes\n")),
    Broken("A119", robots(f"{PLAIN}Content-Signal: ai-train=disallow\n")),
    Broken("A120", robots(f"User-agent: *\nDisallow: /*.mp3$\n\n{CLOSED}")),
    Broken("A121", robots(ROBOTS.replace("User-agent: CCBot\n", ""))),
    Broken("A121", robots("User-agent: *\nAllow: /\n")),
    Broken("A122", robots("User-agent: *\nDisallow: /\n")),
    Broken("A123", robots(f"{PLAIN}Disallow: private\n")),
    Broken("A124", robots(f"{PLAIN}Dissallow: /x\n")),
    Broken("A124", robots(f"{PLAIN}Disallow /x\n")),
    Broken("A124", robots(f"{PLAIN}Contentusage: train-ai=n\n")),
    Broken("A125", robots(f"Disallow: /\n{PLAIN}")),
    Broken("A126", robots(f"{PLAIN}License: /license.xml\n")),
    Broken("A201", at("*", line("X-Robots-Tag", "googlebot: noarchive, noai"))),
    Broken("A201", at("*", line("X-Robots-Tag", "noai, max-snippet:20"))),
    Broken("A202", at("*", line("X-Robots-Tag", "NoAI"))),
    Broken("A203", at("*", line("X-Robots-Tag", "no-ai"))),
    Broken("A204", at("/a.mp3", without(*DECLARING))),
    Broken("A205", at("/a.mp3", without("content-usage"))),
    Broken("A205", at("/a.mp3", without("link"))),
    Broken("A206", at("*", without(*DECLARING), is_head)),
    Broken("A207", at("/a.mp3", without("x-robots-tag"), has("range"))),
    Broken("A208", at("*", without(*DECLARING), has("if-none-match"))),
    Broken("A209", lambda request, response: response.without(*DECLARING) if response.status == 404 else response),
    Broken("A210", at("*", line("Content-Usage", "train-ai=n,"))),
    Broken("A210", at("/a.mp3", line("Content-Usage", "Train-AI=n"))),
    Broken("A211", at("/a.mp3", line("Content-Usage", "train-ai=0"), has("range"))),
    Broken("A211", at("*", line("Content-Usage", "train-ai=no"))),
    Broken("A212", at("*", line("Content-Signal", "ai-train=n"))),
    Broken("A213", at("*", line("tdm-reservation", "yes"))),
    Broken("A214", both(at("*", line("tdm-policy", "/policy")))),
    Broken("A214", both(at("*", line("tdm-policy", "https://a.invalid/p")), at("*", line("tdm-reservation", "0")))),
    Broken("A215", at("/", line("content-signal", "ai-train=yes, search=yes, ai-input=yes"), wants_markdown)),
    Broken("A216", at("/", lambda response: response.without(*DECLARING).line("Content-Type", "text/markdown"), wants_markdown)),
    Broken("A217", both(
        at("*", without(*DECLARING)), page(("noai, noimageai", ""), ('"tdm-reservation" content="1"', '"x"')))),
    Broken("A301", lambda request, response: (
        status(404)(response) if request.path.endswith(("txt", "json", "xml"))
        else body(PAGE.replace("noai", "").replace('"1"', '""'))(response.without(*DECLARING))
        if request.path == "/" else audio(NOTHING)(request, response.without(*DECLARING))
    )),
    Broken("A302", at("/", line("Content-Type", "application/json"))),
    Broken("A303", page(("/a.mp3", "mailto:a"))),
    Broken("A304", page(('name="robots"', 'name="googlebot"'))),
    Broken("A305", page(("noai, noimageai", "no-ai"))),
    Broken("A306", page(('"tdm-reservation" content="1"', '"tdm-reservation" content="true"'))),
    Broken("A307", page(('{"@type"', '{&quot;@type'))),
    Broken("A308", page((', "usageInfo": "/policy"', ""))),
    Broken("A309", lambda request, response: response),
    Broken("A310", at("/", line("X-Robots-Tag", "noai, noindex"))),
    Broken("A310", page(("noai, noimageai", "noai,NONE"))),
    Broken("A311", at("/", gzipped(PAGE.replace("robots", "generator")), accepts_gzip)),
    Broken("A311", at("/", gzipped(PAGE.replace("tdm-reservation", "x")), accepts_gzip)),
    Broken("A401", at(TDM, body("tdm-reservation: 1"))),
    Broken("A402", at(TDM, body('{"location": "/", "tdm-reservation": 1}'))),
    Broken("A403", at(TDM, body('[{"location": "/", "tdm-reservation": "1"}]'))),
    Broken("A403", at(TDM, body('[{"tdm-reservation": 1}]'))),
    Broken("A404", at(TDM, body(
        '[{"location": "/", "tdm-reservation": 1}, {"location": "/press/", "tdm-reservation": 0}]'))),
    Broken("A405", at(TDM, line("Content-Type", "text/plain"))),
    Broken("A406", at(TDM, body('[{"location": "/", "tdm-reservation": 1, "tdm-policy": "/policy"}]'))),
    Broken("A407", at(TDM, status(500))),
    Broken("A421", at("/license.xml", status(404))),
    Broken("A422", licence(("</rsl>", ""))),
    Broken("A423", licence(("https://rslstandard.org/rsl", "https://rslstandard.org/ns"))),
    Broken("A424", licence(("ai-all", "ai-train,ai-input"))),
    Broken("A424", licence(("ai-all", "training"))),
    Broken("A425", licence(("<license>", "<licence/><license>"))),
    Broken("A426", at("/license.xml", line("Content-Type", "text/xml"))),
    Broken("A428", licence(("</rsl>", '<content url="/x"/></rsl>'))),
    Broken("A429", at("*", without("link"))),
    Broken("A430", licence(('url="/"', 'url="/" server="https://a.invalid"'))),
    Broken("A441", at("/ai.txt", body("User-Agent: *\nAllow: /\n"))),
    Broken("A442", at("/trust.txt", body("datatrainingallowed=never\n"))),
    Broken("A443", at("/policy", status(404))),
    Broken("A444", lambda request, response: (
        body(PAGE, "text/html")(replace(response, status=200)) if request.path == "/ai.txt" else response)),
    Broken("A461", audio(NOTHING)),
    Broken("A462", audio(replace(TAGS, reservation="yes"))),
    Broken("A462", audio(replace(TAGS, usage="train-ai=no"))),
    Broken(
        "A463",
        both(
            audio(replace(TAGS, policy="https://old.example/policy")),
            at("/a.mp3", line("tdm-policy", "https://new.example/policy")),
        ),
    ),
    Broken("A464", audio_bytes(b"ID3" + bytes(range(256)) * 40)),
    Broken(
        "A464",
        both(
            audio_bytes(b"ID3\3\0\0\0\4\0\0" + bytes(500_000)),
            at("/a.mp3", line("Content-Range", "bytes 5-9/500010"), has("range")),
        ),
    ),
    Broken("A464", audio_bytes(b"ID3\4\0\0\2\1\0\0" + bytes((2 << 21) + (1 << 14)) + (b"\xff\xfb\x90\x64" + bytes(413)) * 3)),
    Broken("A501", audio(replace(TAGS, reservation="0"))),
    Broken("A501", audio(Fields(mining="DMI-ALLOWED"))),
    Broken("A503", audio(replace(TAGS, usage="train-ai=n, search=n"))),
    Broken("A501", at(TDM, body('[{"location": "/", "tdm-reservation": 0}]'))),
    Broken("A501", at("/a.mp3", line("Content-Signal", "ai-train=yes"))),
    Broken("A501", at("/trust.txt", body("datatrainingallowed=yes\n"))),
    Broken("A501", licence(("search<", "all<"), ('<prohibits type="usage">ai-all</prohibits>', ""))),
    Broken("A501", robots(ROBOTS.replace("Content-Usage: train-ai=n", "Content-Usage: train-ai=y"))),
    Broken("A501", at("/a.mp3", line("Content-Signal", "ai-train=yes"), has("range"))),
    Broken("A502", at("*", line("Content-Usage", "train-ai=n, ai-use=y, search=y"))),
    Broken("A503", at("*", line("Content-Usage", "train-ai=n, ai-use=n, search=n"))),
    Broken("A601", served_to_ai),
    Broken("A602", ANSWERED_200),
    Broken("A602", at("/", lambda response: SiteResponse(200, (("Content-Type", "text/plain"),), b"Go away."), named("GPTBot"))),
    Broken("A603", at("/robots.txt", status(403), named("GPTBot"))),
    Broken("A603", at("/robots.txt", status(500), named("Googlebot"))),
    Broken("A604", at("*", status(403), named("AntennaPod", "antennapod"))),
    Broken("A604", at("*", status(403), named("facebookexternalhit"))),
    Broken("A604", at("*", status(403), named("Chrome/"))),
    Broken("A604", at("/a.mp3", nothing, named("antennapod"))),
    Broken("A605", at("/", status(403), named("Googlebot"))),
    Broken("A606", at("/a.mp3", lambda response: SiteResponse(200, (("Content-Type", "text/html"),), CHALLENGE),
                      named("antennapod"))),
    Broken("A607", at("/", line("Cache-Control", "public, max-age=600"), named("GPTBot"))),
    Broken("A607", at("/", status(404), named("GPTBot"))),
    Broken("A608", at("/", without("cache-control"), named("GPTBot"))),
    Broken("A609", robots(ROBOTS.replace("User-agent: GPTBot\n", ""))),
    Broken("A610", at(TDM, status(403), named("GPTBot"))),
    Broken("A610", at("/policy", status(403), named("ClaudeBot"))),
    Broken("A611", at("/robots.txt", status(403), lambda request: not request.user_agent)),
    Broken("A612", lambda request, response: (
        served_to_ai(request, response).without(*DECLARING) if named("GPTBot")(request) else response)),
    Broken("A613", at("/", status(503), named("GPTBot"))),
    Broken("A613", at("/a.mp3", nothing, named("ClaudeBot"))),
    Broken("A701", cached(lambda response: response.status == 403)),
    Broken("A701", cached(lambda response: response.status == 403, X_Cache="Error from cloudfront", Age="1")),
    Broken("A702", cached(lambda response: response.status in (200, 206))),
    Broken("A702", cached(lambda response: response.status == 206, CF_Cache_Status="HIT")),
    Broken("A703", cached(lambda response: response.status in (200, 206), False, X_Cache="Hit from cloudfront")),
    Broken("A703", cached(lambda response: response.status == 206, False, Age="17")),
    Broken("A614", at("/a.mp3", line("Content-Type", "text/html"), named("GPTBot"))),
)  # fmt: skip
