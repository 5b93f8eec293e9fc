"""Who can prove who it is: a licensed partner, until its grant ends, and an agent that signs its requests."""

import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519

from noai_guard.config import load_catalog, load_policy
from noai_guard.core.guard import Guard
from noai_guard.core.identity.signing_keys import SigningKey, thumbprint
from noai_guard.core.model import HeaderField, Verdict
from noai_guard.core.questions import STORE_QUESTIONS, run
from noai_guard.core.request import PlainRequest
from noai_guard.stores.key_directory import KeyDirectory
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.router import Router

_GPTBOT = (b"user-agent", b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)")
_BROWSER = (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0")
_DIRECTORY = "https://agent.bot.goog"
"""Where the catalogue says that Google's user-triggered agent publishes its keys; here the demo's own key stands in."""

_POLICY = """\
site: {{url: https://night-ferry.example}}
signatures: {{keys: {{{directory}: keys.json}}}}
partners:
  - name: example-ai
    proof: {{api_key: {digest}}}
    usages: [train-ai]
    paths: [/tracks/**]
    until: {until}
rules:
  - {{id: signed-agents, operators: [Google], identities: [verified], paths: [/tracks/**], action: log}}
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, what it got and why. `expected` is the rule that should have decided."""

    who: str
    verdict: Verdict
    expected: str

    @property
    def line(self) -> str:
        """The attempt in words."""
        outcome = "refused" if self.verdict.refuses else "let in"
        return f"{self.who}: {outcome}, because {self.verdict.reasons[-1]} (rule {self.verdict.rule})"


def attempts() -> Iterator[Attempt]:
    """Yield each attempt, judged by a guard with a policy of its own."""
    key, signer = secrets.token_urlsafe(32), _Signer()
    today = datetime.now(UTC)
    until = (today + timedelta(days=30)).strftime("%Y-%m-%d")
    with TemporaryDirectory() as folder:
        (Path(folder) / "keys.json").write_text(json.dumps({"keys": [signer.jwk]}))
        file = Path(folder) / "noai.yaml"
        digest = hashlib.sha256(key.encode()).hexdigest()
        file.write_text(_POLICY.format(directory=_DIRECTORY, digest=digest, until=until))
        policy = load_policy(file)
    guard = Guard(policy, load_catalog())
    keys = KeyDirectory()
    keys.known = policy.key_sets
    stores = Router({**dict.fromkeys(STORE_QUESTIONS, MemoryStore()), SigningKey: keys})

    def judged(*headers: HeaderField, path: str = "/tracks/1", days: int = 0) -> Verdict:
        request = PlainRequest(path, headers, target=path.encode())
        return run(guard.examine(request, None, time.time() + days * 86_400), stores, lambda question, error: None)

    bearer = (b"authorization", f"Bearer {key}".encode())
    yield Attempt("GPTBot without a licence", judged(_GPTBOT), "train-ai")
    yield Attempt("a partner with its key", judged(_GPTBOT, bearer), "partner:example-ai")
    yield Attempt("the partner, outside of what is licensed", judged(_GPTBOT, bearer, path="/"), "partner:example-ai")
    yield Attempt("the partner, the day after its grant", judged(_GPTBOT, bearer, days=31), "partner:example-ai")
    yield Attempt("an agent that signs its request", judged(_BROWSER, *signer.headers()), "signed-agents")
    yield Attempt("somebody who only says so", judged(_BROWSER, *_Signer().headers()), "ai-agent")


def failures_of(attempt: Attempt) -> Iterator[str]:
    """Yield a sentence if another rule decided than the one that should have."""
    if attempt.verdict.rule != attempt.expected:
        yield f"{attempt.who}: rule {attempt.verdict.rule} decided, not {attempt.expected}"


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
