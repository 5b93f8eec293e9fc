import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.record.pseudonyms import Pseudonyms, remove_keys, shared_key

DAY, NEXT = "2026-11-29", "2026-11-30"


def begun(folder: Path, day: str = DAY, **options) -> Pseudonyms:
    pseudonyms = Pseudonyms(folder, **options)
    pseudonyms.begin(day)
    return pseudonyms


def test_processes_that_share_a_folder_give_a_client_the_same_pseudonym_for_a_day(tmp_path: Path) -> None:
    one, other = begun(tmp_path), begun(tmp_path)
    assert one.of("203.0.113.7") == other.of("203.0.113.7") != one.of("203.0.113.8")
    before = one.of("203.0.113.7")
    one.begin(NEXT)
    assert one.of("203.0.113.7") != before


def test_a_pseudonym_is_short_and_is_no_address(tmp_path: Path) -> None:
    pseudonym = begun(tmp_path).of("203.0.113.7")
    assert len(pseudonym) == 17
    assert pseudonym[0] == "~"
    assert int(pseudonym[1:], 16)
    assert begun(tmp_path).of(None) == ""


def test_ipv6_addresses_of_one_home_are_one_client(tmp_path: Path) -> None:
    pseudonyms = begun(tmp_path)
    assert pseudonyms.of("2001:db8::1") == pseudonyms.of("2001:db8::ffff") != pseudonyms.of("2001:db8:0:1::1")


def test_the_key_is_random_and_for_its_owner_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert begun(one).of("203.0.113.7") != begun(other).of("203.0.113.7")
    (key,) = (one / "keys").iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert key.name == f"{DAY}.key"


@pytest.mark.parametrize(("keep", "names"), [(False, [f"{NEXT}.key"]), (True, [f"{DAY}.key", f"{NEXT}.key"])])
def test_a_key_is_destroyed_when_its_day_is_over_unless_keys_are_kept(
    tmp_path: Path, keep: bool, names: list[str]
) -> None:
    begun(tmp_path, keep=keep).begin(NEXT)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == names


def test_a_process_that_is_restarted_goes_on_with_the_key_of_the_day(tmp_path: Path) -> None:
    before = begun(tmp_path).of("203.0.113.7")
    assert begun(tmp_path).of("203.0.113.7") == before


def test_of_many_that_begin_a_day_at_once_all_use_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(shared_key(tmp_path, DAY, os.urandom(32)))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"{DAY}.key"]


@pytest.mark.parametrize("content", [b"", b"no key", b"00" * 31, b"\xff" * 64, b"0" * 5000])
def test_a_damaged_key_is_not_used_and_the_process_goes_on_with_its_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{DAY}.key").write_bytes(content)
    pseudonyms = begun(tmp_path)
    first = pseudonyms.of("203.0.113.7")
    assert pseudonyms.problem
    pseudonyms.begin(DAY)
    assert pseudonyms.of("203.0.113.7") == first
    (tmp_path / "keys" / f"{DAY}.key").unlink()
    pseudonyms.begin(DAY)
    assert not pseudonyms.problem
    assert pseudonyms.of("203.0.113.7") == first


def test_a_link_or_a_pipe_in_the_place_of_a_key_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "elsewhere").write_text("00" * 32)
    (tmp_path / "keys" / f"{DAY}.key").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "keys" / f"{NEXT}.key")
    assert begun(tmp_path).problem
    assert begun(tmp_path, NEXT).problem


def test_only_keys_are_removed(tmp_path: Path) -> None:
    for name in (f"{DAY}.key", f"{NEXT}.key", "notes.txt", "2026-11-28.key.bak"):
        (tmp_path / name).write_text("")
    assert [path.name for path in remove_keys(tmp_path, NEXT)] == [f"{DAY}.key"]
    assert len(list(tmp_path.iterdir())) == 3


@given(st.text(min_size=1))
def test_whatever_stands_for_an_address_has_a_pseudonym(text: str) -> None:
    pseudonyms = Pseudonyms("/nonexistent")
    assert pseudonyms.of(text).startswith("~")
