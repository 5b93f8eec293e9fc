"""ASGI, WSGI, gateway, reverse proxy and `explain` decide alike, also about requests that nobody should send."""

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from noai_guard.cli import main
from noai_guard.core.model import HeaderField, Verdict
from noai_guard.gateway.app import Gateway
from noai_guard.middleware.wsgi import VERDICT
from noai_guard.reverse_proxy.guard import ProxyGuard
from noai_guard.reverse_proxy.request_validation import RequestValidation
from tests.middleware import asgi_kit, wsgi_kit
from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, metric
from tests.signing import Signer, directory_of
from tests.stores.shared_servers import running, wait_for

PROXY = ("127.0.0.1", 40000)
TRUSTED = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"


class Decision(NamedTuple):
    status: int
    action: str
    rule: str
    reasons: str


Driver = Callable[[str, Sequence[HeaderField]], Decision]
"""Sends one request, for a path and with these header lines, from a trusted proxy."""


def _decision(status: int, verdict: Verdict) -> Decision:
    return Decision(status, verdict.action, verdict.rule, "; ".join(verdict.reasons))


class Drivers:
    """The five drivers under one policy."""

    def __init__(self, folder: Path, text: str) -> None:
        text = TRUSTED + text
        self._file = folder / "noai.yaml"
        self._file.write_text(text, encoding="utf-8")
        self._asgi = asgi_kit.guarded(asgi_kit.answering(), text)
        self._wsgi = wsgi_kit.guarded(wsgi_kit.answering(), text)
        self._proxied = ProxyGuard(asgi_kit.answering(), self._file, registry=CollectorRegistry())
        self._gateway = Gateway(self._file, registry=CollectorRegistry())
        self.counted = (self._asgi, self._wsgi, self._proxied, self._gateway)
        self.all: dict[str, Driver] = {
            "asgi": self.asgi, "wsgi": self.wsgi, "reverse proxy": self.reverse_proxy, "gateway": self.gateway,
            "explain": self.explain,
        }  # fmt: skip

    def asgi(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        scope = asgi_kit.http(path, None, *headers, client=PROXY)
        return _decision(asgi_kit.ask(self._asgi, scope).status, scope["noai_guard.verdict"])

    def reverse_proxy(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        scope = asgi_kit.http(path, None, *headers, client=PROXY, raw_path=quote(path).encode())
        return _decision(asgi_kit.ask(RequestValidation(self._proxied), scope).status, scope["noai_guard.verdict"])

    def wsgi(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        joined: dict[str, list[str]] = {}
        for name, value in headers:
            key = f"HTTP_{name.decode().upper().replace('-', '_')}"
            joined.setdefault(key, []).append(value.decode("latin-1"))
        keys = {key: ",".join(values) for key, values in joined.items()}
        environ = wsgi_kit.http(path, None, REMOTE_ADDR=PROXY[0], REMOTE_PORT=str(PROXY[1]), **keys)
        return _decision(wsgi_kit.ask(self._wsgi, environ).status, environ[VERDICT])

    def gateway(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        original = (b"x-original-uri", quote(path).encode())
        exchange = asgi_kit.ask(self._gateway, asgi_kit.http("/.noai/verify", None, original, *headers, client=PROXY))
        values = [exchange.values(b"x-noai-" + name)[0].decode() for name in (b"verdict", b"rule", b"reason")]
        return Decision(exchange.status, *values)

    def explain(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        fields = [(b"host", b"music.example"), *headers]
        lines = [f"--header={name.decode()}: {value.decode('latin-1')}" for name, value in fields]
        options = [f"--policy={self._file}", "--format=json", f"--path={quote(path)}", f"--ip={PROXY[0]}"]
        facts = json.loads(CliRunner().invoke(main, ["explain", *options, *lines], catch_exceptions=False).stdout)
        status = facts["refusal"]["status"] if facts["refused"] else 200
        return Decision(status, facts["action"], facts["rule"], "; ".join(facts["reasons"]))


def user_agents(*lines: bytes) -> list[HeaderField]:
    return [*((b"user-agent", line) for line in lines), (b"x-forwarded-for", b"203.0.113.9")]


@pytest.mark.parametrize(
    ("user_agent", "status"),
    [
        (b"Krant Audio/2.0.0 (org.example.krant; Android 12; Sdk:31) OkHttp/4.9.3", 200),
        (b"MyBandApp/2.1 ktor-client/2.3.12", 200),
        (b"okhttp/4.12.0", 403),
        (b"ktor-client/2.3.12", 403),
        (b"MyBandApp/2.1 okhttp/4.12.0 GPTBot/1.2", 403),
    ],
)
def test_an_apps_name_before_its_library_is_the_app_for_every_driver(
    user_agent: bytes, status: int, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, "usages: {automation: no}\n")
    found = {name: driver("/song", user_agents(user_agent)) for name, driver in drivers.all.items()}
    assert {decision.action for decision in found.values()} == {"allow" if status == 200 else "deny"}, found


PRESS_OPEN = "paths: {/press/**: {usages: {train-ai: yes}}}\n"


@pytest.mark.parametrize("path", ["/press/" + "a" * 70_000, "/press" + "/a/.." * 15_000, "/press" + "/" * 2_000])
def test_a_path_that_is_too_long_to_be_read_refuses_a_scraper_in_every_driver_and_no_listener(
    path: str, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, PRESS_OPEN)
    for user_agent, status, rule in ((SCRAPER, 403, "unreadable"), (BROWSER, 200, "unclaimed")):
        decisions = {name: driver(path, user_agents(user_agent)) for name, driver in drivers.all.items()}
        assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
        assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)


LONG = b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) " + b"NetType/WIFI " * 200
UNREADABLE = {
    "in the middle of a long one": LONG[:1400] + b"GPTBot/1.3 " + LONG[1400:],
    "within a word in the middle of a long one": LONG[:1400] + b"xGPTBotx" + LONG[1400:],
    "escaped in the middle of a long one": LONG[:1400] + b"G%50T%42ot/1.3 " + LONG[1400:],
    "across the end of what is read closely": b"a" * 1021 + b"GPTBot" + b"b" * 3000,
    "behind two dozen look-alikes": b"xgptbot " * 24 + b"GPTBot/1.3",
    "among too many escapes": b"%20" * 300 + b"G%50TBot",
}
NAMED = {
    "and what an escape stands for": b"GPTBot%41",
    "and what an escape of a log stands for": b"GPTBot\\x41",
    "behind 7 KB": b"x " * 3500 + b"GPTBot/1.3",
}


@pytest.mark.parametrize("user_agent", [*UNREADABLE.values(), *NAMED.values()], ids=[*UNREADABLE, *NAMED])
def test_a_name_is_read_wherever_it_stands_in_a_user_agent(user_agent: bytes, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, "")
    decisions = {name: driver("/song", user_agents(user_agent)) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    expected = "unreadable" if user_agent in UNREADABLE.values() else "train-ai"
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (403, expected)


def test_a_long_user_agent_that_names_nobody_is_let_in(tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, "usages: {unknown-bot: no, automation: no}\n")
    decisions = {name: driver("/song", user_agents(LONG)) for name, driver in drivers.all.items()}
    assert {decision.rule for decision in decisions.values()} == {"unclaimed"}


SECTIONS = (
    "usages: {train-ai: yes}\npaths: {/songs/**: {usages: {train-ai: no}}, /press/**: {usages: {train-ai: yes}}}\n"
)


@pytest.mark.parametrize(
    "path",
    [
        "/songs/1/../../press/y", "/press/../songs/1", "/songs/../press", "/songs/..;/press", "/SONGS/1", "/Songs/1",
        "//press/songs/1", "/press\\..\\songs\\1", "/songs;x/1", "/./songs/1", "//songs/1", "/press/..;/songs/1",
    ],
)  # fmt: skip
def test_a_path_that_some_server_reads_as_a_refused_one_is_refused_by_every_driver(path: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, SECTIONS)
    for user_agent, status in ((SCRAPER, 403), (BROWSER, 200)):
        statuses = {name: driver(path, user_agents(user_agent)).status for name, driver in drivers.all.items()}
        assert statuses == dict.fromkeys(drivers.all, status)


WISHED = "usages: {train-ai: yes}\nworks: ['/audio/{work}.mp3', '/hls/{work}/**']\nwishes: "
CATALOGUE = 'work,train-ai\nno,disallow\ncaf\u00e9,disallow\nStra\u00dfe 7,disallow\n"q""\'x",disallow\nyes,allow\n'


@pytest.mark.parametrize(
    "path",
    [
        "/audio/no.mp3", "/AUDIO/NO.MP3", "//audio//no.mp3", "/audio/x/../no.mp3", "/audio/./no.mp3", "/hls/no",
        "/hls/no/", "/hls//no/1.ts", "/hls/yes/../no/1.ts", "/hls/yes\\..\\no\\1.ts", "/x/..;/hls/no/1.ts",
        "/audio/no.mp3;x=1", "/audio/caf\u00e9.mp3", "/audio/cafe\u0301.mp3",
        "/audio/CAF\u00c9.mp3", "/audio/Stra\u00dfe 7.mp3", "/audio/STRASSE 7.mp3", "/audio/q\"'x.mp3",
        "/audio/" + "./" * 4500 + "no.mp3", "/hls/yes\\..\\no/" + "x" * 1100,
    ],
)  # fmt: skip
def test_a_work_that_its_creator_disallows_is_refused_in_every_spelling_by_every_driver(
    path: str, tmp_path: Path
) -> None:
    catalogue = tmp_path / "catalogue.csv"
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    drivers = Drivers(tmp_path, f"{WISHED}{catalogue}\n")
    for user_agent, status in ((SCRAPER, 403), (BROWSER, 200)):
        statuses = {name: driver(path, user_agents(user_agent)).status for name, driver in drivers.all.items()}
        assert statuses == dict.fromkeys(drivers.all, status)
    assert {driver("/audio/yes.mp3", user_agents(SCRAPER)).status for driver in drivers.all.values()} == {200}


@pytest.mark.parametrize("path", ["/press/1", "/press/a;b", "/press//1", "/press/1/../2", "/PRESS/1", "/press/%2e%2e"])
def test_a_path_that_no_server_reads_as_a_refused_one_is_let_in_by_every_driver(path: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, SECTIONS)
    assert {driver(path, user_agents(SCRAPER)).status for driver in drivers.all.values()} == {200}


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/token", "/.well-known/pki-validation/fileauth.txt"])
def test_the_check_of_a_certificate_is_let_in_by_every_driver(path: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, "usages: {monitoring: no, automation: no, unknown-bot: no}\n")
    for user_agent in (
        SCRAPER,
        b"Mozilla/5.0 (compatible; Let's Encrypt validation server; +https://www.letsencrypt.org)",
    ):
        assert {driver(path, user_agents(user_agent)).status for driver in drivers.all.values()} == {200}
        assert {driver(path + "/../../../song", user_agents(SCRAPER)).status for driver in drivers.all.values()} == {
            403
        }


@pytest.mark.parametrize("path", ["/" + "a" * 20_000, "/" + "a/" * 10_000, "/%2e%2e/" * 500, "/" + "é" * 6_000])
def test_a_path_that_is_long_is_judged_alike(path: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, "paths: {/a/**: {usages: {train-ai: yes}}}\n")
    decisions = {name: driver(path, user_agents(SCRAPER)) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])


@pytest.mark.parametrize("position", [0, 1, 150, 255, 299])
def test_of_300_user_agent_lines_every_driver_reads_the_same(position: int, tmp_path: Path) -> None:
    lines = [BROWSER] * 300
    lines[position] = SCRAPER
    drivers = Drivers(tmp_path, "")
    decisions = {name: driver("/song", user_agents(*lines)) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])


def test_a_client_whose_address_cannot_be_read_is_throttled_alike_and_its_problem_counted_once(
    tmp_path: Path,
) -> None:
    drivers = Drivers(tmp_path, "usages: {automation: throttle}\nlimits: {throttle: {requests: 2, seconds: 3600}}\n")
    headers = [(b"user-agent", LIBRARY), (b"x-forwarded-for", b"nonsense")]
    decisions = {name: [driver("/song", headers) for _ in range(3)] for name, driver in drivers.all.items()}
    within = decisions["asgi"][0]
    assert [decision.status for decision in decisions["asgi"]] == [200, 200, 429]
    # `explain` shows the first request of a client, each time.
    assert decisions.pop("explain") == [within] * 3
    assert decisions == dict.fromkeys(decisions, decisions["asgi"])
    assert [metric(guard, "requests") for guard in drivers.counted] == [3] * 4
    assert [metric(guard, "address_problems") for guard in drivers.counted] == [3] * 4


@pytest.mark.parametrize(
    ("cache", "problem", "headers"),
    [
        ("cloudfront", "not_in_policy", [(b"user-agent", SCRAPER), (b"x-amz-cf-id", b"a==")]),
        ("fastly", "not_in_policy", [(b"user-agent", SCRAPER), (b"cdn-loop", b"Fastly"), (b"x-varnish", b"7")]),
        ("other", "not_in_policy", [(b"user-agent", BROWSER), (b"via", b"1.1 cache.example")]),
        ("cloudfront", "user_agent_hidden", [(b"user-agent", b"Amazon CloudFront")]),
    ],
)
def test_a_shared_cache_in_front_is_noticed_by_every_driver(
    cache: str, problem: str, headers: Sequence[HeaderField], tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, "")
    for driver in drivers.all.values():
        driver("/song", headers)
    for guard in drivers.counted:
        assert metric(guard, "shared_caches", cache=cache, problem=problem) >= 1
        assert metric(guard, "shared_caches") == metric(guard, "shared_caches", cache=cache, problem=problem)


GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
GOOGLES = "identity: {networks: {Googlebot: [198.51.100.0/24, '2001:db8:1::/48']}}\n"


@pytest.mark.parametrize(
    ("address", "status", "rule", "reason"),
    [
        (b"198.51.100.7", 200, "search", "the address is in a network that the policy gives for Googlebot"),
        (b"2001:db8:1::9", 200, "search", "the address is in a network that the policy gives for Googlebot"),
        (b"203.0.113.9", 403, "spoofed", "the address is in no network that the policy gives for Googlebot"),
        (b"10.1.2.3", 200, "search", "the address is a private one, of a proxy perhaps, so it proves nothing"),
    ],
)
def test_a_spoofed_googlebot_is_refused_by_every_driver_and_a_real_one_let_in(
    address: bytes, status: int, rule: str, reason: str, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, GOOGLES)
    headers = [(b"user-agent", GOOGLEBOT), (b"x-forwarded-for", address)]
    decisions = {name: driver("/song", headers) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)
    assert reason in decisions["asgi"].reasons


@pytest.mark.parametrize(
    ("user_agent", "signature_agent", "status", "rule"),
    [
        (BROWSER, b'"https://chatgpt.com"', 403, "ai-agent"),
        (BROWSER, b"https://chatgpt.com", 403, "ai-agent"),
        (BROWSER, b'sig1="https://chatgpt.com/keys.json";type=jwks_uri, sig2="https://x.example"', 403, "ai-agent"),
        (BROWSER, b'"https://nobody.example"', 200, "unknown-bot"),
        (GOOGLEBOT, b'"https://chatgpt.com"', 403, "ai-agent"),
        (SCRAPER, b'"https://nobody.example"', 403, "train-ai"),
    ],
)
def test_an_agent_named_in_signature_agent_is_refused_by_every_driver_and_nobody_is_let_in_for_one(
    user_agent: bytes, signature_agent: bytes, status: int, rule: str, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, GOOGLES)
    headers = [*user_agents(user_agent), (b"signature-agent", signature_agent)]
    decisions = {name: driver("/song", headers) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)


SIGNER = Signer()
PARTNER_KEY = b"noai_a_key_of_a_partner_that_is_long_enough_______"


def test_a_count_is_shared_by_all_drivers_through_one_store(tmp_path: Path) -> None:
    limit = 500
    headers = user_agents(SCRAPER)
    with running("redis", tmp_path) as redis:
        drivers = Drivers(
            tmp_path,
            f"site: {{url: https://music.example}}\nusages: {{train-ai: throttle}}\nstore: {redis.address}\n"
            f"limits: {{throttle: {{requests: {limit}, seconds: 86400}}}}\n",
        )
        for each in drivers.counted:
            each.runtime.start()
        stores = [each.runtime.store.remote for each in drivers.counted]
        wait_for(lambda: all(store and store.processes for store in stores))
        statuses = [drivers.asgi("/song", headers).status for _ in range(limit + 1)]
        assert statuses == [200] * limit + [429]
        for name in ("wsgi", "reverse proxy", "gateway"):
            asked = itertools.count()
            wait_for(lambda: next(asked) is None or drivers.all[name]("/song", headers).status == 429)  # noqa: B023
            assert next(asked) <= limit, f"{name} counts alone"
        for each in drivers.counted:
            each.runtime.close()


def _with_partners(folder: Path, text: str = "") -> Drivers:
    keys = folder / "keys.json"
    keys.write_bytes(directory_of(SIGNER))
    digest = hashlib.sha256(PARTNER_KEY).hexdigest()
    return Drivers(
        folder,
        "site: {url: https://music.example}\n"
        f"signatures: {{keys: {{https://rye.xyz: {keys}, https://partner.example: {keys}}}}}\npartners:\n"
        f"- {{name: by-key, proof: {{api_key: {digest}}}, usages: train-ai, paths: [/song/**]}}\n"
        "- {name: by-network, proof: {networks: [198.51.100.0/24]}, usages: train-ai, until: 2020-01-01}\n"
        "- {name: by-signature, proof: {signature: {directory: https://partner.example}}, usages: train-ai}\n" + text,
    )


def _signed(signer: Signer, host: str, agent: str) -> list[HeaderField]:
    covered = ("@authority", "signature-agent")
    return signer.headers(f"https://{host}/song/1", time.time(), agent=f'"{agent}"', covered=covered)


PARTNER = "https://partner.example"


@pytest.mark.parametrize(
    ("path", "headers", "status", "rule"),
    [
        ("/song/1", [(b"authorization", b"Bearer " + PARTNER_KEY)], 200, "partner:by-key"),
        ("/other", [(b"authorization", b"Bearer " + PARTNER_KEY)], 403, "partner:by-key"),
        ("/song/../other", [(b"authorization", b"Bearer " + PARTNER_KEY)], 403, "partner:by-key"),
        ("/song/1", [(b"authorization", b"Bearer " + PARTNER_KEY + b"x")], 403, "train-ai"),
        ("/song/1", [(b"authorization", b"Basic eDp5")], 403, "train-ai"),
        ("/song/1", [(b"x-forwarded-for", b"198.51.100.9")], 403, "partner:by-network"),
        ("/song/1", partial(_signed, SIGNER, "music.example", PARTNER), 200, "partner:by-signature"),
        ("/song/1", partial(_signed, SIGNER, "evil.example", PARTNER), 403, "train-ai"),
        ("/song/1", partial(_signed, Signer(), "music.example", PARTNER), 403, "train-ai"),
        ("/song/1", partial(_signed, SIGNER, "music.example", "https://evil.example"), 403, "train-ai"),
    ],
)
def test_a_partner_is_admitted_by_its_proof_in_every_driver_and_only_to_what_it_is_granted(
    path: str,
    headers: list[HeaderField] | Callable[[], list[HeaderField]],
    status: int,
    rule: str,
    tmp_path: Path,
) -> None:
    drivers = _with_partners(tmp_path)
    if callable(headers):  # a signature does not hold for long
        headers = headers()
    sent = [(b"user-agent", SCRAPER), *headers]
    if headers[0][0] != b"x-forwarded-for":
        sent.append((b"x-forwarded-for", b"203.0.113.9"))
    decisions = {name: driver(path, sent) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)


def test_a_signed_agent_is_verified_by_every_driver_and_one_with_another_key_is_not(tmp_path: Path) -> None:
    drivers = _with_partners(tmp_path, "rules: [{id: signed, agents: [RyeBot], identities: [verified], action: log}]\n")
    for signer, rule in ((SIGNER, "signed"), (Signer(), "ai-agent")):
        headers = [*user_agents(BROWSER), *_signed(signer, "music.example", "https://rye.xyz")]
        decisions = {name: driver("/song/1", headers) for name, driver in drivers.all.items()}
        assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
        assert decisions["asgi"].rule == rule
    for guard in drivers.counted:
        assert metric(guard, "signature_failures", outcome="key_unknown") == 1


OWN = """
agents:
  - {name: TrackGrab, usages: [scraper], expected_user_agent: [TrackGrab]}
  - {name: Silent, usages: [scraper], networks: [198.51.100.0/24, "2001:db8:5::/48"]}
  - {name: Proxied, usages: [scraper], headers: {X-Crawler: present, Via: [scrapoxy]}}
networks:
  hosting: [203.0.113.0/24]
paths: {/api/**: {usages: {nameless: no}}}
rules:
  - {id: hosting, networks: [hosting], identities: [unclaimed], paths: [/song], action: deny}
  - {id: service, headers: {X-Service: [zyte]}, action: deny}
  - {id: unlocked, networks: [hosting], headers: {X-Key: [abc]}, agents: [GPTBot], action: allow}
"""
ELSEWHERE = b"192.0.2.9"


@pytest.mark.parametrize(
    ("user_agent", "address", "headers", "path", "status", "rule"),
    [
        (b"TrackGrab/1.0", ELSEWHERE, {}, "/", 403, "scraper"),
        (BROWSER, ELSEWHERE, {}, "/song", 200, "unclaimed"),
        (BROWSER, b"198.51.100.7", {}, "/song", 403, "scraper"),
        (BROWSER, b"::ffff:198.51.100.7", {}, "/song", 403, "scraper"),
        (BROWSER, b"2001:db8:5::1", {}, "/", 403, "scraper"),
        (b"Googlebot/2.1", b"198.51.100.7", {}, "/", 403, "scraper"),
        (BROWSER, ELSEWHERE, {b"x-crawler": b"", b"via": b"1.1 Scrapoxy"}, "/", 403, "scraper"),
        (BROWSER, ELSEWHERE, {b"x-crawler": b"1", b"via": b"1.1 scrapoxys"}, "/", 200, "unclaimed"),
        (BROWSER, ELSEWHERE, {b"via": b"1.1 scrapoxy"}, "/", 200, "unclaimed"),
        (BROWSER, b"203.0.113.7", {}, "/song", 403, "hosting"),
        (BROWSER, b"203.0.113.7", {}, "/", 200, "unclaimed"),
        (BROWSER, b"203.0.113.7", {}, "//x/../song", 403, "hosting"),
        (b"VLC/3.0.21 LibVLC/3.0.21", b"203.0.113.7", {}, "/song", 200, "player"),
        (BROWSER, b"nonsense", {}, "/song", 200, "unclaimed"),
        (BROWSER, ELSEWHERE, {b"x-service": b"a zyte b"}, "/", 403, "service"),
        (BROWSER, ELSEWHERE, {b"x-service": b"a"}, "/", 200, "unclaimed"),
        (SCRAPER, b"203.0.113.7", {b"x-key": b"abc"}, "/", 200, "unlocked"),
        (SCRAPER, b"203.0.113.7", {b"x-key": b"abcd"}, "/", 403, "train-ai"),
        (SCRAPER, b"nonsense", {b"x-key": b"abc"}, "/", 403, "train-ai"),
        (b"-", ELSEWHERE, {}, "/api/song", 403, "nameless@/api/**"),
        (b"Mozilla/5.0", ELSEWHERE, {}, "/api/song", 403, "nameless@/api/**"),
        (b"foo/1.0", ELSEWHERE, {}, "/api//song", 403, "nameless@/api/**"),
        (b"foo/1.0", ELSEWHERE, {}, "/song", 200, "nameless"),
        (None, ELSEWHERE, {}, "/api/song", 403, "nameless@/api/**"),
        (b"My%20Band/1.0", ELSEWHERE, {}, "/api/song", 200, "unclaimed"),
        (b"Krant Audio/2.0.0 (Android 12)", ELSEWHERE, {}, "/api/song", 200, "unclaimed"),
        (b"VLC/3.0.21", ELSEWHERE, {}, "/api/song", 200, "player@/api/**"),
    ],
)
def test_the_sites_own_agents_networks_and_header_conditions_decide_alike_in_every_driver(
    user_agent: bytes | None, address: bytes, headers: dict[bytes, bytes], path: str, status: int, rule: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    drivers = Drivers(tmp_path, OWN)
    fields = [*headers.items(), (b"x-forwarded-for", address)]
    if user_agent is not None:
        fields.insert(0, (b"user-agent", user_agent))
    decisions = {name: driver(path, fields) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)


RECOGNISED = (
    GOOGLES
    + """
usages: {monitoring: log}
agents:
  - {name: Office, usages: [monitoring], networks: [198.51.100.0/24, 203.0.113.0/24]}
  - {name: Taker, usages: [scraper], headers: {X-Taker: present}}
partners:
  - {name: acme, proof: {networks: [192.0.2.0/24, 10.0.0.0/8]}, usages: [train-ai, scraper]}
"""
)
TAKER = [(b"x-taker", b"1")]


@pytest.mark.parametrize(
    ("user_agent", "address", "headers", "status", "rule"),
    [
        # Who is recognised by its network takes another's name.
        (BROWSER, b"203.0.113.9", [], 200, "monitoring"),
        (GOOGLEBOT, b"203.0.113.9", [], 403, "spoofed"),
        (GOOGLEBOT, b"198.51.100.9", [], 200, "monitoring"),
        (BROWSER, b"203.0.113.9", [(b"signature-agent", b'"https://chatgpt.com"')], 403, "ai-agent"),
        # Who is refused for its header fields comes from a partner's network, or from an address that proves nothing.
        (BROWSER, b"192.0.2.9", TAKER, 200, "partner:acme"),
        (BROWSER, b"10.1.2.3", TAKER, 403, "scraper"),
        (SCRAPER, b"192.0.2.9", [], 200, "partner:acme"),
        (SCRAPER, b"10.1.2.3", [], 403, "train-ai"),
    ],
)
def test_who_is_recognised_by_its_origin_is_still_checked_for_what_it_claims_in_every_driver(
    user_agent: bytes, address: bytes, headers: list[HeaderField], status: int, rule: str, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, RECOGNISED)
    fields = [(b"user-agent", user_agent), *headers, (b"x-forwarded-for", address)]
    decisions = {name: driver("/song", fields) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (status, rule)


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
@pytest.mark.parametrize("user_agent", [None, b"", b"-", b"Mozilla/5.0", b"foo/1.0", b"org.example.player"])
def test_a_client_without_a_name_is_refused_by_no_stance(user_agent: bytes | None, stance: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, f"extends: {stance}\n")
    fields = user_agents() if user_agent is None else user_agents(user_agent)
    decisions = {name: driver("/song", fields) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])
    assert (decisions["asgi"].status, decisions["asgi"].rule) == (200, "nameless")
