"""Names and values in the files in which Apache looks them up without reading all: SDBM (apr-util 1.3 to 1.6).

The directory (.dir) is a binary tree of bits, a set bit for a page that was split; the pages (.pag) hold pairs. Here
all pages are split equally often, so that a page's number is the lowest bits of the hash.
"""

import struct
from collections.abc import Iterable, Mapping

_PAGE, _DIRECTORY = 1024, 4096
"""Bytes of a page and of a block of the directory (apr_sdbm_private.h)."""

_FULL = _PAGE - 8
"""PAIRMAX: bytes of the longest pair."""


class TooLong(ValueError):
    """A pair does not find room in a page."""


def sdbm(pairs: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return the contents of .dir and .pag. Keys are ASCII. Raise TooLong for a pair of more than `_FULL` bytes."""
    if any(len(key) + len(value) > _FULL - 6 for key, value in pairs.items()):
        raise TooLong
    hashed = [(_hash(key), key, value) for key, value in pairs.items()]
    size = sum(len(key) + len(value) + 4 for key, value in pairs.items())
    depth = (size // _PAGE).bit_length()
    while (pages := _pages(hashed, depth)) is None:
        depth += 1
    splits = 2**depth - 1
    bits = (1 << splits) - 1
    directory = bits.to_bytes(-(-splits // 8), "little")
    return directory.ljust(-(-len(directory) // _DIRECTORY) * _DIRECTORY, b"\0"), b"".join(map(_page, pages))


def _hash(key: bytes) -> int:
    number = 0
    for byte in key:
        number = (byte + 65599 * number) & 0xFFFFFFFF
    return number


def _pages(hashed: Iterable[tuple[int, bytes, bytes]], depth: int) -> list[list[tuple[bytes, bytes]]] | None:
    """Return the pairs of each page, None if one would be too full."""
    pages: list[list[tuple[bytes, bytes]]] = [[] for _ in range(2**depth)]
    room = [_PAGE - 2] * len(pages)
    for hash_of_key, key, value in hashed:
        number = hash_of_key & len(pages) - 1
        room[number] -= len(key) + len(value) + 4
        if room[number] < 0:
            return None
        pages[number].append((key, value))
    return pages


def _page(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return a page: the number of offsets, the offsets of keys and values, and these from the end of the page."""
    offsets: list[int] = []
    end, texts = _PAGE, b""
    for pair in pairs:
        for text in pair:
            end -= len(text)
            offsets.append(end)
            texts = text + texts
    head = struct.pack(f"<{len(offsets) + 1}H", len(offsets), *offsets)
    return head + b"\0" * (_PAGE - len(head) - len(texts)) + texts
