"""The only module of the audit that does I/O: one request at a time, bounded in time and bytes.

httpx2 sends them. It hands over header lines as they came (`headers.raw`), which the colon trap is about; h11 below it
bounds a header to 100 KiB; and on its asynchronous side one deadline covers everything from the name look-up to the
last byte of the body, which the standard library's client cannot do: its timeout begins anew with each byte.
"""

import asyncio
import zlib
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx2

from noai_guard.audit.addresses import is_web_address, leads_inside
from noai_guard.audit.probe.result import Lines, Probe, ProbeResult, Redirect

_MOST_HOPS = 5
"""Redirects that crawlers follow at least (RFC 9309, 2.3.1.2)."""


class Fetcher:
    """Makes requests, `delay` seconds after each other, each with its redirects in at most `seconds`.

    What gets no answer is asked once more. `requests` counts them; after `most_seconds` no more are made. Keeps no
    cookies, sends no credentials. A context manager.
    """

    def __init__(self, delay: float = 0.0, seconds: float = 20.0, most_seconds: float = 300.0) -> None:
        self.requests = 0
        self._delay = delay
        self._seconds = seconds
        self._ends_at = monotonic() + most_seconds
        self._runner = asyncio.Runner()
        # A connection for each request: visitors do not share one, and none is used that the server just closed.
        single = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(follow_redirects=False, timeout=None, limits=single)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def look(self, ask: Probe) -> ProbeResult:
        """What comes back. Never raises for what a network or a server does."""
        return self._runner.run(self._look(ask))

    async def _look(self, ask: Probe) -> ProbeResult:
        found = ProbeResult(ask.url, ask.url, ask.method, ask.client)
        if monotonic() > self._ends_at:
            return replace(found, problem="not asked, the time for the whole audit is over")
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    so_far = found
                    found = await self._one(ask, so_far)
                    if found.status == 0 and is_web_address(so_far.url):
                        found = await self._one(ask, so_far)
                    target = _target(found)
                    if target is None or len(found.hops) >= _MOST_HOPS:
                        return found
                    hop = Redirect(found.status, target)
                    found = ProbeResult(ask.url, target, ask.method, ask.client, hops=(*found.hops, hop))
        except TimeoutError:
            return replace(found, problem=f"no answer within {self._seconds:g} s")

    async def _one(self, ask: Probe, so_far: ProbeResult) -> ProbeResult:
        """One request without its redirects."""
        if not is_web_address(so_far.url):
            return replace(so_far, problem="not an address of the web")
        if self.requests and self._delay:
            await asyncio.sleep(self._delay)
        self.requests += 1
        self._client.cookies.clear()
        try:
            headers = {"accept": "*/*", "accept-encoding": "identity", **dict(ask.headers)}
            request = self._client.build_request(ask.method, so_far.url, headers=headers)
            del request.headers["user-agent"]
            if ask.user_agent is not None:
                request.headers["user-agent"] = ask.user_agent
            response = await self._client.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return replace(so_far, problem=_why(error))
        answer = replace(so_far, status=response.status_code, lines=_lines(response))
        try:
            async with asyncio.timeout(self._seconds / 2):
                return await _with_body(response, answer, ask.most_bytes)
        except TimeoutError:
            return replace(answer, problem="the body did not come to an end", complete=False)
        finally:
            await response.aclose()


async def _with_body(response: httpx2.Response, answer: ProbeResult, most: int) -> ProbeResult:
    pieces = bytearray()
    problem = ""
    try:
        async for piece in response.aiter_raw():
            pieces += piece
            if len(pieces) > most:
                break
    except (httpx2.HTTPError, OSError, ValueError) as error:
        problem = _why(error)
    body, is_whole = _decoded(bytes(pieces), answer.first("content-encoding").lower(), most)
    return replace(answer, body=body, complete=is_whole and not problem, problem=problem)


def _decoded(body: bytes, encoding: str, most: int) -> tuple[bytes, bool]:
    """A body without gzip or deflate, in which some servers send it though nobody asked; and whether it is whole."""
    if encoding in ("gzip", "x-gzip", "deflate"):
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            body = decoder.decompress(body, most + 1)
        except zlib.error:
            return b"", False
    return body[:most], len(body) <= most


def _lines(response: httpx2.Response) -> Lines:
    return tuple((name.decode("latin-1"), value.decode("latin-1").strip()) for name, value in response.headers.raw)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _target(look: ProbeResult) -> str | None:
    """Where a redirect leads, when it is one that is followed."""
    location = look.first("location")
    if look.status not in (301, 302, 303, 307, 308) or not location:
        return None
    try:
        target = urljoin(look.url, location)
    except ValueError:
        return None
    return target if is_web_address(target) and not leads_inside(look.url, target) else None
