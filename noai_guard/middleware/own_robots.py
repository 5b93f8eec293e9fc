"""An app's own robots.txt, requested behind the guard and read as Google reads it.

RFC 9309 section 2.3.1: 4xx means that there is none; a server error, no answer or a chain of redirects without an end
means that nobody knows, and then crawlers must not take everything for open.
"""

import asyncio
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from io import BytesIO
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit
from wsgiref.types import WSGIApplication, WSGIEnvironment

from noai_guard.asgi_types import App, Message, Scope
from noai_guard.core.model import HeaderField
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared.robots_file import MAX_BYTES, is_robots
from noai_guard.middleware.wsgi_request import key_of, latin_1
from noai_guard.version import __version__

_log = logging.getLogger("noai_guard")

USER_AGENT = f"noai-guard/{__version__}".encode("ascii")
"""Who asks the app, so that the answer does not depend on who has asked us."""

_OF_THE_CLIENT = frozenset(
    b"accept accept-charset accept-encoding accept-language authorization cache-control content-length content-type"
    b" cookie expect if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma"
    b" proxy-authorization range referer te transfer-encoding user-agent".split()
)
"""Request headers of one client or one session; the app is asked without them, for everybody."""

_OF_THE_CONNECTION = frozenset(b"forwarded host x-forwarded-host x-forwarded-port x-forwarded-proto".split())
"""Request headers that say which site is asked for. They change with a redirect to a complete address."""

_SESSION_KEYS = frozenset({"auth", "session", "user"})
"""What middleware around us knows of the client, in a scope."""

_REMOVED_KEYS = frozenset({*map(key_of, _OF_THE_CLIENT), "AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "REMOTE_USER"})
_TARGET_KEYS = ("PATH_INFO", "RAW_URI", "REQUEST_URI")
"""Keys of the path; in the last two, some servers repeat the request's target, which some apps read."""

_ROBOTS_SECONDS = 5.0
"""The time that an app has for its own robots.txt, redirects included."""

_MAX_REDIRECTS = 5  # RFC 9309 section 2.3.1.2; Google follows as many

_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})

_NO_TEXT = (b"audio/", b"font/", b"image/", b"multipart/", b"text/event-stream", b"video/")

_WINDOWS = {b"gzip": (31,), b"x-gzip": (31,), b"deflate": (15, -15)}
"""Content coding -> what zlib calls its formats. Some servers send deflate without the header of zlib."""

KNOWN_SECONDS = 24 * 3600.0
"""Seconds for which a robots.txt that was read stands while the app fails (RFC 9309 section 2.4)."""

_MAX_KNOWN_BYTES = 8 * 1024 * 1024
_KNOWN_ENTRY_BYTES = 512

_running_apps: set[asyncio.Task[None]] = set()
"""Apps that have still to finish after all that is read of their response has come."""


class Unknown(Exception):
    """It cannot be told whether the app has a robots.txt, or what it says."""


class Elsewhere(Exception):
    """The app redirects its robots.txt to `address`, where something else than the app answers."""

    def __init__(self, target: "Target") -> None:
        query = f"?{target.query}" if target.query else ""
        self.address = f"{target.scheme}://{target.host}{target.path}{query}"
        super().__init__(self.address)


class Target(NamedTuple):
    """The address of a robots.txt within an app. `path` is as sent; `host` is empty if no header says it."""

    scheme: str
    host: str
    path: str
    query: str = ""

    def redirected(self, location: bytes) -> "Target":
        """Return the target that a Location leads to. Raise Unknown if an app cannot be asked for it."""
        try:
            text = quote(location, safe="!#$%&'()*+,/:;=?@[]~")
            base = f"{self.scheme}://{self.host or 'host.invalid'}{self.path}"
            address = urlsplit(urljoin(base, text))
            host = address.hostname
            port = address.port
        except ValueError:
            host = None
        if not host or address.scheme not in ("http", "https") or "@" in address.netloc:
            raise Unknown(f"the app redirects {self.path} to an address that is none")
        netloc = f"[{host}]" if ":" in host else host
        netloc = _plain_host(netloc if port is None else f"{netloc}:{port}", address.scheme)
        return Target(address.scheme, "" if netloc == "host.invalid" else netloc, address.path or "/", address.query)


def _plain_host(host: str, scheme: str) -> str:
    """Return a host in lower case, without the port that its scheme has anyway."""
    return host.lower().removesuffix(":443" if scheme == "https" else ":80")


