"""Who can prove who it is: search engines by their addresses, a licensed partner until its grant ends, an agent that
signs its requests; and an agent of the site's own, which needs no proof to be refused."""

import hashlib
import json
import secrets
import shlex
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519
from prometheus_client import CollectorRegistry

from examples.demo.site import Site, Visit
from examples.music_site.visitors import Line, Visitor
from noai_guard import NoAIMiddleware
from noai_guard.core.identity.signing_keys import thumbprint
from noai_guard.core.model import HeaderField

_GPTBOT = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)"
_GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"
_DIRECTORY = "https://agent.bot.goog"
"""Where the catalogue says that Google's user-triggered agent publishes its keys; here the demo's own key stands in."""

_HOST = "night-ferry.example"
_POLICY = """\
site: {{url: https://night-ferry.example}}
trusted_proxies: {{peers: [127.0.0.1], header: x-forwarded-for}}
identity: {{networks: {{Googlebot: [198.51.100.0/25]}}}}
signatures: {{keys: {{{directory}: keys.json}}}}
agents:
  - {{name: Harvester, usages: [scraper], expected_user_agent: [TrackHarvest]}}
partners:
  - {{name: example-ai, proof: {{api_key: {current}}}, usages: [train-ai], paths: [/tracks/**], until: {tomorrow}}}
  - {{name: former-ai, proof: {{api_key: {former}}}, usages: [train-ai], paths: [/tracks/**], until: {yesterday}}}
rules:
  - {{id: signed-agents, identities: [verified], usages: [ai-agent], paths: [/tracks/**], action: log}}
features: {{reload: "off"}}
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One visit, the rule that should have decided about it, and the command that explains it."""

    visit: Visit
    expected: str
    command: str

    @property
    def rule(self) -> str:
        """The id of what decided, empty if the guard did not see the request."""
        return self.visit.verdict.rule if self.visit.verdict else ""

    @property
    def is_refused(self) -> bool:
        return self.visit.verdict is not None and self.visit.verdict.refuses

    @property
    def line(self) -> str:
        """The visit in words."""
        outcome = "refused" if self.is_refused else "let in"
        reasons = "; ".join(self.visit.verdict.reasons[1:]) if self.visit.verdict else self.visit.why
        return f"{self.visit.visitor}: {self.visit.status}, {outcome}, because {reasons} (rule {self.rule})"


def attempts(folder: Path) -> Iterator[Attempt]:
    """Yield each visit to a site of its own, whose policy is written to `noai.yaml` in a folder."""
    signer = _Signer()
    keys = [secrets.token_urlsafe(32) for _ in range(2)]
    current, former = (hashlib.sha256(key.encode()).hexdigest() for key in keys)
    yesterday, tomorrow = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
    file = folder / "noai.yaml"
    (folder / "keys.json").write_text(json.dumps({"keys": [signer.jwk]}))
    file.write_text(
        _POLICY.format(directory=_DIRECTORY, current=current, former=former, yesterday=yesterday, tomorrow=tomorrow)
    )
    bearer, ended = ((b"authorization", f"Bearer {key}".encode()) for key in keys)
    google, elsewhere = ((b"x-forwarded-for", address) for address in (b"198.51.100.7", b"203.0.113.7"))
    partner, former_partner = "partner:example-ai", "partner:former-ai"
    with Site(lambda policy, url: NoAIMiddleware(tracks, file, registry=CollectorRegistry()), 0) as site:

        def attempt(
            who: str, expected: str, user_agent: bytes, *fields: HeaderField, path: str = "/tracks/1"
        ) -> Iterator[Attempt]:
            headers = ((b"host", _HOST.encode()), (b"user-agent", user_agent), *fields)
            command = _explanation(file, path, user_agent, (headers[0], *fields))
            for visit in site.visited_by(Visitor(who, "odd", (Line("GET", path, headers),))):
                yield Attempt(visit, expected, command)

        yield from attempt("somebody who says to be Googlebot", "spoofed", _GOOGLEBOT, elsewhere)
        yield from attempt("Googlebot", "search", _GOOGLEBOT, google)
        yield from attempt("GPTBot without a licence", "train-ai", _GPTBOT, elsewhere)
        yield from attempt("a partner with its key", partner, _GPTBOT, elsewhere, bearer)
        yield from attempt("the partner, outside of what is licensed", partner, _GPTBOT, elsewhere, bearer, path="/")
        yield from attempt("a partner whose grant has ended", former_partner, _GPTBOT, elsewhere, ended)
        yield from attempt("an agent that signs its request", "signed-agents", _BROWSER, elsewhere, *signer.headers())
        yield from attempt("somebody who only says so", "ai-agent", _BROWSER, elsewhere, *_Signer().headers())
        yield from attempt("an agent that only this site knows", "scraper", b"TrackHarvest/2.0", elsewhere)


async def tracks(scope: Any, receive: Any, send: Any) -> None:
    """The app behind the guard."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"A track.\n"})


def _explanation(file: Path, path: str, user_agent: bytes, fields: tuple[HeaderField, ...]) -> str:
    """Return the command that explains a request."""
    headers = [option for name, value in fields for option in ("--header", f"{name.decode()}: {value.decode()}")]
    words = ("--policy", str(file), "--ip", "127.0.0.1", "--path", path, "--ua", user_agent.decode(), *headers)
    return f"noai-guard explain {shlex.join(words)}"


def failures_of(attempt: Attempt) -> Iterator[str]:
    """Yield a sentence if another rule decided than the one that should have."""
    if attempt.rule != attempt.expected:
        yield f"{attempt.visit.visitor}: rule {attempt.rule} decided, not {attempt.expected}"


class _Signer(HTTPSignatureKeyResolver):
    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        octets = self._private.public_key().public_bytes_raw()
        self.jwk = {"crv": "Ed25519", "kty": "OKP", "x": urlsafe_b64encode(octets).rstrip(b"=").decode()}

    def resolve_private_key(self, key_id: str) -> Any:
        return self._private

    def headers(self) -> list[HeaderField]:
        message = _Message(headers={"signature-agent": f'sig1="{_DIRECTORY}"'})
        HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=self).sign(
            message,
            key_id=thumbprint(tuple(self.jwk.items())),
            expires=datetime.now(UTC) + timedelta(minutes=1),
            nonce=secrets.token_urlsafe(16),
            label="sig1",
            tag="web-bot-auth",
            covered_component_ids=("@authority", '"signature-agent";key="sig1"'),
        )
        return [(name.lower().encode(), value.encode()) for name, value in message.headers.items()]


@dataclass
class _Message:
    headers: dict[str, str]
    method: str = "GET"
    url: str = "https://night-ferry.example/tracks/1"
