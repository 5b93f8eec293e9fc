"""The only module of the audit that does I/O: one request at a time, bounded in time and bytes.

httpx2 sends the requests. It hands over header lines as sent (`headers.raw`), without which a colon in X-Robots-Tag
could not be judged; h11 below it bounds a header to 100 KiB; and on its asynchronous side one deadline covers
everything from the name look-up to the last byte of the body, which the standard library's client cannot do: its
timeout begins anew with each byte.
"""

import asyncio
import zlib
from dataclasses import replace
from time import monotonic
from typing import Self

import httpx2

from noai_guard.audit.probe.result import Probe, ProbeResult, Redirect
from noai_guard.core.web_addresses import absolute_url, is_inside, is_web_address, leads_inside
from noai_guard.outbound import LeadsInside, peer_check

_MAX_REDIRECTS = 5
"""Redirects that crawlers follow at least (RFC 9309, 2.3.1.2)."""

_INSIDE = "it leads to this machine or its own network; if that is where the site is, say --allow-private"


class Fetcher:
    """Context manager that sends probes, `delay` seconds apart, each with its redirects within `timeout` seconds.

    A request without a response is sent once more. `requests` counts the requests; after `total_timeout` seconds none
    is sent any more. Keeps no cookies, sends no credentials.

    Without `allow_private`, nothing is sent to this machine or its own network, whatever an address, a redirect or a
    name leads to: the peer of each connection is looked at before the first byte. None stands for what the first
    address says: a site that is named by such an address is there.
    """

    def __init__(
        self,
        delay: float = 0.0,
        timeout: float = 20.0,
        total_timeout: float = 300.0,
        allow_private: bool | None = None,
    ) -> None:
        self.requests = 0
        self.allow_private = allow_private
        self._delay = delay
        self._timeout = timeout
        self._deadline = monotonic() + total_timeout
        self._runner = asyncio.Runner()
        # One connection a request: clients do not share one, and none is used that the server has just closed.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(follow_redirects=False, timeout=None, limits=limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def fetch(self, probe: Probe) -> ProbeResult:
        """Return the response. Never raises for what a network or a server does."""
        return self._runner.run(self._fetch(probe))

    async def _fetch(self, probe: Probe) -> ProbeResult:
        result = ProbeResult(probe.url, probe.url, probe.method, probe.client)
        if self.allow_private is None:
            self.allow_private = is_inside(probe.url)
        if monotonic() > self._deadline:
            return replace(result, problem="not asked, the time for the whole audit is over")
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    pending = result
                    result = await self._send(probe, pending)
                    if result.status == 0 and is_web_address(pending.url) and result.problem != _INSIDE:
                        result = await self._send(probe, pending)
                    target = _redirect_target(result, self.allow_private)
                    if not target or len(result.redirects) >= _MAX_REDIRECTS:
                        return result
                    redirects = (*result.redirects, Redirect(result.status, target))
                    result = ProbeResult(probe.url, target, probe.method, probe.client, redirects=redirects)
        except TimeoutError:
            return replace(result, problem=f"no answer within {self._timeout:g} s")

    async def _send(self, probe: Probe, pending: ProbeResult) -> ProbeResult:
        """Send one request to the URL of `pending`, and return `pending` with the response."""
        if not is_web_address(pending.url):
            return replace(pending, problem="not an address of the web")
        if not self.allow_private and is_inside(pending.url):
            return replace(pending, problem=_INSIDE)
        if self.requests and self._delay:
            await asyncio.sleep(self._delay)
        self.requests += 1
        self._client.cookies.clear()
        try:
            sent = {"accept": "*/*", "accept-encoding": "identity", **dict(probe.headers)}
            request = self._client.build_request(probe.method, pending.url, headers=sent)
            del request.headers["user-agent"]
            if probe.user_agent is not None:
                request.headers["user-agent"] = probe.user_agent
            if not self.allow_private:
                request.extensions["trace"] = peer_check(request.url.raw_host.decode("ascii"))
            response = await self._client.send(request, stream=True)
        except LeadsInside:
            return replace(pending, problem=_INSIDE)
        except Exception as error:  # whatever a server makes the client raise is a result
            return replace(pending, problem=_description(error))
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1").strip()) for name, value in response.headers.raw
        )
        result = replace(pending, status=response.status_code, headers=headers)
        try:
            async with asyncio.timeout(self._timeout / 2):
                return await _with_body(response, result, probe.max_bytes)
        except TimeoutError:
            return replace(result, problem="the body did not come to an end", complete=False)
        finally:
            await response.aclose()


async def _with_body(response: httpx2.Response, result: ProbeResult, max_bytes: int) -> ProbeResult:
    received = bytearray()
    problem = ""
    try:
        async for chunk in response.aiter_raw():
            received += chunk
            if len(received) > max_bytes:
                break
    except Exception as error:
        problem = _description(error)
    body, complete = _decoded(bytes(received), result.first("content-encoding").lower(), max_bytes)
    return replace(result, body=body, complete=complete and not problem, problem=problem)


def _decoded(body: bytes, encoding: str, max_bytes: int) -> tuple[bytes, bool]:
    """Return the body without gzip or deflate, which some servers send unasked, and whether it is complete."""
    if encoding in ("gzip", "x-gzip", "deflate"):
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            body = decoder.decompress(body, max_bytes + 1)
        except zlib.error:
            return b"", False
    return body[:max_bytes], len(body) <= max_bytes


def _description(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _redirect_target(result: ProbeResult, allow_private: bool | None) -> str:
    """Return the target of a redirect; empty if there is none, or none that is followed."""
    location = result.first("location")
    if result.status not in (301, 302, 303, 307, 308) or not location:
        return ""
    target = absolute_url(result.url, location)
    return "" if not allow_private and leads_inside(result.url, target) else target