class _Response:
    """The app's response, as it comes in; `complete` once nothing of what follows matters."""

    __slots__ = ("_body", "_fields", "_length", "_status", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._body = bytearray()
        self._fields: dict[bytes, bytes] = {}
        self._length = self._status = 0

    def start(self, status: int, headers: Iterable[HeaderField]) -> None:
        fields: dict[bytes, bytes] = {}
        for name, value in headers:
            name = bytes(name).lower()
            fields[name] = fields[name] + b"," + value if name in fields else bytes(value)
        self._status, self._fields = status, fields
        self.complete = not 200 <= status < 300 or self._media_type.startswith(_NO_TEXT)
        self._body.clear()
        self._length = 0

    def add(self, chunk: bytes, *, last: bool = False) -> None:
        if not self.complete:
            self._length += len(chunk)
            self._body.extend(chunk[: MAX_BYTES + 1 - len(self._body)])
            self.complete = last or len(self._body) > MAX_BYTES

    @property
    def _media_type(self) -> bytes:
        return self._fields.get(b"content-type", b"").partition(b";")[0].strip().lower()

    def location(self) -> bytes | None:
        """Return where the app redirects to, or None if it does not."""
        return self._fields.get(b"location") if self._status in _REDIRECTS else None

    def robots(self) -> bytes:
        """Return at most MAX_BYTES of a robots.txt, whole lines; empty if the app has none. Raise Unknown."""
        status, media_type = self._status, self._media_type
        if 400 <= status < 500 and status != 429:  # which Google takes for a server error
            return b""
        if not 200 <= status < 300:
            raise Unknown(f"the app answered {status} for {robots_txt.PATH}")
        if media_type.startswith(_NO_TEXT):
            return b""
        announced = self._fields.get(b"content-length", b"")
        if not self.complete or (announced.isdigit() and self._length < min(int(announced), MAX_BYTES)):
            raise Unknown(f"the app's {robots_txt.PATH} broke off")
        body = _decoded(bytes(self._body), self._fields.get(b"content-encoding", b""))
        if len(body) > MAX_BYTES:
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
        return body if media_type == b"text/plain" or is_robots(body) else b""


def _decoded(body: bytes, codings: bytes) -> bytes:
    """Return the first MAX_BYTES + 1 bytes of what a content coding was applied to. Raise Unknown."""
    names = [name for part in codings.lower().split(b",") if (name := part.strip()) not in (b"", b"identity")]
    if not names:
        return body
    if len(names) == 1:
        for window in _WINDOWS.get(names[0], ()):
            try:
                return _inflated(body, window)
            except zlib.error:
                continue
    coding = codings.decode("latin-1")
    raise Unknown(f"the app's {robots_txt.PATH} cannot be decoded (Content-Encoding: {coding}); send it without")


def _inflated(body: bytes, window: int) -> bytes:
    """Return the first MAX_BYTES + 1 bytes of compressed data, of all its members. Raise zlib.error or Unknown."""
    result = b""
    rest = body
    while rest and len(result) <= MAX_BYTES:
        member = zlib.decompressobj(window)
        result += member.decompress(rest, MAX_BYTES + 1 - len(result))
        if not member.eof and len(result) <= MAX_BYTES and len(body) <= MAX_BYTES:
            raise Unknown(f"the app's {robots_txt.PATH} broke off")
        rest = member.unused_data
    return result


OwnFile = bytes | Elsewhere | None
"""What is known of an app's robots.txt: its bytes, none if there is none; or where it is; or nothing."""


class OwnRobots:
    """The robots.txt of an app for each host that it serves: asked for each time, the last one kept.

    For one host the app is asked once at a time; who comes meanwhile gets the same answer. The app is asked without
    what belongs to the client (cookies, credentials, user agent), so the answer is everybody's. While it is unknown,
    the last one stands for KNOWN_SECONDS. `failed` is called with what went wrong. May be used by several threads.
    """

    def __init__(self, failed: Callable[[Exception], object]) -> None:
        self._failed = failed
        self._known: dict[tuple[str, ...], tuple[float, bytes]] = {}
        self._known_bytes = 0
        self._lock = threading.Lock()
        self._tasks: dict[tuple[str, ...], asyncio.Task[OwnFile]] = {}
        self._futures: dict[tuple[str, ...], Future[OwnFile]] = {}

    async def of_asgi_app(self, app: App, scope: Scope, marks: Mapping[str, Any]) -> OwnFile:
        """Return the robots.txt of the app, empty if it has none, None if that is not known.

        `marks` are laid over the scope that the app sees. The app runs to its end (background tasks included), but not
        for longer than _ROBOTS_SECONDS, and is not waited for once its response is complete.
        """
        root = str(scope.get("root_path", ""))
        site = _site(root, str(scope.get("scheme", "http")), scope["headers"])
        task = self._tasks.get(site)
        if task is None or task.get_loop() is not asyncio.get_running_loop():

            async def ask() -> OwnFile:
                try:
                    return self.remember(site, await _from_asgi_app(app, scope, marks))
                except Elsewhere as elsewhere:
                    return elsewhere
                except Exception as error:
                    return self.last(site, error)
                finally:
                    if self._tasks.get(site) is asyncio.current_task():
                        del self._tasks[site]

            task = self._tasks[site] = asyncio.create_task(ask())
        return await asyncio.shield(task)

    def of_wsgi_app(self, app: WSGIApplication, environ: WSGIEnvironment) -> OwnFile:
        """Return the robots.txt of the app as `of_asgi_app` does; `environ` is that of a request for ours."""
        names = (b"host", b"x-forwarded-host", b"forwarded")
        hosts = [(name, latin_1(environ[key_of(name)])) for name in names if key_of(name) in environ]
        site = _site(str(environ.get("SCRIPT_NAME", "")), str(environ.get("wsgi.url_scheme", "http")), hosts)
        ours: Future[OwnFile] = Future()
        with self._lock:
            future = self._futures.setdefault(site, ours)
        if future is not ours:
            try:
                return future.result(_ROBOTS_SECONDS)
            except TimeoutError as error:
                return self.last(site, error)
        body: OwnFile = None
        try:
            body = self.remember(site, _from_wsgi_app(app, environ))
        except Elsewhere as elsewhere:
            body = elsewhere
        except Exception as error:
            body = self.last(site, error)
        finally:
            with self._lock:
                del self._futures[site]
            ours.set_result(body)
        return body

    def remember(self, site: tuple[str, ...], body: bytes) -> bytes:
        """Keep the robots.txt of a site in place of an earlier one, and return it."""
        with self._lock:
            self._forget(site)
            self._known[site] = monotonic() + KNOWN_SECONDS, body
            self._known_bytes += _weight(site, body)
            while self._known_bytes > _MAX_KNOWN_BYTES:  # hosts are named by strangers
                self._forget(next(iter(self._known)))
        return body

    def last(self, site: tuple[str, ...], error: Exception) -> bytes | None:
        """Return what was kept, unless it is too old, for a site whose robots.txt could not be read now."""
        self._failed(error)
        expires, body = self._known.get(site, (0.0, None))
        return body if expires > monotonic() else None

    def _forget(self, site: tuple[str, ...]) -> None:
        if site in self._known:
            self._known_bytes -= _weight(site, self._known.pop(site)[1])


def _weight(site: tuple[str, ...], body: bytes) -> int:
    return sum(map(len, site)) + len(body) + _KNOWN_ENTRY_BYTES


_FORWARDED_HOST = re.compile(rb'host="?([^";,]+)', re.IGNORECASE)


def _site(root: str, scheme: str, headers: Iterable[HeaderField]) -> tuple[str, ...]:
    """Return what tells the sites apart that one app may serve."""
    hosts = [root, scheme]
    for name, value in headers:
        name = name.lower()
        if name == b"forwarded":
            hosts.extend(host.decode("latin-1").lower() for host in _FORWARDED_HOST.findall(value))
        elif name in (b"host", b"x-forwarded-host"):
            hosts.append(value.decode("latin-1").lower())
    return tuple(hosts)


def _within(root: str, path: str) -> str:
    """Return the characters of a path as it was sent. Raise Unknown if it is not within the app mounted at `root`."""
    decoded = unquote_to_bytes(path).decode("utf-8", "replace")
    if not decoded.startswith(f"{root}/"):
        raise Unknown(f"the app redirects {robots_txt.PATH} to {path}, which is outside of it")
    return decoded


def _checked(response: _Response, target: Target, first: Target) -> bytes:
    body = response.robots()
    if not body and target.host != first.host:
        # That the app knows nothing at the address of another host does not say that there is nothing.
        raise Elsewhere(target)
    return body


def _never_ends(target: Target, first: Target) -> Exception:
    """Return what to raise after the last redirect that is followed: at another host, its server ends them."""
    if target.host != first.host:
        return Elsewhere(target)
    return Unknown(f"the app redirects {robots_txt.PATH} more than {_MAX_REDIRECTS} times")


async def _from_asgi_app(app: App, scope: Scope, marks: Mapping[str, Any]) -> bytes:
    """Return the robots.txt of the app, empty if it has none. Raise Unknown, or whatever the app raises."""
    deadline = asyncio.get_running_loop().time() + _ROBOTS_SECONDS
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OF_THE_CLIENT]
    headers.append((b"user-agent", USER_AGENT))
    host = next((value.decode("latin-1") for name, value in headers if name.lower() == b"host"), "")
    root = str(scope.get("root_path", "")).rstrip("/")
    path = str(marks.get("path", robots_txt.PATH))
    scheme = "https" if scope.get("scheme") == "https" else "http"
    target = first = Target(scheme, _plain_host(host, scheme), quote(path, errors="replace"))
    kept = {name: value for name, value in scope.items() if name not in _SESSION_KEYS}
    for _ in range(_MAX_REDIRECTS + 1):
        app_scope = {
            **kept,
            "method": "GET",
            "headers": headers,
            "extensions": {},
            **marks,
            "path": path,
            "raw_path": target.path.encode("ascii"),
            "query_string": target.query.encode("ascii"),
        }
        response = await _asked(app, app_scope, deadline)
        location = response.location()
        if location is None:
            return _checked(response, target, first)
        previous, target = target, target.redirected(location)
        path = _within(root, target.path)
        if target[:2] != previous[:2]:
            headers = _for_host(headers, target)
            kept["scheme"] = target.scheme
    raise _never_ends(target, first)


