"""Signed requests: the drafts' own vectors, and every way in which a signature may not prove what it seems to."""

import json
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.identity.signing_keys import SigningKey, read_key, read_keys, thumbprint
from noai_guard.core.identity.web_bot_auth import (
    WELL_KNOWN,
    SignatureCheck,
    SignatureOutcome,
    SignedRequest,
    check_signatures,
    claimed_directories,
    directory_address,
    is_signed,
)
from noai_guard.core.model import HeaderField
from noai_guard.core.questions import FirstUse
from tests.signing import COVERED, Signer, directory_of

VECTORS = Path(__file__).parents[2] / "vectors" / "web_bot_auth"
DIRECTORY = "https://agent.example" + WELL_KNOWN
URL = "https://music.example/tracks/1?quality=high"
TARGET = b"/tracks/1?quality=high"
NOW = 1_700_000_000.0
SIGNER = Signer()
RSA = Signer.rsa()
Headers = list[HeaderField]


class Outside:
    """What the outside answers: the keys of directories, and whether a nonce is new."""

    def __init__(self, *signers: Signer, **more: Any) -> None:
        self.directories = {DIRECTORY: read_keys(directory_of(*(signers or (SIGNER, RSA)), **more))}
        self.used: set[str] = set()
        self.unavailable: tuple[type, ...] = ()
        self.asked: list[Any] = []

    def answer(self, question: Any) -> Any:
        self.asked.append(question)
        if isinstance(question, self.unavailable):
            return None
        if isinstance(question, FirstUse):
            is_first = question.key not in self.used
            self.used.add(question.key)
            return is_first
        assert isinstance(question, SigningKey)
        key = self.directories[question.directory].get(question.thumbprint)
        return () if key is None else (key,)


def check(
    headers: Headers,
    outside: Outside | None = None,
    *,
    at: float = NOW,
    method: str = "GET",
    target: bytes = TARGET,
    authorities: tuple[str, ...] = ("music.example",),
    expected: tuple[str, ...] = (DIRECTORY,),
    **options: Any,
) -> SignatureCheck:
    outside = outside or Outside()
    examination = check_signatures(
        SignedRequest(method, target, headers, authorities), at, lambda directory, key: directory in expected, **options
    )
    answer = None
    try:
        while True:
            answer = outside.answer(examination.send(answer))
    except StopIteration as done:
        result: SignatureCheck = done.value
        return result


def signed(signer: Signer = SIGNER, url: str = URL, at: float = NOW, **options: Any) -> Headers:
    return signer.headers(url, at, **options)


def changed(headers: Headers, name: bytes, old: bytes, new: bytes) -> Headers:
    assert old in dict(headers)[name]
    return [(field, value.replace(old, new) if field == name else value) for field, value in headers]


def without(headers: Headers, name: bytes) -> Headers:
    return [(field, value) for field, value in headers if field != name]


