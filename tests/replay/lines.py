"""Lines of services that cannot run here, written as their documentation says they write them (read 2026-11-29)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote, unquote

from noai_guard.core.paths import normal_path
from noai_guard.record.event_record import EventRecord, encode
from tests.replay.requests import Sent

_TIME = "2026-10-10T13:55:36"
_BYTES = 2326


def _text(value: bytes | None) -> str:
    return "-" if value is None else value.decode("latin-1")


def combined(sent: Sent) -> str:
    """Return a line as nginx writes it."""

    def escaped(value: bytes | None) -> str:
        plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in value or b"-")
        return "".join(plain)

    request = f"{sent.method.decode()} {escaped(sent.target)} HTTP/1.1"
    return (
        f'{sent.address} - - [10/Oct/2026:13:55:36 +0000] "{request}" 200 {_BYTES} "{escaped(sent.referer)}" '
        f'"{escaped(sent.user_agent)}"'
    )


def cloudfront(sent: Sent) -> str:
    # AWS, "Standard logging reference": values are URL-encoded, the stem is the path as it was requested.
    stem, _, query = sent.target.decode("latin-1").partition("?")
    user_agent = "-" if sent.user_agent is None else quote(sent.user_agent, safe="/;:,()+=@!*$&")
    fields = (
        *("2026-10-10", "13:55:36", "LHR62-C2", str(_BYTES), sent.address, sent.method.decode()),
        *("d111111abcdef8.cloudfront.net", stem, "200", _text(sent.referer or None), user_agent, query or "-", "-"),
        *("Hit", "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==", "music.example", "https", "23", "0.001"),
    )
    return "\t".join(fields)


def alb(sent: Sent) -> str:
    # AWS, "Access logs for your Application Load Balancer": what is not printable is \xHH, the target a whole URL.
    user_agent = combined(sent).rsplit(' "', 1)[1]
    target = "https://music.example:443" + sent.target.decode("latin-1")
    return (
        f"h2 {_TIME}.186641Z app/my-loadbalancer/50dc6c495c0c9188 {sent.address}:2817 10.0.0.1:80 0.086 0.048 0.037 "
        f'200 200 0 {_BYTES} "{sent.method.decode()} {target} HTTP/2.0" "{user_agent} ECDHE-RSA-AES128-GCM-SHA256 '
        f"TLSv1.2 arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/t/73e2d6bc24d8a067 "
        f'"Root=1-58337281-1d84f3d73c47ec4e58577259" "music.example" "-" 1 {_TIME}.086000Z "forward" "-" "-" '
        '"10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90'
    )


def cloudflare(sent: Sent) -> str:
    # Cloudflare, "HTTP requests" dataset of Logpush.
    return json.dumps(
        {
            "ClientIP": sent.address,
            "ClientRequestHost": "music.example",
            "ClientRequestMethod": sent.method.decode(),
            "ClientRequestURI": sent.target.decode("latin-1"),
            "ClientRequestReferer": (sent.referer or b"").decode("latin-1"),
            "ClientRequestUserAgent": (sent.user_agent or b"").decode("utf-8"),
            "EdgeStartTimestamp": f"{_TIME}Z",
            "EdgeResponseBytes": _BYTES,
            "EdgeResponseStatus": 200,
        }
    )


def event(sent: Sent) -> str:
    """Return a line of our own event log, as its writer writes it."""
    record = EventRecord(
        time=datetime.fromisoformat(f"{_TIME}Z"),
        method=sent.method.decode(),
        path=normal_path(unquote(sent.target.partition(b"?")[0].decode("latin-1"))),
        status=200,
        bytes=_BYTES,
        client=sent.address,
        user_agent=(sent.user_agent or b"").decode("utf-8"),
    )
    return encode(record).decode().rstrip("\n")


WRITERS: Mapping[str, Callable[[Sent], str]] = {
    "combined": combined,
    "cloudfront": cloudfront,
    "alb": alb,
    "cloudflare": cloudflare,
    "events": event,
}
"""Format -> function that writes a line."""


def as_logged(name: str, requests: Sequence[Sent]) -> Sequence[Sent]:
    """Return the requests as far as a format tells them: an event has the normal path in place of the one sent."""
    if name != "events":
        return requests
    return [replace(sent, target=quote(json.loads(event(sent))["path"]).encode()) for sent in requests]


def log(name: str, requests: Sequence[Sent]) -> bytes:
    """Return a log in a format."""
    return "".join(f"{WRITERS[name](sent)}\n" for sent in requests).encode("latin-1")


DOCUMENTED: Mapping[str, str] = {
    "combined": '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 '
    '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"',
    "common": '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326',
    "vhost_combined": 'www.example.com:443 2001:db8::7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 2326 '
    '"-" "Mozilla/5.0"',
    "haproxy": "Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 "
    '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"',
    "caddy": '{"level":"info","ts":1646861401.5241024,"logger":"http.log.access","msg":"handled request","request":'
    '{"remote_ip":"127.0.0.1","remote_port":"41342","client_ip":"127.0.0.1","proto":"HTTP/2.0","method":"GET",'
    '"host":"localhost","uri":"/","headers":{"User-Agent":["curl/7.82.0"],"Accept":["*/*"]}},"bytes_read":0,'
    '"user_id":"","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}}',
    "cloudfront": "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem "
    "sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type\n"
    "2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111111abcdef8.cloudfront.net\t/index.html\t200\t-\t"
    "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36\t-\t-\tHit",
    "alb": "https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 "
    '0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" '
    "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/"
    '73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:'
    '123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 2018-07-02T22:22:48.364000Z '
    '"authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90',
    "cloudflare": '{"ClientIP":"203.0.113.9","ClientRequestHost":"example.com","ClientRequestMethod":"GET",'
    '"ClientRequestURI":"/audio/a.mp3?x=1","EdgeEndTimestamp":1583340042000000000,"EdgeResponseBytes":4600,'
    '"EdgeResponseStatus":206,"EdgeStartTimestamp":1583340041000000000,"ClientRequestUserAgent":"GPTBot/1.3",'
    '"RayID":"3a6050bcbe121a87"}',
    "json": '{"time_iso8601":"2026-10-10T13:55:36+00:00","remote_addr":"203.0.113.9","request_method":"GET","request_uri":'
    '"/tracks/a?x=1","status":200,"body_bytes_sent":2,"http_user_agent":"GPTBot/1.3"}',
    "traefik": '{"ClientAddr":"203.0.113.9:4711","ClientHost":"203.0.113.9","ClientPort":"4711","DownstreamContentSize":'
    '2,"DownstreamStatus":200,"RequestMethod":"GET","RequestPath":"/tracks/a","RequestProtocol":"HTTP/1.1",'
    '"StartUTC":"2026-10-10T13:55:36.123456789Z","request_User-Agent":"GPTBot/1.3","level":"info","msg":"",'
    '"time":"2026-10-10T13:55:36Z"}',
}
"""Format -> a log of one request, from its documentation: Apache 2.4 mod_log_config, HAProxy configuration manual 8.2.3,
Caddy "How Logging Works", AWS and Cloudflare as above, nginx's variables, Traefik "Access Logs"."""
