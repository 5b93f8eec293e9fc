"""A night's visitors as data: complete requests, headers in the order and case of each client's HTTP stack.

Chrome's are as Chromium 156 sent them on loopback (2026-11-23); the other user agents are the operators' and apps'
own, and the headers around them are modelled on documentation and published logs, not recorded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["listener", "player", "podcast", "feed", "search", "preview", "ai", "tool", "odd"]
Headers = tuple[tuple[bytes, bytes], ...]

# Stands for the site's host and port, wherever it occurs in a header.
HOST = b"{host}"


@dataclass(frozen=True, slots=True)
class Line:
    """One request."""

    method: str
    path: str
    headers: Headers

    def wire(self, host: str) -> bytes:
        """The request's bytes in HTTP/1.1; `host` is the site's host and port."""
        fields = b"".join(name + b": " + value.replace(HOST, host.encode()) + b"\r\n" for name, value in self.headers)
        return f"{self.method} {self.path} HTTP/1.1\r\n".encode() + fields + b"\r\n"


@dataclass(frozen=True, slots=True)
class Visitor:
    name: str
    kind: Kind
    lines: tuple[Line, ...]  # in the order they are sent

    @property
    def user_agent(self) -> bytes:
        """The first request's first User-Agent, empty when there is none."""
        return next((value for name, value in self.lines[0].headers if name.lower() == b"user-agent"), b"")


def _fields(text: str) -> Headers:
    def split() -> Iterator[tuple[bytes, bytes]]:
        for line in text.strip().splitlines():
            name, _, value = line.strip().partition(":")
            yield name.encode("latin-1"), value.strip().encode("latin-1")

    return tuple(split())


def _get(path: str, headers: str, method: str = "GET") -> Line:
    return Line(method, path, _fields(headers))


_CHROME_UA = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)
_CHROME_HINTS = """sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Windows\""""
_CHROME_PAGE = f"""Host: {{host}}
Connection: keep-alive
{_CHROME_HINTS}
Upgrade-Insecure-Requests: 1
User-Agent: {_CHROME_UA}
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,\
*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9"""
_CHROME_AUDIO = f"""Host: {{host}}
Connection: keep-alive
sec-ch-ua-platform: "Windows"
User-Agent: {_CHROME_UA}
sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156"
sec-ch-ua-mobile: ?0
Accept: */*
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: no-cors
Sec-Fetch-Dest: audio
Referer: http://{{host}}/tracks/lanterns-at-low-tide
Accept-Encoding: identity
Accept-Language: en-GB,en;q=0.9
Range: """
_FIREFOX_MOBILE = """Host: {host}
User-Agent: Mozilla/5.0 (Android 16; Mobile; rv:157.0) Gecko/157.0 Firefox/157.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: nb-NO,nb;q=0.9,en;q=0.7
Accept-Encoding: gzip, deflate, br, zstd
Connection: keep-alive
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: cross-site
Priority: u=0, i"""
_FIREFOX_MOBILE_AUDIO = """Host: {host}
User-Agent: Mozilla/5.0 (Android 16; Mobile; rv:157.0) Gecko/157.0 Firefox/157.0
Accept: audio/webm,audio/ogg,audio/wav,audio/*;q=0.9,application/ogg;q=0.7,video/*;q=0.6,*/*;q=0.5
Accept-Language: nb-NO,nb;q=0.9,en;q=0.7
Range: bytes=0-
Connection: keep-alive
Referer: http://{host}/tracks/paper-boats
Sec-Fetch-Dest: audio
Sec-Fetch-Mode: no-cors
Sec-Fetch-Site: same-origin
Accept-Encoding: identity"""
_CORE_MEDIA = """Host: {host}
X-Playback-Session-Id: 0F6C6B3D-3C0E-4C2B-9A35-6D1E7C1A9F20
Range: bytes=0-1
Accept: */*
User-Agent: AppleCoreMedia/1.0.0.22G86 (iPhone; U; CPU OS 18_6 like Mac OS X; en_gb)
Accept-Language: en-GB,en;q=0.9
Accept-Encoding: identity
Connection: keep-alive"""
_GPTBOT = """Host: {host}
Accept: */*
Accept-Encoding: gzip, br, deflate
From: gptbot(at)openai.com
User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)"""
_CLAUDEBOT = """accept: */*
user-agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)
accept-encoding: gzip, br, zstd, deflate
host: {host}"""
_CCBOT = """User-Agent: CCBot/2.0 (https://commoncrawl.org/faq/)
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-US,en;q=0.5
Accept-Encoding: br,gzip
Host: {host}
Connection: Keep-Alive"""
_BYTESPIDER = """Host: {host}
User-Agent: Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 \
(compatible; Bytespider; spider-feedback@bytedance.com)
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: zh-CN,zh;q=0.8
Accept-Encoding: gzip, deflate
Connection: close"""
_PERPLEXITYBOT = """Host: {host}
User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; \
+https://perplexity.ai/perplexitybot)
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Encoding: gzip, deflate, br
Connection: keep-alive"""
_GOOGLEBOT = """Host: {host}
Connection: keep-alive
Accept: text/html,application/xhtml+xml,application/signed-exchange;v=b3,application/xml;q=0.9,*/*;q=0.8
From: googlebot(at)googlebot.com
User-Agent: Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/154.0.7801.92 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
Accept-Encoding: gzip, deflate, br"""
_REAL_GOOGLEBOT = f"{_GOOGLEBOT}\nX-Forwarded-For: 198.51.100.66"
_SPOOFED_GOOGLEBOT = f"{_GOOGLEBOT}\nX-Forwarded-For: 203.0.113.50"
_BINGBOT = """Cache-Control: no-cache
Connection: Keep-Alive
Pragma: no-cache
Accept: */*
Accept-Encoding: gzip, deflate
From: bingbot(at)microsoft.com
Host: {host}
User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; \
+http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36
X-Forwarded-For: 198.51.100.130"""
_CURL = "Host: {host}\nUser-Agent: curl/8.16.0\nAccept: */*"

