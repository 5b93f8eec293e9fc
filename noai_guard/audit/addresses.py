"""Addresses of the web."""

from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit


def is_web_address(text: str) -> bool:
    """Return True for an absolute http or https address with a host and without a user name or password."""
    try:
        parts = urlsplit(text)
        usable = parts.port is None or parts.port > 0
        return usable and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False


def path_of(url: str) -> str:
    """Return path and query of an address, which robots.txt and its relatives match."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def absolute_url(base: str, address: str) -> str:
    """Return a link of the page at `base` as an absolute address of the web; empty if it is none."""
    try:
        absolute = urljoin(base, address.strip())
    except ValueError:
        return ""
    return absolute if is_web_address(absolute) else ""


def leads_inside(source: str, target: str) -> bool:
    """Return True if `source` is on the open network, and `target` on this machine or its own network."""
    return _is_inside(target) and not _is_inside(source)


def _is_inside(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