def replaced(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [*without(headers, name), (name, value)]


@pytest.mark.parametrize("signer", [SIGNER, RSA], ids=["ed25519", "rsa-pss"])
@pytest.mark.parametrize(
    "covered",
    [
        COVERED,
        ("@target-uri", *COVERED),
        ("@target-uri", COVERED[1]),
        ("@method", "@path", "@query", "@scheme", *COVERED),
        ("@request-target", *COVERED),
        ('"@query-param";name="quality"', *COVERED),
    ],
)
def test_a_signed_request_is_verified_whatever_else_it_covers(signer: Signer, covered: tuple[str, ...]) -> None:
    result = check(signed(signer, covered=covered))
    assert result.outcome is SignatureOutcome.VERIFIED, result.steps
    assert (result.directory, result.thumbprint) == (DIRECTORY, signer.public.thumbprint)
    assert "no nonce" in result.steps[-1]


def test_the_legacy_form_of_signature_agent_is_verified() -> None:
    headers = signed(agent='"https://agent.example"', covered=("@authority", "signature-agent"))
    assert check(headers).verified


def test_a_member_of_another_name_than_the_signature_is_verified() -> None:
    headers = signed(agent='other="https://agent.example"', covered=("@authority", '"signature-agent";key="other"'))
    assert check(headers).verified


def test_a_whole_signature_agent_with_one_member_is_verified() -> None:
    assert check(signed(covered=("@authority", "signature-agent"))).verified


def test_a_key_set_at_its_own_address_is_verified() -> None:
    outside = Outside()
    address = "https://agent.example/keys.json?v=2"
    outside.directories[address] = outside.directories[DIRECTORY]
    assert check(signed(agent=f'sig1="{address}"'), outside, expected=(address,)).verified


def test_a_site_has_several_names_and_any_is_right() -> None:
    names = ("music.example", "www.music.example", "music.example:8443")
    for name in names:
        assert check(signed(url=f"https://{name}/"), authorities=names).verified


def test_a_request_over_http_is_verified() -> None:
    assert check(signed(url=URL.replace("https", "http"), covered=("@target-uri", *COVERED))).verified


def test_a_second_signature_counts_when_the_first_is_wrong() -> None:
    first, second = dict(signed(Signer())), dict(signed(RSA))
    both = [
        (b"signature-agent", second[b"signature-agent"]),
        (b"signature-input", first[b"signature-input"].replace(b"sig1=", b"sig0=")),
        (b"signature-input", second[b"signature-input"]),
        (b"signature", first[b"signature"].replace(b"sig1=", b"sig0=")),
        (b"signature", second[b"signature"]),
    ]
    assert check(both).verified


def test_a_signature_of_a_proxy_with_another_tag_is_left_alone() -> None:
    headers = signed()
    headers = changed(headers, b"signature-input", b"sig1=", b'cdn=("@method");tag="cdn", sig1=')
    assert check(headers).verified
    assert check(signed(tag="other")).outcome is SignatureOutcome.NOT_SIGNED
    assert check(signed(tag=None)).outcome is SignatureOutcome.NOT_SIGNED


def test_a_nonce_is_used_once() -> None:
    outside, headers = Outside(), signed(nonce="abc")
    assert check(headers, outside).verified
    assert check(headers, outside).outcome is SignatureOutcome.REPLAYED
    assert check(signed(nonce="abd"), outside).verified
    uses = [question for question in outside.asked if isinstance(question, FirstUse)]
    assert all(question.seconds >= 60 + 60 for question in uses)  # until the signature has expired, by any clock
    assert all(SIGNER.public.thumbprint in question.key for question in uses)


def test_a_nonce_of_a_wrong_signature_is_not_used_up() -> None:
    outside, headers = Outside(), signed(nonce="abc", covered=("@method", *COVERED))
    assert check(headers, outside, method="POST").outcome is SignatureOutcome.WRONG
    assert check(headers, outside).verified


def test_without_the_extra_a_signature_proves_nothing_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "http_message_signatures", None)
    result = check(signed())
    assert (result.outcome, result.unanswered) == (SignatureOutcome.NOT_INSTALLED, True)
    assert "pip install 'noai-guard[identity]'" in result.steps[-1]


def test_a_directory_that_is_nobodys_is_never_asked() -> None:
    outside = Outside()
    result = check(signed(agent='sig1="https://evil.example"'), outside)
    assert result.outcome is SignatureOutcome.DIRECTORY_UNKNOWN
    assert not outside.asked


def test_what_nobody_answers_is_no_statement_on_the_client() -> None:
    outside = Outside()
    outside.unavailable = (SigningKey,)
    result = check(signed(), outside)
    assert (result.outcome, result.unanswered) == (SignatureOutcome.DIRECTORY_UNAVAILABLE, True)
    outside.unavailable = (FirstUse,)
    result = check(signed(nonce="n"), outside)
    assert (result.outcome, result.unanswered) == (SignatureOutcome.REPLAY_UNKNOWN, True)