VISITORS: tuple[Visitor, ...] = (
    Visitor(
        "Listener, Chrome on Windows",
        "listener",
        (
            _get("/", _CHROME_PAGE),
            _get("/tracks/lanterns-at-low-tide", _CHROME_PAGE),
            _get(
                "/harbour.svg",
                f"""Host: {{host}}
Connection: keep-alive
{_CHROME_HINTS}
User-Agent: {_CHROME_UA}
Accept: image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: no-cors
Sec-Fetch-Dest: image
Referer: http://{{host}}/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9""",
            ),
            _get(
                "/search/results?q=piano",
                f"""Host: {{host}}
Connection: keep-alive
X-Requested-With: XMLHttpRequest
{_CHROME_HINTS}
HX-Request: true
User-Agent: {_CHROME_UA}
Accept: */*
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: http://{{host}}/search
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9""",
            ),
        ),
    ),
    Visitor(
        "Audio element in Chrome",
        "player",
        (
            _get("/audio/lanterns-at-low-tide.wav", _CHROME_AUDIO + "bytes=0-"),
            _get("/audio/lanterns-at-low-tide.wav", _CHROME_AUDIO + "bytes=1376256-"),
        ),
    ),
    Visitor(
        "Listener, Firefox on Android",
        "listener",
        (
            _get("/tracks/paper-boats", _FIREFOX_MOBILE),
            _get("/audio/paper-boats.wav", _FIREFOX_MOBILE_AUDIO),
        ),
    ),
    Visitor(
        "Safari on iPhone (AppleCoreMedia)",
        "player",
        (
            _get("/audio/slow-signal.wav", _CORE_MEDIA),
            _get("/audio/slow-signal.wav", _CORE_MEDIA.replace("bytes=0-1", "bytes=0-65535")),
        ),
    ),
    Visitor(
        "Overcast feed sync",
        "podcast",
        (
            _get(
                "/feed.xml",
                """Host: {host}
User-Agent: Overcast/1.0 Podcast Sync (42 subscribers; feed-id=901823; +http://overcast.fm/)
Accept: */*
Accept-Encoding: gzip
Connection: keep-alive""",
            ),
        ),
    ),
    Visitor(
        "AntennaPod episode download",
        "podcast",
        (
            _get(
                "/audio/midnight-timetable.wav",
                """User-Agent: AntennaPod/3.9.0
Accept-Encoding: identity
Range: bytes=0-
Host: {host}
Connection: Keep-Alive""",
            ),
        ),
    ),
    Visitor(
        "Apple Podcasts",
        "podcast",
        (
            _get(
                "/feed.xml",
                """Host: {host}
Accept: */*
User-Agent: Podcasts/4027.500.3 CFNetwork/3826.600.41 Darwin/24.6.0
Accept-Language: en-GB,en;q=0.9
Accept-Encoding: gzip, deflate
Connection: keep-alive""",
            ),
            _get("/audio/salt-on-the-strings.wav", _CORE_MEDIA, "HEAD"),
            _get("/audio/salt-on-the-strings.wav", _CORE_MEDIA),
        ),
    ),
    Visitor(
        "Miniflux",
        "feed",
        (
            _get(
                "/feed.xml",
                """Host: {host}
User-Agent: Mozilla/5.0 (compatible; Miniflux/2.2.13; +https://miniflux.app)
Accept: application/xml, application/atom+xml, application/rss+xml, application/rdf+xml, application/feed+json, \
text/html, */*;q=0.9
Accept-Encoding: br,gzip
Connection: close""",
            ),
        ),
    ),
    Visitor("Googlebot", "search", (_get("/robots.txt", _REAL_GOOGLEBOT), _get("/tracks/", _REAL_GOOGLEBOT))),
    Visitor("spoofed Googlebot", "ai", (_get("/robots.txt", _SPOOFED_GOOGLEBOT), _get("/tracks/", _SPOOFED_GOOGLEBOT))),
    Visitor("bingbot", "search", (_get("/robots.txt", _BINGBOT), _get("/artists/moth-atlas", _BINGBOT))),
    Visitor(
        "Discord preview",
        "preview",
        (
            _get(
                "/tracks/midnight-timetable",
                """Host: {host}
User-Agent: Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)
Accept-Encoding: gzip, deflate, br
Connection: close""",
            ),
            _get(
                "/covers/midnight-timetable.png",
                """Host: {host}
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 11.6; rv:92.0) Gecko/20100101 Firefox/92.0
Accept-Encoding: gzip, deflate, br
Connection: close""",
            ),
        ),
    ),
    Visitor(
        "Slack preview",
        "preview",
        (
            _get(
                "/tracks/slow-signal",
                """Host: {host}
User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)
Range: bytes=0-32768
Accept: */*
Accept-Encoding: gzip,deflate
Connection: close""",
            ),
        ),
    ),
    Visitor(
        "Mastodon preview",
        "preview",
        (
            _get(
                "/tracks/foghorn-lullaby",
                """User-Agent: Mastodon/4.5.2 (http.rb/5.3.1; +https://social.example/) Bot
Accept: text/html
Accept-Encoding: gzip
Connection: close
Host: {host}""",
            ),
        ),
    ),
    Visitor(
        "iMessage preview",
        "preview",
        (
            _get(
                "/tracks/paper-boats",
                """Host: {host}
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-gb
Connection: keep-alive
Accept-Encoding: gzip, deflate
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) \
Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0""",
            ),
        ),
    ),
    Visitor(
        "VLC",
        "player",
        (
            _get(
                "/audio/foghorn-lullaby.wav",
                """Host: {host}
Accept: */*
Accept-Language: en_GB
User-Agent: VLC/3.0.24 LibVLC/3.0.24
Range: bytes=0-""",
            ),
        ),
    ),
    Visitor("curl", "tool", (_get("/", _CURL), _get("/audio/paper-boats.wav", _CURL, "HEAD"))),
    Visitor(
        "GPTBot",
        "ai",
        (
            _get("/robots.txt", _GPTBOT),
            _get("/tracks/lanterns-at-low-tide", _GPTBOT),
            _get("/audio/lanterns-at-low-tide.wav", _GPTBOT + "\nRange: bytes=0-1048575"),
        ),
    ),
    Visitor("ClaudeBot", "ai", (_get("/robots.txt", _CLAUDEBOT), _get("/artists/ines-halvorsen", _CLAUDEBOT))),
    Visitor("CCBot", "ai", (_get("/robots.txt", _CCBOT), _get("/press/", _CCBOT))),
    Visitor(
        "Bytespider, without a look at robots.txt",
        "ai",
        (_get("/", _BYTESPIDER), _get("/audio/midnight-timetable.wav", _BYTESPIDER)),
    ),
    Visitor("PerplexityBot", "ai", (_get("/tracks/slow-signal", _PERPLEXITYBOT),)),
    Visitor(
        "ChatGPT-User",
        "ai",
        (
            _get(
                "/tracks/foghorn-lullaby",
                """host: {host}
user-agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; \
+https://openai.com/bot
accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
accept-encoding: gzip, deflate, br
accept-language: en-US,en;q=0.9""",
            ),
        ),
    ),
    Visitor(
        "img2dataset",
        "ai",
        (
            _get(
                "/covers/paper-boats.png",
                """Accept-Encoding: identity
Host: {host}
User-Agent: Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:72.0) Gecko/20100101 Firefox/72.0 \
(compatible; img2dataset; +https://github.com/rom1504/img2dataset)
Connection: close""",
            ),
        ),
    ),
    Visitor(
        "yt-dlp, dressed as Chrome",
        "tool",
        (
            _get(
                "/audio/slow-signal.wav",
                """Host: {host}
User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 \
Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-us,en;q=0.5
Sec-Fetch-Mode: navigate
Accept-Encoding: identity
Connection: close""",
            ),
        ),
    ),
    Visitor(
        "A user agent of broken bytes",
        "odd",
        (
            Line(
                "GET",
                "/",
                (
                    (b"Host", HOST),
                    (b"User-Agent", b"Mozill\xe9/5.0 (\xff\xfe\xc3\x28 \xf0\x9f\x8e) \x80\x81"),
                    (b"Accept", b"*/*"),
                ),
            ),
        ),
    ),
    Visitor("An empty user agent", "odd", (_get("/", "Host: {host}\nUser-Agent:\nAccept: */*"),)),
    Visitor("No user agent at all", "odd", (_get("/", "Host: {host}\nAccept: */*"),)),
    Visitor(
        "A user agent of 64 KB",
        "odd",
        (_get("/", f"Host: {{host}}\nUser-Agent: {'Mozilla/5.0 (compatible) ' * 2731}\nAccept: */*"),),
    ),
    Visitor(
        "Two User-Agent lines, a browser and GPTBot",
        "odd",
        (
            _get(
                "/tracks/paper-boats",
                f"Host: {{host}}\nUser-Agent: {_CHROME_UA}\nUser-Agent: GPTBot/1.3\nAccept: */*",
            ),
        ),
    ),
)
