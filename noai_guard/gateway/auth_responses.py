"""Verdicts as responses to a proxy, each encoded once for all requests that get it."""

from http import HTTPStatus
from zlib import crc32

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import address_block
from noai_guard.core.decision_table import PathClass
from noai_guard.core.model import HeaderField, Mode, Response
from noai_guard.core.text import ascii_text
from noai_guard.gateway import contract
from noai_guard.middleware.active_policy import CachedDecision, Decided
from noai_guard.responses.header_fields import one_line_per_name

_MAX_LENGTH = 256
_LENGTH_0 = (b"content-length", b"0")
NO_STORE = (b"cache-control", b"no-store")


class EncodedResponse:
    """A response, and the bytes that it is in HTTP/1.1."""

    __slots__ = ("response", "wire")

    def __init__(self, response: Response) -> None:
        self.response = response
        lines = [b"HTTP/1.1 %d %s" % (response.status, HTTPStatus(response.status).phrase.encode("ascii"))]
        lines += [b"%s: %s" % field for field in response.headers]
        self.wire = b"\r\n".join((*lines, b"", response.body))


_Key = tuple[CachedDecision, Response | None, bytes, int]


class AuthResponses:
    """The responses under one policy. A proxy may keep a verdict for `hold` seconds, 0 for not at all."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._encoded: BoundedCache[_Key, EncodedResponse] = BoundedCache(self._encode)
        self._cache_keys: BoundedCache[tuple[CachedDecision, PathClass, str], bytes] = BoundedCache(
            lambda key: _cache_key(*key)
        )

    def encoded(self, decided: Decided, cache_key: bytes, refusing: int) -> EncodedResponse:
        """Return 200 to allow, or the complete refusal, which is not cached.

        For nginx, `refusing` is the status that auth_request passes on (else 0): return 204, or that status with the
        true one in a header.
        """
        if decided.refusal is not None and not refusing:
            cache_key = b""
        return self._encoded[decided.cached, decided.refusal, cache_key, refusing]

    def cache_key(self, decided: Decided) -> bytes:
        """Return the key (agent, address block, path class) of a verdict that a proxy may keep, or b""."""
        if not (self._hold and decided.cacheable and decided.path_class):
            return b""
        block = "*" if decided.client is None else address_block(decided.client.address)
        return self._cache_keys[decided.cached, decided.path_class, block]

    def _encode(self, key: _Key) -> EncodedResponse:
        cached, refusal, cache_key, refusing = key
        caching: tuple[HeaderField, ...] = (NO_STORE,)
        if cache_key:
            # nginx before 1.23 has the first of several User-Agent lines in variables, but all of them in Vary.
            lifetime = (b"cache-control", b"max-age=%d" % self._hold)
            caching = (lifetime, (b"vary", b"user-agent, signature-agent"), (contract.KEY.encode("ascii"), cache_key))
        verdict = verdict_headers(cached)
        if refusal is None:
            # One line for each name, because auth_request_set and the like see one value. (None of our X-Robots-Tag
            # lines has a colon, so they may be joined.)
            fields = (*caching, *verdict, *one_line_per_name(cached.declared.fields).items())
            return EncodedResponse(Response(204, fields, b"") if refusing else Response(200, (_LENGTH_0, *fields), b""))
        if not refusing:
            return EncodedResponse(Response(refusal.status, (*refusal.headers, *verdict), refusal.body))
        status = (contract.STATUS.encode("ascii"), b"%d" % refusal.status)
        return EncodedResponse(Response(refusing, (_LENGTH_0, status, *caching, *verdict), b""))


def verdict_headers(cached: CachedDecision) -> tuple[HeaderField, ...]:
    """Return the header fields of our own that describe a verdict."""
    verdict = cached.verdict
    mode = Mode.ENFORCE if verdict.enforced else Mode.MONITOR
    values = (verdict.action, mode, _agent(cached), verdict.rule, "; ".join(verdict.reasons))
    names = (*contract.VERDICT, contract.REASON)
    return tuple((name.encode("ascii"), _ascii(value)) for name, value in zip(names, values, strict=True))


def _agent(cached: CachedDecision) -> str:
    agent = cached.verdict.agent
    return agent.name if agent else "none"


def _ascii(text: str) -> bytes:
    return ascii_text(text[:_MAX_LENGTH]).encode("ascii")


def _cache_key(cached: CachedDecision, path_class: PathClass, block: str) -> bytes:
    """Return agent, address block, and a short name of the path class; the same in every worker."""
    rules = ",".join(rule.id for rule in path_class.rules)
    paths = crc32(f"{path_class.path_policy.pattern}|{path_class.exempt}|{rules}".encode())
    return _ascii(f"{_agent(cached)}|{block}|{paths:08x}")