@pytest.mark.parametrize("answer", [1, 0, "yes", "", b"1", [True]])
def test_a_store_that_answers_something_else_has_not_said_that_a_nonce_is_new(answer: object) -> None:
    class Odd(Outside):
        def answer(self, question: Any) -> Any:
            return answer if isinstance(question, FirstUse) else super().answer(question)

    assert check(signed(nonce="n"), Odd()).outcome is SignatureOutcome.REPLAY_UNKNOWN


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        # Not complete, or not readable.
        ([], "not_signed"),
        (without(signed(), b"signature"), "malformed"),
        (without(signed(), b"signature-input"), "not_signed"),
        (without(signed(), b"signature-agent"), "not_covered"),
        (replaced(signed(), b"signature", b"sig1=:!!:"), "malformed"),
        (replaced(signed(), b"signature", b"sig1=1"), "malformed"),
        (replaced(signed(), b"signature", b"sig2=:AAAA:"), "malformed"),
        (replaced(signed(), b"signature-input", b"sig1"), "not_signed"),
        (replaced(signed(), b"signature-input", b'sig1;tag="web-bot-auth"'), "malformed"),
        (replaced(signed(), b"signature-input", b"\xff"), "malformed"),
        (replaced(signed(), b"signature-agent", b"sig1=https://agent.example"), "not_covered"),
        (replaced(signed(), b"signature-agent", b"\xff"), "malformed"),
        ([*signed(), (b"signature", b"a=:" + b"A" * 9000 + b":")], "malformed"),
        ([*signed(), (b"signature", b"sig1=:AAAA:")], "malformed"),
        ([*signed(), (b"signature-input", b"sig1=()")], "malformed"),
        ([*signed(), (b"signature-agent", b'sig1="https://evil.example"')], "malformed"),
        (changed(signed(), b"signature-input", b"created=", b"made="), "malformed"),
        (changed(signed(), b"signature-input", b";expires=", b";until="), "malformed"),
        (changed(signed(), b"signature-input", b"keyid=", b"key="), "malformed"),
        (changed(signed(), b"signature-input", b"created=1700000000", b"created=1700000000.0"), "malformed"),
        (changed(signed(), b"signature-input", b"created=1700000000", b'created="1700000000"'), "malformed"),
        (changed(signed(), b"signature-input", b"created=1700000000", b"created"), "malformed"),
        (changed(signed(), b"signature-input", b"created=1700000000", b"created=@1700000000"), "malformed"),
        (changed(signed(nonce="n"), b"signature-input", b'nonce="n"', b"nonce=n"), "malformed"),
        (signed(nonce="n" * 257), "malformed"),
        (signed(key_id="k" * 257), "malformed"),
        (changed(signed(), b"signature-input", b'"@authority"', b"authority"), "malformed"),
        # Not covered.
        (signed(covered=("@method", "@path", COVERED[1])), "not_covered"),
        (signed(covered=("@authority",)), "not_covered"),
        (signed(covered=("@authority",), agent=""), "not_covered"),
        (changed(signed(), b"signature-input", b'"@authority"', b'"@authority";req'), "not_covered"),
        (signed(agent='sig1="https://agent.example", b="https://b.example"', covered=("@authority", "signature-agent")), "verified"),
        (signed(agent='a="https://agent.example", b="https://b.example"', covered=("@authority", "signature-agent")), "not_covered"),
        (signed(agent='sig1=("https://agent.example")'), "not_covered"),
        (signed(agent='sig1="https://agent.example";type=cimd'), "not_covered"),
        # Times.
        (signed(at=NOW - 600), "expired"),
        (signed(at=NOW - 121), "expired"),
        (signed(at=NOW + 61), "not_yet"),
        (signed(at=NOW + 600), "not_yet"),
        (signed(lifetime=86_401), "window"),
        (signed(lifetime=0), "window"),
        (signed(lifetime=-1), "window"),
        (changed(signed(), b"signature-input", b"created=1700000000", b"created=-999999999999999"), "window"),
        # Directories.
        (signed(agent='sig1="http://agent.example"'), "directory_unsupported"),
        (signed(agent='sig1="https://user@agent.example"'), "directory_unsupported"),
        (signed(agent='sig1="data:application/json,%7B%7D"'), "directory_unsupported"),
        (signed(agent='sig1="https://agent.example/#x"'), "directory_unsupported"),
        (signed(agent='sig1="agent.example"'), "directory_unsupported"),
        (signed(agent='sig1="https://agent.example.evil.example"'), "directory_unknown"),
        (signed(agent='sig1="https://agent.example:8443"'), "directory_unknown"),
        (signed(agent='sig1="https://agent.example/other"'), "directory_unknown"),
        # Keys.
        (signed(Signer()), "key_unknown"),
        (signed(key_id=RSA.public.thumbprint), "wrong"),
        (signed(RSA, key_id=SIGNER.public.thumbprint), "wrong"),
        (signed(Signer(), key_id=SIGNER.public.thumbprint), "wrong"),
        (signed(key_id="test-key-ed25519"), "key_unknown"),
        # What was signed is something else.
        (signed(url="https://evil.example/"), "wrong"),
        (signed(url="https://music.example:8443/"), "wrong"),
        (signed(covered=("@method", *COVERED), method="POST"), "wrong"),
        (signed(url="https://music.example/tracks/2", covered=("@path", *COVERED)), "wrong"),
        (signed(url="https://music.example/tracks/1", covered=("@query", *COVERED)), "wrong"),
        (signed(url="https://music.example/tracks/1?quality=low", covered=("@target-uri", *COVERED)), "wrong"),
        (signed(covered=("accept", *COVERED), more={"accept": "audio/*"})[1:], "wrong"),
        (changed(signed(agent='sig1="https://agent.example", x=1'), b"signature-agent", b"x=1", b"x=2"), "verified"),
        (changed(signed(), b"signature-input", b"created=1700000000", b"created=1700000001"), "wrong"),
        (changed(signed(), b"signature-input", b"expires=1700000060", b"expires=1700000061"), "wrong"),
        (changed(signed(nonce="a"), b"signature-input", b'nonce="a"', b'nonce="b"'), "wrong"),
        (changed(signed(), b"signature-input", b'"@authority" ', b'"@authority" "@authority" '), "wrong"),
        (changed(signed(), b"signature-input", b'"@authority" ', b'"@authority" "@method" '), "wrong"),
        (changed(signed(), b"signature-input", b'"@authority" ', b'"@authority" "@status" '), "wrong"),
        (changed(signed(), b"signature-input", b'"@authority" ', b'"@authority" "signature" '), "wrong"),
        (changed(signed(), b"signature-input", b"tag=", b'context="x";tag='), "wrong"),
        (changed(signed(include_alg=True), b"signature-input", b'alg="ed25519"', b'alg="hmac-sha256"'), "wrong"),
        (changed(signed(RSA, include_alg=True), b"signature-input", b"pss-sha512", b"v1_5-sha256"), "wrong"),
        (replaced(signed(), b"signature", b"sig1=:" + b64encode(bytes(64)) + b":"), "wrong"),
        (replaced(signed(), b"signature", b"sig1=::"), "wrong"),
    ],
)  # fmt: skip
def test_each_way_in_which_a_signature_is_not_what_it_seems_has_a_name(headers: Headers, outcome: str) -> None:
    result = check(headers)
    assert result.outcome == outcome, result.steps
    assert result.steps
    assert all(step.isprintable() for step in result.steps)


