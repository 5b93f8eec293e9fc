"""Addresses of the web."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from unicodedata import normalize
from urllib.parse import urljoin, urlsplit

_NAMES_INSIDE = ("localhost", "local", "internal", "home.arpa", "localdomain")
"""Top-level names that never lead to the open network (RFC 6761, RFC 6762, RFC 8375, ICANN 2024)."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that a translator turns into the IPv4 address in their last 32 bits (RFC 6052)."""


def is_web_address(text: str) -> bool:
    """Return True for an absolute http or https address with a host and without a user name or password."""
    try:
        parts = urlsplit(text)
        # A backslash ends the host for some readers and not for others.
        usable = (parts.port is None or parts.port > 0) and "\\" not in parts.netloc
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
    return is_inside(target) and not is_inside(source)


def is_inside(url: str) -> bool:
    """Return True if the host of an address is on this machine or its own network, as far as its name tells."""
    host = _host(url)
    address = numeric_host(url)
    if address is not None:
        return is_inside_address(address)
    return any(host == name or host.endswith(f".{name}") for name in _NAMES_INSIDE)


def numeric_host(url: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is in any spelling that resolvers take (`0x7f.1`); None for a name.

    inet_aton reads IPv4 in one to four parts, each decimal, octal or hexadecimal; the last part fills the rest.
    """
    host = _host(url)
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        *first, last = [_c_number(part) for part in host.split(".")]
        value = last
        for index, part in enumerate(first):
            if part > 255:
                return None
            value += part << 8 * (3 - index)
        return IPv4Address(value) if len(first) <= 3 and last < 256 ** (4 - len(first)) else None
    except ValueError:
        return None


def _c_number(text: str) -> int:
    """Return a number as C writes it: `0x7f`, `0177` or `127`. Raises ValueError."""
    if not text.isascii() or not text.isalnum() or len(text) > 24:
        raise ValueError(text)
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def is_inside_address(address: IPv4Address | IPv6Address) -> bool:
    """Return True for an address that is not of the open network, nor an IPv6 form of such an IPv4 address."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_inside_address(embedded)
        if address.is_site_local:
            return True
    return not address.is_global or address.is_multicast or address.is_reserved


def _host(url: str) -> str:
    """Return the host of an address in the one form that names are looked up in; empty if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    # Full-width digits and dots are digits and dots to IDNA (UTS 46).
    return normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