def _for_host(headers: Iterable[HeaderField], target: Target) -> list[HeaderField]:
    host = [(b"host", target.host.encode("latin-1"))] if target.host else []
    return [*host, *((name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION)]


async def _asked(app: App, scope: Scope, deadline: float) -> _Response:
    """Return the app's response to one request, as soon as what matters of it has come."""
    response = _Response()
    complete = asyncio.Event()
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.start(message["status"], message.get("headers") or ())
        elif message["type"] == "http.response.body":
            response.add(message.get("body", b""), last=not message.get("more_body", False))
        if response.complete:
            complete.set()
        await asyncio.sleep(0)

    async def run() -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await app(scope, receive, send)
        finally:
            complete.set()

    task = asyncio.create_task(run())
    _running_apps.add(task)
    task.add_done_callback(_finished)
    await complete.wait()
    if task.done() and not response.complete:
        task.result()
    return response


def _finished(task: asyncio.Task[None]) -> None:
    _running_apps.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.debug("the app failed behind its robots.txt", exc_info=error)


def _from_wsgi_app(app: WSGIApplication, environ: WSGIEnvironment) -> bytes:
    """Return the robots.txt of the app, empty if it has none. Raise Unknown, or whatever the app raises."""
    asked = {name: value for name, value in environ.items() if name not in _REMOVED_KEYS}
    asked["HTTP_USER_AGENT"] = USER_AGENT.decode("ascii")
    root = str(environ.get("SCRIPT_NAME", ""))
    path = robots_txt.PATH
    scheme = str(environ.get("wsgi.url_scheme", "http"))
    host = _plain_host(str(environ.get("HTTP_HOST", "")), scheme)
    target = first = Target(scheme, host, quote(root, encoding="latin-1", errors="replace") + path)
    for _ in range(_MAX_REDIRECTS + 1):
        app_environ = asked | {name: path for name in _TARGET_KEYS if name in environ or name == "PATH_INFO"}
        app_environ |= {"REQUEST_METHOD": "GET", "QUERY_STRING": target.query, "wsgi.input": BytesIO()}
        response = _called(app, app_environ)
        location = response.location()
        if location is None:
            return _checked(response, target, first)
        previous, target = target, target.redirected(location)
        # The bytes of a path are characters of the same numbers here (PEP 3333).
        path = _within(root, target.path) and unquote_to_bytes(target.path).decode("latin-1").removeprefix(root)
        if target[:2] != previous[:2]:
            gone = set(map(key_of, _OF_THE_CONNECTION))
            asked = {name: value for name, value in asked.items() if name not in gone}
            asked |= {"wsgi.url_scheme": target.scheme, **({"HTTP_HOST": target.host} if target.host else {})}
    raise _never_ends(target, first)


def _called(app: WSGIApplication, environ: WSGIEnvironment) -> _Response:
    """Return the app's response to one request, as far as it matters."""
    response = _Response()

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        response.start(int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
        return response.add

    chunks = app(environ, start)
    try:
        for chunk in chunks:
            response.add(chunk)
            if response.complete:
                break
        else:
            response.add(b"", last=True)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return response
