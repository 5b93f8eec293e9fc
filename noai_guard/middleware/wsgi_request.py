"""A request as WSGI servers hand it over, read so that it is judged as an ASGI server's would be."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote
from wsgiref.types import WSGIEnvironment

from noai_guard.core.catalog import rank_of_claim
from noai_guard.core.model import Claim, HeaderField
from noai_guard.core.request import MOUNTING_HEADERS, ClaimKey, Peer, mounted_paths


@dataclass(slots=True, eq=False)
class EnvironRequest:
    """The Request of one environ. `user_agents` gives what is judged of a HTTP_USER_AGENT."""

    environ: WSGIEnvironment
    user_agents: Mapping[str, bytes]
    _headers: list[HeaderField] | None = None

    @property
    def method(self) -> str:
        return method_of(self.environ)

    @property
    def path(self) -> str:
        return _characters(f"{self.environ.get('SCRIPT_NAME', '')}{self.environ.get('PATH_INFO', '')}")

    @property
    def raw_paths(self) -> tuple[bytes, ...]:
        """Empty, unless a header may say where the app is mounted."""
        environ = self.environ
        if not environ.get("SCRIPT_NAME") or _MOUNTING_KEYS.isdisjoint(environ):
            return ()
        return mounted_paths(self.path, _characters(str(environ.get("PATH_INFO", ""))))

    @property
    def target(self) -> bytes:
        """As the server tells it (gunicorn, waitress 3: RAW_URI or REQUEST_URI), else encoded anew, which need not be
        as it was sent: a signature then proves nothing."""
        environ = self.environ
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if isinstance(raw, str) and raw.startswith("/"):
            return latin_1(raw)
        query = environ.get("QUERY_STRING", "")
        return quote(self.path, safe=_UNQUOTED).encode("ascii") + (b"?" + latin_1(query) if query else b"")

    @property
    def root_path(self) -> str:
        return _characters(str(self.environ.get("SCRIPT_NAME", "")))

    @property
    def peer(self) -> Peer:
        address = self.environ.get("REMOTE_ADDR")
        return (address, self.environ.get("REMOTE_PORT")) if address else None

    @property
    def headers(self) -> list[HeaderField]:
        if self._headers is None:
            self._headers = [
                (latin_1(name[5:].lower().replace("_", "-")), latin_1(value))
                for name, value in self.environ.items()
                if name.startswith("HTTP_")
            ]
        return self._headers

    @property
    def user_agent(self) -> bytes:
        return self.user_agents[self.environ.get("HTTP_USER_AGENT", "")]

    @property
    def claim_key(self) -> ClaimKey:
        signature_agent = self.environ.get("HTTP_SIGNATURE_AGENT")
        return (self.user_agent, latin_1(signature_agent)) if signature_agent else self.user_agent


_UNQUOTED = "/!$&'()*+,;=:@~"
"""What browsers and HTTP libraries leave as it is in a path (RFC 3986 section 3.3)."""


def method_of(environ: WSGIEnvironment) -> str:
    """Return the method in upper case."""
    return str(environ.get("REQUEST_METHOD", "GET")).upper()


def key_of(name: bytes) -> str:
    """Return the key of a header in an environ."""
    return f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"


_MOUNTING_KEYS = frozenset(map(key_of, MOUNTING_HEADERS))


def _characters(text: str) -> str:
    """Decode a path whose bytes WSGI carries as characters of the same numbers (PEP 3333).

    What is no UTF-8 becomes U+FFFD, as in the `scope["path"]` of uvicorn 0.54, hypercorn 0.18, granian 2.8 and daphne
    4.2 (tried 2026-11-25).
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a server that has decoded it already
        return text


def latin_1(text: object) -> bytes:
    """Return the bytes that WSGI carries as characters of the same numbers (PEP 3333)."""
    return str(text).encode("latin-1", "replace")


def user_agent_lines(text: str, claims: Mapping[ClaimKey, Claim]) -> bytes:
    """Return what is judged of HTTP_USER_AGENT, in which servers join several User-Agent lines with commas.

    Commas also stand in single lines, even outside of comments (`Pocket Casts, iOS v4.2`). So it is one line, unless
    its parts as lines of their own name an agent that outweighs: some names count at the start of a line only.
    """
    whole = latin_1(text)
    if b"," not in whole:
        return whole
    several = b"\n".join(_parts(whole))
    return several if rank_of_claim(claims[several]) < rank_of_claim(claims[whole]) else whole


def _parts(text: bytes) -> list[bytes]:
    """Split at the commas that are in no comment."""
    parts: list[bytes] = []
    depth = 0
    for part in text.split(b","):
        if depth:
            parts[-1] += b"," + part
        else:
            parts.append(part)
        depth = max(0, depth + part.count(b"(") - part.count(b")"))
    return parts
