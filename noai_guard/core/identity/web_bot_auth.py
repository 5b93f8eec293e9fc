"""Web Bot Auth: requests that an agent signs (RFC 9421, profile draft-ietf-webbotauth-httpsig-protocol-00, 2026-09).

http-message-signatures rebuilds what was signed, and cryptography checks the signature. What the profile asks beyond
that is here, because the library (3.0.0) does not ask it: what has to be covered, how long a signature holds, which
directory and key it belongs to, and that it is used once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from noai_guard.core.identity.signing_keys import PublicKey, SigningKey
from noai_guard.core.model import HeaderField
from noai_guard.core.questions import Examination, FirstUse
from noai_guard.core.web_addresses import is_inside, is_web_address

TAG = "web-bot-auth"
WELL_KNOWN = "/.well-known/http-message-signatures-directory"

MAX_LIFETIME = 24 * 3600
"""Seconds between `created` and `expires` at most, as the profile recommends."""

MAX_SKEW = 60
"""Seconds by which the clocks of client and server may differ."""

_FIELDS = (b"signature-agent", b"signature-input", b"signature")
_MAX_OCTETS = 8192
"""Octets of the three fields together. RSA-4096 takes 700 of them for a signature."""

_MAX_SIGNATURES = 3
"""Signatures of one request that are checked: an agent, and what it runs behind."""

_MAX_NONCE = 256
_PARAMETERS = {"created": int, "expires": int, "keyid": str, "tag": str, "nonce": str, "alg": str}
_OPTIONAL = ("nonce", "alg")


class SignatureOutcome(StrEnum):
    """What came of a signature; values of the label `outcome` of noai_signature_failures_total."""

    VERIFIED = "verified"
    NOT_SIGNED = "not_signed"
    MALFORMED = "malformed"
    NOT_COVERED = "not_covered"
    WINDOW = "window"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    DIRECTORY_UNSUPPORTED = "directory_unsupported"
    DIRECTORY_UNKNOWN = "directory_unknown"
    DIRECTORY_UNAVAILABLE = "directory_unavailable"
    KEY_UNKNOWN = "key_unknown"
    KEY_OUT_OF_DATE = "key_out_of_date"
    WRONG = "wrong"
    REPLAYED = "replayed"
    REPLAY_UNKNOWN = "replay_unknown"
    HOST_UNKNOWN = "host_unknown"
    NOT_INSTALLED = "not_installed"


_OF_TARGET = frozenset({"@path", "@query", "@query-param", "@request-target", "@target-uri"})

_UNANSWERED = (
    SignatureOutcome.DIRECTORY_UNAVAILABLE,
    SignatureOutcome.REPLAY_UNKNOWN,
    SignatureOutcome.NOT_INSTALLED,
)


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The outcome of checking the signatures of a request, and its steps as sentences for people.

    `directory` and `thumbprint` are those of the signature that the outcome is about; empty if none was read.
    """

    outcome: SignatureOutcome
    steps: tuple[str, ...]
    directory: str = ""
    thumbprint: str = ""

    @property
    def verified(self) -> bool:
        """True if a key of `directory` has signed this request."""
        return self.outcome is SignatureOutcome.VERIFIED

    @property
    def unanswered(self) -> bool:
        """True if the signature could not be checked because of the site's own side: no statement on the client."""
        return self.outcome in _UNANSWERED


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The request as a client may have signed it. `target` is path and query as they were sent, empty if the server
    does not tell; `authorities` are the names that the site is known by."""

    method: str
    target: bytes
    headers: Sequence[HeaderField]
    authorities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Signature:
    """One signature of a request, read and complete. `agent` is the address in Signature-Agent that it covers."""

    label: str
    components: tuple[tuple[str, Mapping[str, Any]], ...]
    parameters: Mapping[str, Any]
    octets: bytes
    agent: str


class _Rejected(Exception):
    """Raised with an outcome and a sentence."""

    def __init__(self, outcome: SignatureOutcome, sentence: str) -> None:
        self.outcome = outcome
        self.sentence = sentence
        super().__init__(sentence)


def is_signed(headers: Sequence[HeaderField]) -> bool:
    """Return True if a request carries a signature of whatever kind."""
    return any(name == b"signature-input" for name, _ in headers)


def directory_address(agent: str) -> str:
    """Return the address of the key set that a value of Signature-Agent stands for; empty if it stands for none.

    A host stands for its well-known directory (-00 and before); an address with a path is the key set itself (-01).
    """
    if not agent.isascii() or not agent.isprintable() or len(agent) > 512 or not is_web_address(agent):
        return ""
    parts = urlsplit(agent)
    if parts.scheme != "https" or parts.fragment or "@" in parts.netloc or " " in agent:
        return ""
    origin = f"https://{parts.netloc.lower().removesuffix(':443')}"
    if parts.path in ("", "/") and not parts.query:
        return origin + WELL_KNOWN
    return f"{origin}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def claimed_directories(headers: Sequence[HeaderField]) -> tuple[str, ...]:
    """Return the directories that a request names in Signature-Agent, signed or not, as `directory_address` does."""
    try:
        members = _agents(_fields(headers)[b"signature-agent"])
    except (_Rejected, ValueError):
        return ()
    addresses = (directory_address(address) for address, _ in members.values())
    return tuple(dict.fromkeys(address for address in addresses if address))


def check_signatures(
    request: SignedRequest,
    received_at: float,
    is_expected: Callable[[str, str], bool],
    *,
    max_lifetime: float = MAX_LIFETIME,
) -> Examination[SignatureCheck]:
    """Check the signatures of a request until one is verified; return that, else what came of the last.

    Yields a SigningKey and, for a signature that names a nonce, a FirstUse. `is_expected(directory, thumbprint)` says
    whether it would help to know that a key of a directory has signed; no other directory is asked. `received_at` is
    the time of day, in seconds since 1970.
    """
    try:
        signatures = list(_signatures(request.headers))
    except _Rejected as error:
        return SignatureCheck(error.outcome, (error.sentence,))
    check = SignatureCheck(SignatureOutcome.NOT_SIGNED, (f"no signature has the tag {TAG}",))
    for signature in signatures:
        check = yield from _check(request, signature, received_at, is_expected, max_lifetime)
        if check.verified:
            break
    return check


def _check(
    request: SignedRequest,
    signature: _Signature | _Rejected,
    received_at: float,
    is_expected: Callable[[str, str], bool],
    max_lifetime: float,
) -> Examination[SignatureCheck]:
    steps: list[str] = []
    directory = key_id = ""
    try:
        if isinstance(signature, _Rejected):
            raise signature
        key_id = signature.parameters["keyid"]
        directory = directory_address(signature.agent)
        covered = ", ".join(name for name, _ in signature.components)
        steps.append(f"signature {signature.label} covers {covered} and names {signature.agent}")
        if not directory:
            raise _Rejected(SignatureOutcome.DIRECTORY_UNSUPPORTED, "that is no https address of a key directory")
        _check_times(signature.parameters, received_at, max_lifetime)
        steps.append("it is within its time")
        if not is_expected(directory, key_id):
            raise _Rejected(SignatureOutcome.DIRECTORY_UNKNOWN, f"{directory} belongs to nobody whom it could prove")
        if not request.authorities:
            raise _Rejected(
                SignatureOutcome.HOST_UNKNOWN,
                "the policy does not say which host this is; write site: {url: https://...}",
            )
        keys = yield SigningKey(directory, key_id)
        if keys is None:
            raise _Rejected(SignatureOutcome.DIRECTORY_UNAVAILABLE, f"{directory} could not be read in time")
        if not keys:
            raise _Rejected(SignatureOutcome.KEY_UNKNOWN, f"{directory} has no usable key {key_id}")
        key: PublicKey = keys[0]
        if not key.not_before <= received_at + MAX_SKEW or not received_at - MAX_SKEW <= key.not_after:
            raise _Rejected(SignatureOutcome.KEY_OUT_OF_DATE, f"the key {key_id} does not hold at this time")
        steps.append(f"{directory} has its key {key_id}")
        if not _is_right(request, signature, key):
            raise _Rejected(SignatureOutcome.WRONG, "the key has not signed this request")
        steps.append("the key has signed this request")
        yield from _check_replay(signature.parameters, received_at, steps)
    except _Rejected as error:
        return SignatureCheck(error.outcome, (*steps, error.sentence), directory, key_id)
    return SignatureCheck(SignatureOutcome.VERIFIED, tuple(steps), directory, key_id)


def _check_times(parameters: Mapping[str, Any], received_at: float, max_lifetime: float) -> None:
    created, expires = parameters["created"], parameters["expires"]
    if not 0 < expires - created <= max_lifetime:
        raise _Rejected(
            SignatureOutcome.WINDOW, f"it holds for {expires - created} s; at most {max_lifetime:g} are taken"
        )
    if created > received_at + MAX_SKEW:
        late = f"{created - received_at:.0f}"
        raise _Rejected(
            SignatureOutcome.NOT_YET, f"it was made {late} s in the future: is the clock of the server right?"
        )
    if expires < received_at - MAX_SKEW:
        raise _Rejected(SignatureOutcome.EXPIRED, f"it has expired {received_at - expires:.0f} s ago")


def _check_replay(parameters: Mapping[str, Any], received_at: float, steps: list[str]) -> Examination[None]:
    nonce = parameters.get("nonce")
    if nonce is None:
        steps.append("it has no nonce: until it expires, whoever reads it could send it again")
        return
    left = max(1, int(parameters["expires"] - received_at) + 2 * MAX_SKEW)
    is_first = yield FirstUse(f"nonce|{parameters['keyid']}|{nonce}", left, received_at)
    if not isinstance(is_first, bool):  # a store of the site's own may answer anything
        raise _Rejected(SignatureOutcome.REPLAY_UNKNOWN, "the store did not say whether its nonce was used before")
    if not is_first:
        raise _Rejected(SignatureOutcome.REPLAYED, "its nonce has been used before")
    steps.append("its nonce is used for the first time")


def _fields(headers: Sequence[HeaderField]) -> dict[bytes, str]:
    """Return the three fields, several lines of one joined as RFC 9110 5.2 does."""
    lines: dict[bytes, list[bytes]] = {name: [] for name in _FIELDS}
    for name, value in headers:
        if name in lines:
            lines[name].append(value.strip(b" \t"))
    joined = {name: b", ".join(values) for name, values in lines.items()}
    if sum(map(len, joined.values())) > _MAX_OCTETS:
        raise _Rejected(SignatureOutcome.MALFORMED, f"its fields are longer than {_MAX_OCTETS} octets")
    return {name: value.decode("latin-1") for name, value in joined.items()}


def _parsed(text: str, kind: str) -> Any:
    import http_sf  # not on top: the build compiles the rules without it

    def reject_duplicate(key: str, context: str) -> None:
        raise _Rejected(SignatureOutcome.MALFORMED, "a key stands there twice, and readers differ in which one counts")

    return http_sf.parse(text.encode("latin-1"), tltype=kind, on_duplicate_key=reject_duplicate)


def _agents(field: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the members of Signature-Agent: address and parameters by key. The key of the legacy string is empty.

    Raises ValueError.
    """
    if field.startswith('"'):
        members = {"": _parsed(field, "item")}
    else:
        members = _parsed(field, "dictionary")
    return {
        key: (str(value), parameters)
        for key, (value, parameters) in members.items()
        if type(value) is str and str(parameters.get("type", "jwks_uri")) in ("jwks_uri", "directory")
    }


