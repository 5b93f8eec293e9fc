"""Logs are read as whole lines, whatever holds them, and up to the damage of what is damaged."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from noai_guard.errors import LogsInvalid
from noai_guard.replay.sources import MAX_LINE_BYTES, Source

LINES = b"".join(b"line %d\n" % number for number in range(5000))


def read(file: Path, block_bytes: int = 4096) -> tuple[list[bytes], Source]:
    source = Source(str(file))
    return list(source.blocks(block_bytes)), source


COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("compressed", [bytes, *COMPRESSED.values()], ids=["plain", *COMPRESSED])
def test_blocks_are_whole_lines_and_together_the_file(compressed: object, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(compressed(LINES))  # type: ignore[operator]
    blocks, source = read(file)
    assert b"".join(blocks) == LINES
    assert all(block.endswith(b"\n") for block in blocks)
    assert len(blocks) > 5
    assert source.damage == ""


def test_members_of_a_compressed_file_are_read_one_after_another(tmp_path: Path) -> None:
    for name, compress in COMPRESSED.items():
        file = tmp_path / name
        file.write_bytes(compress(b"one\n") + compress(b"two\n"))
        assert b"".join(read(file)[0]) == b"one\ntwo\n"


def test_a_last_line_without_line_feed_counts(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo")
    assert b"".join(read(file)[0]) == b"one\ntwo\n"


@pytest.mark.parametrize("compress", COMPRESSED.values(), ids=COMPRESSED)
def test_a_file_that_breaks_off_is_read_until_there(compress: object, tmp_path: Path) -> None:
    text = b"".join(b"%x\n" % (number * 2654435761) for number in range(60_000))
    file = tmp_path / "log"
    file.write_bytes(compress(text)[:-5000])  # type: ignore[operator]
    blocks, source = read(file)
    together = b"".join(blocks)
    assert len(together) > 1000 or compress in (lzma.compress, bz2.compress)  # of large blocks
    assert text.startswith(together[:-20])
    assert source.damage.startswith("is damaged or incomplete")


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 7, 100, 5000])
@pytest.mark.parametrize("checksum", [True, False])
def test_zstd_that_breaks_off_is_noticed_wherever_it_does(cut: int, checksum: bool, tmp_path: Path) -> None:
    text = b"".join(b"%x\n" % (number * 2654435761) for number in range(60_000))
    whole = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=not checksum).compress(text)
    file = tmp_path / "log"
    file.write_bytes(whole[:-cut])
    assert read(file)[1].damage == "is damaged or incomplete: it ends within a frame"


def test_zstd_with_empty_and_skippable_frames_is_whole(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18"
    parts = (zstandard.compress(b""), skippable + b"\x05\0\0\0hello", zstandard.compress(LINES), skippable + bytes(4))
    file = tmp_path / "log"
    file.write_bytes(b"".join(parts))
    blocks, source = read(file)
    assert (b"".join(blocks), source.damage) == (LINES, "")


@pytest.mark.parametrize("front", [b"\0" * 3_000_000, b"\xef\xbb\xbf"], ids=["copytruncate", "byte order mark"])
def test_what_stands_in_front_of_the_first_line_is_no_part_of_it(front: bytes, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(front + LINES)
    blocks, source = read(file)
    assert (b"".join(blocks), source.overlong) == (LINES, 0)


def archive(kind: str) -> bytes:
    """Return an archive of two logs."""
    output = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(output, "w") as packed:
            packed.writestr("a.log", LINES)
    else:
        with tarfile.open(fileobj=output, mode="w:gz" if kind == "tgz" else "w:") as tape:
            member = tarfile.TarInfo("a.log")
            member.size = len(LINES)
            tape.addfile(member, io.BytesIO(LINES))
    return output.getvalue()


@pytest.mark.parametrize(("kind", "command"), [("tar", "tar -xOf"), ("tgz", "tar -xOf"), ("zip", "unzip -p")])
def test_an_archive_is_not_read_as_one_log(kind: str, command: str, tmp_path: Path) -> None:
    file = tmp_path / "logs"
    file.write_bytes(archive(kind))
    with pytest.raises(LogsInvalid, match=f"R004 is an archive of files; read what is in it: {command} {file} [|] "):
        read(file)


def test_damaged_bytes_end_the_file_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "log"
    damaged = bytearray(gzip.compress(LINES))
    damaged[len(damaged) // 2 :] = b"\xff" * 200
    file.write_bytes(bytes(damaged))
    assert "damaged" in read(file)[1].damage


def test_a_line_without_end_is_left_out_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"before\n" + b"x" * (3 * MAX_LINE_BYTES) + b"\nafter\n")
    blocks, source = read(file, 65536)
    assert b"".join(blocks) == b"before\nafter\n"
    assert source.overlong == 1


def test_a_bomb_is_read_in_blocks(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(gzip.compress(b"\n" * 30_000_000))
    source = Source(str(file))
    assert max(map(len, source.blocks(65536))) < 4 * 65536 + MAX_LINE_BYTES


def test_progress_is_told_in_bytes_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(gzip.compress(LINES))
    told: list[int] = []
    source = Source(str(file), told.append)
    list(source.blocks())
    assert sum(told) == source.size == file.stat().st_size
