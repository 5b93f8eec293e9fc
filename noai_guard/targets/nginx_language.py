"""nginx's configuration language: quoted texts, maps that load with every size of hash, names of variables.

nginx fixes the sizes of all its hashes of maps at the first `map` of the whole configuration, which may be the site's
own: after that `map_hash_max_size` is an error. So no map needs other sizes than nginx's own.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from noai_guard.errors import CannotExpress
from noai_guard.targets.target import block

_BUCKETS = 1024
"""Number of buckets that find room for the keys of one map, half of the default of `map_hash_max_size`: nginx tries all
numbers up to that. A power of two, so that a hash of 32 bits falls into the same bucket as one of 64."""

_BUCKET_SIZE = 64 - 8
"""Bytes of a bucket, one cache line, without the pointer at its end (ngx_hash_init)."""

_KEYS_OF_ONE_MAP = 1000
"""Number of keys that also find room where the site asks for more buckets: nginx then tries the last 1,000 sizes."""

_FEW_KEYS = 300
"""Number of keys that are tried with every number of buckets, as nginx does."""

MAX_KEY = _BUCKET_SIZE - 8 - 2
"""Bytes of the longest key of a map; a longer one is an error of nginx's."""

MAX_PARAMETER = 4000
"""nginx reads at most 4,096 bytes as one parameter (NGX_CONF_BUFFER, seen in 1.22 and 1.31)."""

Row = tuple[str, str]
"""Key and value of a map, as they are written."""


def quote(text: str) -> str:
    """Return a text as one literal nginx parameter: no quote, space, semicolon or dollar sign has a meaning."""
    quoted = in_quotes(text).replace("$", "${noai_dollar}")
    if len(quoted.encode("utf-8", "replace")) > MAX_PARAMETER:
        raise CannotExpress("nginx: a text of the policy is longer than the 4,096 bytes of one parameter")
    return quoted


def in_quotes(text: str) -> str:
    """Return a text in quotes, where a dollar sign still begins a variable."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""})
    return f'"{text.translate(escapes)}"'


_KEYWORDS = frozenset({"default", "include", "hostnames", "volatile"})


def key(text: str) -> str:
    """Return a text as the key of a map: neither a keyword nor an expression. `$` is literal there."""
    return in_quotes(f"\\{text}" if text in _KEYWORDS or text.startswith(("~", "\\")) else text)


def expression(pattern: str, any_case: bool = True) -> str:
    """Return a regular expression as the key of a map. `$` becomes the very end, not before a last line feed."""
    return in_quotes(("~*" if any_case else "~") + pattern.replace("$", r"\z"))


def map_blocks(
    source: str, variable: str, rows: Iterable[Row], default: str = '""', volatile: bool = False
) -> Iterator[str]:
    """Yield a map; several, each the default of the one before, if the keys do not find room in one hash.

    A `volatile` map is looked up each time that its variable is read.
    """
    plain: list[Row] = []
    expressions: list[Row] = []
    for row in rows:
        if _is_expression(row[0]):
            expressions.append(row)
        elif len(_literal(row[0])) > MAX_KEY:
            exact = "".join(f"\\x{byte:02x}" for byte in _literal(row[0]))
            expressions.append((expression(f"^{exact}$"), row[1]))
        else:
            plain.append(row)
    head = ["volatile;"] if volatile else []
    parts = hash_parts(plain)
    for number, part in enumerate(parts, 1):
        name, last = variable if number == 1 else f"{variable}_{number}", number == len(parts)
        following = default if last else f"${variable}_{number + 1}"
        lines = [f"{key} {value};" for key, value in (*part, *(expressions if last else ()))]
        yield from block(f"map {source} ${name}", [*head, f"default {following};", *lines])


def _is_expression(key: str) -> bool:
    return key.startswith(("~", '"~'))


def hash_parts(rows: Sequence[Row]) -> list[list[Row]]:
    """Split the rows of a map into as many as find room in hashes of nginx's own sizes; at least one."""
    parts: list[list[Row]] = []
    left = sorted(rows, key=lambda row: (-len(row[0]), row[0]))
    while len(left) > _FEW_KEYS or not any(len(_fitting(left, size)) == len(left) for size in range(_BUCKETS, 0, -1)):
        part = _fitting(left, _BUCKETS)
        parts.append(sorted(part))
        left = [row for row in left if row not in part]
    return [*parts, sorted(left)] if left or not parts else parts


def _fitting(rows: Sequence[Row], buckets: int) -> dict[Row, None]:
    """Return the rows that find room in a hash of so many buckets."""
    room = [_BUCKET_SIZE] * buckets
    fitting: dict[Row, None] = {}
    for row in rows:
        name = _literal(row[0])
        bucket, size = _hash(name) % buckets, 8 + -(-(len(name) + 2) // 8) * 8
        if len(fitting) < _KEYS_OF_ONE_MAP and room[bucket] >= size:
            room[bucket] -= size
            fitting[row] = None
    return fitting


def _hash(name: bytes) -> int:
    """Return ngx_hash_key_lc, as it is with 64 bits."""
    number = 0
    for byte in name.lower():
        number = (number * 31 + byte) & 0xFFFFFFFFFFFFFFFF
    return number


def _literal(key: str) -> bytes:
    """Return what a key of a map stands for."""
    unescaped = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), key[1:-1]) if key[:1] == '"' else key
    return unescaped.removeprefix("\\").encode("utf-8", "surrogatepass")


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def prefix(name: str, letter: str, unnamed: str) -> str:
    """Return the beginning of the names of a policy's variables: another one for each policy on a server.

    It is short, because nginx warns when the names of all variables do not find room in its hash for them, and two
    policies have about a hundred. `unnamed` is the prefix of a policy without a name.
    """
    if not name:
        return unnamed
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number = int.from_bytes(sha256(name.encode()).digest()[:8])
    return f"{letter}{digits[number % 36]}{digits[number // 36 % 36]}_"


PUBLIC = ("auth_basic off;", "satisfy any;", "allow all;")
"""Lines of a location that everyone may read, whatever the server around it forbids. `auth_request off` would need its
module; with `satisfy any`, `allow all` is enough."""


def public_document(media_type: str) -> list[str]:
    """Return the lines of a location for a document that is for everyone, whatever the server around it forbids.

    nginx compresses it where the site compresses its type, which therefore stands without its charset.
    """
    plain, _, parameters = media_type.partition(";")
    charset = parameters.strip().removeprefix("charset=")
    kept = [f"charset {charset};", f"source_charset {charset};", 'charset_types "*";'] if charset else ["charset off;"]
    return [*PUBLIC, "types { }", f'default_type "{plain}";', *kept, "expires 1h;"]