def test_a_request_that_only_a_proxy_can_have_changed_is_named_in_the_steps() -> None:
    assert check(signed(), authorities=()).outcome is SignatureOutcome.HOST_UNKNOWN
    assert check(signed(), authorities=("evil.example",)).outcome is SignatureOutcome.WRONG
    assert check(signed(covered=("@path", *COVERED)), target=b"").outcome is SignatureOutcome.WRONG
    assert check(signed(), target=b"").verified  # the target is not covered


@pytest.mark.parametrize(
    ("host", "verified"),
    [
        (b"music.example", True),
        (b"MUSIC.example:443", True),
        (b"www.music.example", False),
        (b"evil.example", False),
        (b"127.0.0.1:3000", True),
        (b"upstream", True),
        (b"site.internal:8080", True),
    ],
)
def test_a_request_is_signed_for_the_host_that_it_names_unless_a_proxy_of_ours_has_replaced_it(
    host: bytes, verified: bool
) -> None:
    names = ("music.example", "www.music.example")
    assert check([(b"host", host), *signed()], authorities=names).verified is verified


def test_a_clock_that_is_a_minute_off_is_borne_and_ten_minutes_are_not() -> None:
    assert check(signed(), at=NOW - 59).verified
    assert check(signed(), at=NOW + 60 + 59).verified
    assert check(signed(), at=NOW - 600).outcome is SignatureOutcome.NOT_YET
    assert "clock" in check(signed(), at=NOW - 600).steps[-1]
    assert check(signed(), at=NOW + 660).outcome is SignatureOutcome.EXPIRED


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"nbf": NOW + 3600}, "key_out_of_date"),
        ({"exp": NOW - 3600}, "key_out_of_date"),
        ({"nbf": NOW - 10, "exp": NOW + 10}, "verified"),
        ({"nbf": (NOW - 10) * 1000, "exp": (NOW + 10) * 1000}, "verified"),
        ({"exp": (NOW - 3600) * 1000}, "key_out_of_date"),
        ({"nbf": "soon"}, "key_unknown"),
        ({"exp": True}, "key_unknown"),
        ({"use": "enc"}, "key_unknown"),
        ({"use": "sig", "key_ops": ["verify"], "alg": "EdDSA", "kid": "whatever"}, "verified"),
        ({"key_ops": ["sign"]}, "key_unknown"),
        ({"key_ops": "verify"}, "key_unknown"),
        ({"alg": "ES256"}, "key_unknown"),
        ({"d": "AAAA"}, "key_unknown"),
        ({"crv": "X25519"}, "key_unknown"),
        ({"kty": "EC"}, "key_unknown"),
        ({"kty": ["OKP"]}, "key_unknown"),
        ({"x": "AAAA"}, "key_unknown"),
        ({"x": SIGNER.jwk["x"] + "="}, "key_unknown"),
        ({"x": None}, "key_unknown"),
        ({"x": "é"}, "key_unknown"),
    ],
)
def test_a_key_holds_as_its_directory_says(more: dict[str, Any], outcome: str) -> None:
    assert check(signed(), Outside(SIGNER, **more)).outcome == outcome


