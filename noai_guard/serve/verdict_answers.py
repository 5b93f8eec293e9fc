"""A verdict as the answer to a proxy, made once for all requests that get the same."""

from http import HTTPStatus
from zlib import crc32

from noai_guard.forward_auth import contract
from noai_guard.memo import Memo
from noai_guard.model import HeaderField, Mode, Response
from noai_guard.policy import Zone
from noai_guard.serve.standing import Judged, Standing

_MOST_SHOWN = 256
_LENGTH_0 = (b"content-length", b"0")
NO_STORE = (b"cache-control", b"no-store")


class Prepared:
    """A response, and the same as it goes over the wire in HTTP/1.1."""

    __slots__ = ("response", "wire")

    def __init__(self, response: Response) -> None:
        self.response = response
        lines = [b"HTTP/1.1 %d %s" % (response.status, HTTPStatus(response.status).phrase.encode("ascii"))]
        lines += [b"%s: %s" % field for field in response.headers]
        self.wire = b"\r\n".join((*lines, b"", response.body))


class VerdictAnswers:
    """The answers under one policy. A verdict may be kept for `hold` seconds, 0 for not at all."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._native: Memo[tuple[Standing, Response | None, bytes], Prepared] = Memo(self._make_native)
        self._nginx: Memo[tuple[Standing, Response | None, bytes], Prepared] = Memo(self._make_nginx)
        self._keys: Memo[tuple[Standing, Zone], bytes] = Memo(_key_for_every_address)

    def native(self, judged: Judged, key: bytes) -> Prepared:
        """200, or the complete refusal."""
        return self._native[judged.standing, judged.refusal, key]

    def for_nginx(self, judged: Judged, key: bytes) -> Prepared:
        """In the two statuses that auth_request passes on: 204, or 403 with the true one in a header."""
        return self._nginx[judged.standing, judged.refusal, key]

    def key(self, judged: Judged, block: str | None) -> bytes:
        """For whom a verdict holds, empty where it may not be kept. `block` is of the client's address, None where
        the address does not matter."""
        if not (self._hold and judged.lasts and judged.zone):
            return b""
        if block is None:
            return self._keys[judged.standing, judged.zone]
        return _key(judged.standing, judged.zone, block)

    def _make_native(self, key: tuple[Standing, Response | None, bytes]) -> Prepared:
        standing, refusal, lasting = key
        if refusal is None:
            return Prepared(Response(200, (_LENGTH_0, *self._lasting(lasting), *_let_in(standing)), b""))
        return Prepared(Response(refusal.status, (*refusal.headers, *said(standing)), refusal.body))

    def _make_nginx(self, key: tuple[Standing, Response | None, bytes]) -> Prepared:
        standing, refusal, lasting = key
        if refusal is None:
            return Prepared(Response(204, (*self._lasting(lasting), *_let_in(standing)), b""))
        status = (contract.STATUS.encode("ascii"), b"%d" % refusal.status)
        return Prepared(Response(403, (_LENGTH_0, status, *self._lasting(lasting), *said(standing)), b""))

    def _lasting(self, key: bytes) -> tuple[HeaderField, ...]:
        if not key:
            return (NO_STORE,)
        return (b"cache-control", b"max-age=%d" % self._hold), (contract.KEY.encode("ascii"), key)


def _let_in(standing: Standing) -> tuple[HeaderField, ...]:
    """What a proxy adds to a request that is let in, and to its response: one line for each name, because
    auth_request_set and the like see one value. (None of our X-Robots-Tag lines has a colon, so they may be joined.)"""
    declared: dict[bytes, bytes] = {}
    for name, value in standing.declared.fields:
        declared[name] = b", ".join(filter(None, (declared.get(name), value)))
    return (*said(standing), *declared.items())


def said(standing: Standing) -> tuple[HeaderField, ...]:
    """What a proxy is told of a verdict, in header fields of our own."""
    verdict = standing.verdict
    mode = Mode.ENFORCE if verdict.enforced else Mode.MONITOR
    values = (verdict.action, mode, _agent(standing), verdict.rule, "; ".join(verdict.reasons))
    names = (*contract.VERDICT, contract.REASON)
    return tuple((name.encode("ascii"), _ascii(value)) for name, value in zip(names, values, strict=True))


def _agent(standing: Standing) -> str:
    agent = standing.verdict.agent
    return agent.name if agent else "none"


def _ascii(text: str) -> bytes:
    """Text as a header value: printable ASCII, cut."""
    plain = text[:_MOST_SHOWN].encode("ascii", "replace")
    return bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in plain).strip()


def _key_for_every_address(key: tuple[Standing, Zone]) -> bytes:
    return _key(*key, "*")


def _key(standing: Standing, zone: Zone, block: str) -> bytes:
    """Agent, address block, and a short name for all paths that are judged alike; the same in every worker."""
    rules = ",".join(rule.id for rule in zone.rules)
    paths = crc32(f"{zone.section}|{zone.exempt}|{rules}".encode())
    return _ascii(f"{_agent(standing)}|{block}|{paths:08x}")