def _signatures(headers: Sequence[HeaderField]) -> Iterator[_Signature | _Rejected]:
    """Yield each signature with the profile's tag, or what is wrong with it. Raises _Rejected if none can be read."""
    fields = _fields(headers)
    try:
        inputs = _parsed(fields[b"signature-input"], "dictionary")
        octets = _parsed(fields[b"signature"], "dictionary")
    except (ValueError, UnicodeError):
        raise _Rejected(SignatureOutcome.MALFORMED, "Signature-Input or Signature cannot be read") from None
    try:
        agents = _agents(fields[b"signature-agent"])
    except (ValueError, UnicodeError):
        raise _Rejected(SignatureOutcome.MALFORMED, "Signature-Agent cannot be read") from None
    tagged = [(label, *member) for label, member in inputs.items() if member[1].get("tag") == TAG]
    for label, components, parameters in tagged[:_MAX_SIGNATURES]:
        try:
            yield _read(label, components, parameters, octets.get(label, (None, {}))[0], agents)
        except _Rejected as error:
            yield error


def _read(
    label: str,
    components: Any,
    parameters: Mapping[str, Any],
    octets: Any,
    agents: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> _Signature:
    if not isinstance(components, list) or not isinstance(octets, bytes):
        raise _Rejected(SignatureOutcome.MALFORMED, f"signature {label} is not complete")
    for name, kind in _PARAMETERS.items():
        if name not in parameters and name not in _OPTIONAL:
            raise _Rejected(SignatureOutcome.MALFORMED, f"signature {label} has no {name}")
        # No subclasses: a token or a date is no string and no integer, and True is no number.
        if name in parameters and type(parameters[name]) is not kind:
            raise _Rejected(SignatureOutcome.MALFORMED, f"{name} of signature {label} has the wrong type")
    if len(parameters.get("nonce", "")) > _MAX_NONCE or len(parameters["keyid"]) > _MAX_NONCE:
        raise _Rejected(SignatureOutcome.MALFORMED, f"nonce or keyid of signature {label} is too long")
    if any(type(name) is not str for name, _ in components):
        raise _Rejected(SignatureOutcome.MALFORMED, f"signature {label} covers what is no name")
    plain = {name for name, options in components if not options}
    if plain.isdisjoint(("@authority", "@target-uri")):
        raise _Rejected(SignatureOutcome.NOT_COVERED, f"signature {label} does not cover the host it is meant for")
    covered = [options.get("key", "") for name, options in components if name == "signature-agent"]
    named = [key for key in covered if key in agents] if covered != [""] else list(agents)
    agent = label if label in named else named[0] if len(named) == 1 else None
    if agent is None:
        raise _Rejected(SignatureOutcome.NOT_COVERED, f"signature {label} does not cover one usable Signature-Agent")
    return _Signature(label, tuple(map(tuple, components)), parameters, octets, agents[agent][0])


def _authorities(request: SignedRequest) -> tuple[str, ...]:
    """Return the names of the site that the request may have been signed for.

    That is the one in Host. Where Host is a name of the inside, a proxy of the site's own has put it there, and any
    name may have been signed; where it is another site's name, none.
    """
    hosts = {
        value.strip().decode("latin-1").lower().removesuffix(":443").removesuffix(":80")
        for name, value in request.headers
        if name == b"host"
    }
    named = tuple(authority for authority in request.authorities if authority in hosts)
    is_replaced = all(is_inside(f"http://{host}/") or "." not in host for host in hosts)
    return named or (request.authorities if is_replaced else ())


def _is_right(request: SignedRequest, signature: _Signature, key: PublicKey) -> bool:
    """Return True if the key has signed the request, under one of the site's names, over https or http."""
    try:
        return any(
            _verifies(request, signature, key, f"{scheme}://{authority}")
            for scheme, authority in product(("https", "http"), _authorities(request))
        )
    except ImportError:
        raise _Rejected(
            SignatureOutcome.NOT_INSTALLED, "signatures cannot be checked: pip install 'noai-guard[identity]'"
        ) from None


def _verifies(request: SignedRequest, signature: _Signature, key: PublicKey, origin: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver
    from http_message_signatures.algorithms import ED25519, RSA_PSS_SHA512

    class Resolver(HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Any:
            if not key.is_rsa:
                return Ed25519PublicKey.from_public_bytes(key.octets("x"))
            exponent, modulus = (int.from_bytes(key.octets(name), "big") for name in ("e", "n"))
            return RSAPublicNumbers(exponent, modulus).public_key()

    class Verifier(HTTPMessageVerifier):
        # It would read the clock; _check_times has looked at both.
        def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
            pass

    verifier = Verifier(signature_algorithm=RSA_PSS_SHA512 if key.is_rsa else ED25519, key_resolver=Resolver())
    try:
        verifier.verify(_message(request, signature, origin), max_age=None, expect_tag=TAG)
    except Exception:  # what is in a request may break either library; it is then not right
        return False
    return True


class _Lines(list[tuple[str, str]]):
    """Header lines as the library reads them: by `items()`, so that a name may stand several times."""

    def items(self) -> list[tuple[str, str]]:
        return self


@dataclass(frozen=True, slots=True)
class _Message:
    method: str
    url: str
    headers: _Lines


def _message(request: SignedRequest, signature: _Signature, origin: str) -> _Message:
    """Return the request with this signature alone: the library rejects all if one of them has another algorithm."""
    if not request.target and any(
        name in ("@path", "@query", "@query-param", "@request-target", "@target-uri")
        for name, _ in signature.components
    ):
        raise ValueError("the server does not tell the target as it was sent")
    import http_sf

    alone: dict[str, Any] = {
        "signature-input": {signature.label: (list(signature.components), dict(signature.parameters))},
        "signature": {signature.label: (signature.octets, {})},
    }
    lines = _Lines((name, http_sf.ser(member)) for name, member in alone.items())
    for name, value in request.headers:
        if name not in (b"signature-input", b"signature"):
            lines.append((name.decode("latin-1"), value.decode("latin-1")))
    target = request.target.decode("latin-1") or "/"
    return _Message(request.method, origin + target, lines)