@pytest.mark.parametrize("bits", [1024, 5120])
def test_a_weak_or_a_costly_rsa_key_proves_nothing(bits: int) -> None:
    modulus = b64encode((1 << (bits - 1) | 1).to_bytes(bits // 8, "big"), b"-_").rstrip(b"=").decode()
    assert read_key({"kty": "RSA", "n": modulus, "e": "AQAB"}) is None


@pytest.mark.parametrize("exponent", ["Aw", "AQAA", "AQAAAAAB"])
def test_an_rsa_key_with_an_odd_exponent_of_usual_size_is_used(exponent: str) -> None:
    assert read_key({**RSA.jwk, "e": exponent}) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000, b'{"keys": [' * 20_000])
def test_what_is_no_key_set_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_keys(body)


def test_of_a_key_set_what_is_usable_is_used() -> None:
    body = json.dumps({"keys": [1, {}, SIGNER.jwk, *({"kty": "oct", "k": "AA"},) * 70, RSA.jwk]}).encode()
    assert list(read_keys(body)) == [SIGNER.public.thumbprint]


def test_the_thumbprints_of_the_vectors_are_ours() -> None:
    for vector in json.loads((VECTORS / "thumbprints.json").read_text()):
        jwk = json.loads(vector["jwk"])
        names = ("e", "kty", "n") if jwk["kty"] == "RSA" else ("crv", "kty", "x")
        assert thumbprint(tuple((name, jwk[name]) for name in names)) == vector["thumbprint"]


def _vectors() -> list[Any]:
    files = ("architecture_v1", "architecture_v2")
    return [vector for name in files for vector in json.loads((VECTORS / f"{name}.json").read_text())]


