"""A verdict as the answer to a proxy, made once for all requests that get the same."""

from http import HTTPStatus
from zlib import crc32

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import HeaderField, Mode, Response
from noai_guard.core.policy import PathClass
from noai_guard.core.text import ascii_text
from noai_guard.gateway import contract
from noai_guard.middleware.cached_decisions import CachedDecision, Decided
from noai_guard.responses.header_fields import one_line_per_name

_MOST_SHOWN = 256
_LENGTH_0 = (b"content-length", b"0")
NO_STORE = (b"cache-control", b"no-store")


class EncodedResponse:
    """A response, and the same as it goes over the wire in HTTP/1.1."""

    __slots__ = ("response", "wire")

    def __init__(self, response: Response) -> None:
        self.response = response
        lines = [b"HTTP/1.1 %d %s" % (response.status, HTTPStatus(response.status).phrase.encode("ascii"))]
        lines += [b"%s: %s" % field for field in response.headers]
        self.wire = b"\r\n".join((*lines, b"", response.body))


class AuthResponses:
    """The answers under one policy. A verdict may be kept for `hold` seconds, 0 for not at all."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._native: BoundedCache[tuple[CachedDecision, Response | None, bytes], EncodedResponse] = BoundedCache(
            self._make_native
        )
        self._nginx: BoundedCache[tuple[CachedDecision, Response | None, bytes], EncodedResponse] = BoundedCache(
            self._make_nginx
        )
        self._keys: BoundedCache[tuple[CachedDecision, PathClass], bytes] = BoundedCache(_key_for_every_address)

    def native(self, judged: Decided, key: bytes) -> EncodedResponse:
        """200, or the complete refusal."""
        return self._native[judged.cached, judged.refusal, key]

    def for_nginx(self, judged: Decided, key: bytes) -> EncodedResponse:
        """In the two statuses that auth_request passes on: 204, or 403 with the true one in a header."""
        return self._nginx[judged.cached, judged.refusal, key]

    def key(self, judged: Decided, block: str | None) -> bytes:
        """For whom a verdict holds, empty where it may not be kept. `block` is of the client's address, None where
        the address does not matter."""
        if not (self._hold and judged.lasts and judged.path_class):
            return b""
        if block is None:
            return self._keys[judged.cached, judged.path_class]
        return _key(judged.cached, judged.path_class, block)

    def _make_native(self, key: tuple[CachedDecision, Response | None, bytes]) -> EncodedResponse:
        cached, refusal, lasting = key
        if refusal is None:
            return EncodedResponse(Response(200, (_LENGTH_0, *self._lasting(lasting), *_let_in(cached)), b""))
        return EncodedResponse(Response(refusal.status, (*refusal.headers, *verdict_headers(cached)), refusal.body))

    def _make_nginx(self, key: tuple[CachedDecision, Response | None, bytes]) -> EncodedResponse:
        cached, refusal, lasting = key
        if refusal is None:
            return EncodedResponse(Response(204, (*self._lasting(lasting), *_let_in(cached)), b""))
        status = (contract.STATUS.encode("ascii"), b"%d" % refusal.status)
        return EncodedResponse(
            Response(403, (_LENGTH_0, status, *self._lasting(lasting), *verdict_headers(cached)), b"")
        )

    def _lasting(self, key: bytes) -> tuple[HeaderField, ...]:
        if not key:
            return (NO_STORE,)
        return (b"cache-control", b"max-age=%d" % self._hold), (contract.KEY.encode("ascii"), key)


def _let_in(cached: CachedDecision) -> tuple[HeaderField, ...]:
    """What a proxy adds to a request that is let in, and to its response: one line for each name, because
    auth_request_set and the like see one value. (None of our X-Robots-Tag lines has a colon, so they may be joined.)"""
    return (*verdict_headers(cached), *one_line_per_name(cached.declared.fields).items())


def verdict_headers(cached: CachedDecision) -> tuple[HeaderField, ...]:
    """What a proxy is told of a verdict, in header fields of our own."""
    verdict = cached.verdict
    mode = Mode.ENFORCE if verdict.enforced else Mode.MONITOR
    values = (verdict.action, mode, _agent(cached), verdict.rule, "; ".join(verdict.reasons))
    names = (*contract.VERDICT, contract.REASON)
    return tuple((name.encode("ascii"), _ascii(value)) for name, value in zip(names, values, strict=True))


def _agent(cached: CachedDecision) -> str:
    agent = cached.verdict.agent
    return agent.name if agent else "none"


def _ascii(text: str) -> bytes:
    return ascii_text(text[:_MOST_SHOWN]).encode("ascii")


def _key_for_every_address(key: tuple[CachedDecision, PathClass]) -> bytes:
    return _key(*key, "*")


def _key(cached: CachedDecision, path_class: PathClass, block: str) -> bytes:
    """Agent, address block, and a short name for all paths that are judged alike; the same in every worker."""
    rules = ",".join(rule.id for rule in path_class.rules)
    paths = crc32(f"{path_class.path_policy}|{path_class.exempt}|{rules}".encode())
    return _ascii(f"{_agent(cached)}|{block}|{paths:08x}")