@pytest.mark.parametrize("vector", _vectors())
def test_the_vectors_of_the_drafts_verify(vector: dict[str, Any]) -> None:
    public = {name: value for name, value in vector["key"].items() if name in ("kty", "crv", "x", "n", "e", "alg")}
    outside = Outside()
    directory = "https://signature-agent.test" + WELL_KNOWN
    outside.directories = {directory: read_keys(json.dumps({"keys": [public]}).encode())}
    headers = [
        (field.replace("_", "-").encode(), vector[field].encode())
        for field in ("signature", "signature_input", "signature_agent")
        if field in vector
    ]
    options: dict[str, Any] = {
        "at": vector["created_ms"] / 1000 + 60,
        "authorities": ("example.com",),
        "target": b"/path/to/resource",
        "expected": (directory,),
    }
    result = check(headers, outside, **options, max_lifetime=1e12)
    if "signature_agent" not in vector:
        # Signatures without Signature-Agent name no directory, and prove nothing about anybody.
        assert result.outcome is SignatureOutcome.NOT_COVERED
        return
    assert result.verified, result.steps
    if vector["expires_ms"] - vector["created_ms"] > 86_400_000:
        assert check(headers, outside, **options).outcome is SignatureOutcome.WINDOW


def test_the_appendix_of_the_draft_verifies() -> None:
    vectors = json.loads((VECTORS / "draft_appendix.json").read_text())
    legacy = vectors["legacy_string"]
    outside = Outside()
    directory = "https://signature-agent.test" + WELL_KNOWN
    outside.directories = {directory: read_keys(vectors["directory_response"]["body"].encode())}
    headers = [(name.lower().encode(), value.encode()) for name, value in legacy["headers"].items()]
    result = check(
        headers, outside, at=legacy["valid_at"], authorities=("example.com",), target=b"/", expected=(directory,)
    )
    assert result.verified, result.steps


@pytest.mark.parametrize(
    ("agent", "address"),
    [
        ("https://agent.example", DIRECTORY),
        ("https://agent.example/", DIRECTORY),
        ("https://AGENT.example:443/", DIRECTORY),
        ("https://agent.example/keys", "https://agent.example/keys"),
        ("https://agent.example/?a", "https://agent.example/?a"),
        ("https://agent.example:8443", "https://agent.example:8443" + WELL_KNOWN),
        ("http://agent.example", ""),
        ("https://", ""),
        ("https://a b.example", ""),
        ("https://agent.example/a b", ""),
        ("https://agent.example\n", ""),
        ("https://ägent.example", ""),
        ("https://agent.example/" + "a" * 512, ""),
        ("ftp://agent.example", ""),
    ],
)
def test_an_address_in_signature_agent_stands_for_one_key_set(agent: str, address: str) -> None:
    assert directory_address(agent) == address


@pytest.mark.parametrize(
    ("value", "claimed"),
    [
        (b'"https://agent.example"', (DIRECTORY,)),
        (b'a="https://agent.example", b="https://b.example/k", c=1', (DIRECTORY, "https://b.example/k")),
        (b'a="https://agent.example";type=directory', (DIRECTORY,)),
        (b'a="ftp://x"', ()),
        (b"", ()),
        (b"\xff", ()),
        (b'"' + b"a" * 9000 + b'"', ()),
    ],
)
def test_a_request_claims_the_directories_that_it_names(value: bytes, claimed: tuple[str, ...]) -> None:
    assert claimed_directories([(b"accept", b"*/*"), (b"signature-agent", value)]) == claimed


def test_a_request_is_signed_if_it_says_how() -> None:
    assert is_signed(signed())
    assert not is_signed([(b"signature-agent", b'"https://agent.example"')])


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_field_makes_the_check_fail(agent: bytes, inputs: bytes, octets: bytes) -> None:
    headers = [(b"signature-agent", agent), (b"signature-input", inputs), (b"signature", octets)]
    assert not check(headers).verified


@given(st.data())
def test_no_changed_octet_is_verified(data: st.DataObject) -> None:
    headers = signed(covered=("@method", "@target-uri", *COVERED), nonce="abc")
    name = data.draw(st.sampled_from([b"signature-input", b"signature-agent", b"signature"]))
    value = bytearray(dict(headers)[name])
    index = data.draw(st.integers(0, len(value) - 1))
    value[index] = data.draw(st.integers(33, 126).filter(lambda octet: octet != value[index]))
    result = check(replaced(headers, name, bytes(value)))
    if result.verified:  # base64 whose last character has bits that nobody reads
        assert name == b"signature"
        octets = [b64decode(each.split(b":")[1]) for each in (bytes(value), dict(headers)[name])]
        assert octets[0] == octets[1]
