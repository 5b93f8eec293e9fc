"""Evidence: whole, the same each time, readable without us, and no changed byte goes unnamed."""

import csv
import io
import json
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config import load_catalog, load_policy
from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.model import Action, Identity
from noai_guard.core.policy import LedgerPolicy
from noai_guard.record import evidence, sealed_zip
from noai_guard.record.event_sources import event_lines
from noai_guard.record.evidence import Case, pack_evidence
from noai_guard.record.evidence_check import (
    FORMAT,
    MANIFEST,
    SIGNATURE,
    manifest_message,
    signature_file,
    verify_evidence,
)
from noai_guard.record.ledger import Entry, Ledger
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import SigningKey, new_key
from noai_guard.record.publishing import Signing, draft, publish
from noai_guard.record.sealed_zip import ArchiveTooLarge, Member, directory, local_header, stored
from noai_guard.record.selection import Selection, Span
from tests.record.events_kit import OCTOBER, event, write_events

NOVEMBER = OCTOBER + timedelta(days=31)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Ledger:
    """A ledger of two entries: one of August, and a stricter one of the fifteenth of October."""
    folder = tmp_path_factory.mktemp("site")
    file = folder / "noai.yaml"
    read: Ledger | None = None
    for days, text in ((-60, "usages: {ai-search: yes}"), (14, "usages: {ai-search: no}"), (40, "mode: monitor")):
        file.write_text(f"site: {{url: 'https://nightferry.example'}}\n{text}\n", encoding="utf-8")
        policy = replace(load_policy(file), ledger=LedgerPolicy(str(folder / "ledger")))
        now = OCTOBER + timedelta(days=days)
        drafted = draft(policy, load_catalog(), read, now)
        if drafted.kind is not None:
            publish(folder / "ledger", policy, load_catalog(), read, drafted, Signing("Ines", key, now))
        read = read_ledger(folder / "ledger")
    assert read is not None
    return read


@pytest.fixture
def case(tmp_path: Path, key: SigningKey, ledger: Ledger) -> Case:
    records = [event(work=f"work-{number}", time=OCTOBER + timedelta(hours=number)) for number in range(30)]
    records += [event(operator="Meta"), event(time=NOVEMBER), event(user_agent="=HYPERLINK(1)", path="/<script>")]
    records.append(event(action=Action.ALLOW, status=200, bytes=5000))
    write_events(tmp_path / "events", records)
    write_events(tmp_path / "events", [event(client="~abcd")], "events-2026-11.jsonl")
    return Case(
        events=event_lines([tmp_path / "events"]),
        selection=Selection(Span.of("2026-10", "2026-10", NOVEMBER), operator="OpenAI"),
        site="Night Ferry",
        made="2026-11-02",
        catalog=load_catalog(),
        key=key,
        ledger=ledger,
    )


def packed(case: Case, folder: Path) -> Path:
    pack_evidence(case, folder / "case.zip")
    return folder / "case.zip"


def problems(path: Path, key: str = "") -> list[str]:
    return verify_evidence(path, key).problems


def content(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_case_is_whole_and_holds_what_a_lawyer_needs(case: Case, tmp_path: Path, key: SigningKey) -> None:
    path = packed(case, tmp_path)
    check = verify_evidence(path, key.name)
    assert check.problems == []
    assert check.ledger is not None
    files = content(path)
    assert {
        "README.txt",
        "report.html",
        "events.csv",
        "ledger/noai-history.json",
        "identity/ranges.json",
    } <= files.keys()
    readme = files["README.txt"].decode()
    assert key.name in readme
    assert "Requests:                33 (33 verified)" in readme
    assert "__" not in readme
    assert check.manifest["totals"]["events"] == 33
    assert [source["events"] for source in check.manifest["sources"]] == [34, 1]
    assert check.manifest["sources"][0]["sha256"] == sha256(case.events.files[0].path.read_bytes()).hexdigest()
    assert check.manifest["notes"] == []


def test_what_somebody_else_got_under_the_operators_name_is_not_the_operators(case: Case, tmp_path: Path) -> None:
    imposter = {"identity": Identity.SPOOFED, "action": Action.ALLOW, "status": 200, "bytes": 123_000}
    records = [event(), event(**imposter), event(**imposter, work="dusk"), event(identity=Identity.SPOOFED)]
    write_events(tmp_path / "mixed", records)
    readme = content(packed(replace(case, events=event_lines([tmp_path / "mixed"])), tmp_path))["README.txt"].decode()
    assert "Requests:                4 (3 spoofed, 1 verified)" in readme
    assert "NOT OF THE OPERATOR, and contained in these figures: 3 requests of somebody else under its name" in readme
    assert "refused 1, answered with content 2 (246,000 bytes), works handed over 2." in readme
    plain = content(packed(case, tmp_path))["README.txt"].decode()
    assert "NOT OF THE OPERATOR" not in plain


def test_only_the_selected_events_are_packed_as_they_stand_in_their_files(case: Case, tmp_path: Path) -> None:
    files = content(packed(case, tmp_path))
    original = case.events.files[0].path.read_bytes().splitlines(keepends=True)
    kept = [line for line in original if b'"OpenAI"' in line and b"2026-11" not in line]
    assert files["events/events-2026-10.jsonl"] == b"".join(kept)
    rows = list(csv.DictReader(io.StringIO(files["events.csv"].decode())))
    assert len(rows) == 33
    place = rows[0]["original_line"].partition(":")
    assert original[int(place[2]) - 1] in kept
    assert [row for row in rows if row["user_agent"] == "'=HYPERLINK(1)"]


def test_what_was_declared_is_packed_for_each_entry_that_was_in_force(case: Case, tmp_path: Path) -> None:
    path = packed(case, tmp_path)
    files, manifest = content(path), verify_evidence(path).manifest
    assert manifest["ledger"]["in_force"] == [1, 2]
    assert b"GPTBot" in files["declarations/0001/robots.txt"]
    assert files["declarations/0001/robots.txt"] != files["declarations/0002/robots.txt"]
    assert json.loads(files["declarations/0001/declared.json"])["documents"]["/robots.txt"] == "robots.txt"
    assert "entries of the ledger number 1" in files["README.txt"].decode()


def test_without_a_ledger_the_readme_says_so(case: Case, tmp_path: Path) -> None:
    path = packed(replace(case, ledger=None), tmp_path)
    assert problems(path) == []
    files = content(path)
    assert not [name for name in files if name.startswith(("ledger", "declarations"))]
    assert "keeps no ledger" in files["README.txt"].decode()


def test_the_same_case_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    first = packed(case, tmp_path).read_bytes()
    assert packed(case, tmp_path).read_bytes() == first


def test_networks_and_agents_of_the_operator_are_packed(case: Case, tmp_path: Path) -> None:
    uri = "https://openai.com/gptbot.json"
    lists = {
        each: PublishedRanges(each, "2026-09-30", 0.0, ["192.0.2.0/24"]) for each in (uri, "https://other.example")
    }
    catalog = Catalog(case.catalog.agents, "1", lists)
    files = content(packed(replace(case, catalog=catalog), tmp_path))
    agents = json.loads(files["identity/agents.json"])["agents"]
    assert "GPTBot" in [agent["name"] for agent in agents]
    assert {agent["operator"] for agent in agents} == {"OpenAI"}
    ranges = json.loads(files["identity/ranges.json"])
    assert ranges == [{"uri": uri, "published": "2026-09-30", "networks": ["192.0.2.0/24"]}]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_common_tools_unpack_and_check_it(case: Case, tmp_path: Path) -> None:
    path = packed(case, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "unpacked", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """A small archive, without a ledger."""
    folder = tmp_path_factory.mktemp("case")
    events = write_events(folder / "events", [event(), event(work="dusk")])
    selection = Selection(Span.of("2026-10", "2026-10", NOVEMBER), operator="OpenAI")
    return packed(Case(events, selection, "Night Ferry", "2026-11-02", Catalog(()), key), folder)


def regions(path: Path) -> list[tuple[int, str]]:
    """Return where each file begins, and where its entry in the directory begins."""
    listed = json.loads(content(path)[MANIFEST])["files"]
    heads = [stored(name, content(path)[name]) for name in (MANIFEST, SIGNATURE)]
    members = [*heads, *(Member(**each) for each in listed)]
    starts, offset = [], 0
    for member in members:
        starts.append((offset, member.name))
        offset += len(local_header(member)) + member.packed_bytes
    for name, entry in directory(members):
        starts.append((offset, name or "the archive"))
        offset += len(entry)
    return [*starts, (offset, "")]


def flipped(path: Path, position: int, bit: int, target: Path) -> Path:
    body = bytearray(path.read_bytes())
    body[position] ^= 1 << bit
    target.write_bytes(body)
    return target


@settings(max_examples=1000)
@given(st.data())
def test_a_flipped_bit_anywhere_is_named_by_its_file(archive: Path, data: st.DataObject) -> None:
    parts = list(pairwise(regions(archive)))
    (start, name), (end, _) = data.draw(st.sampled_from(parts))
    position, bit = data.draw(st.integers(start, end - 1)), data.draw(st.integers(0, 7))
    found = problems(flipped(archive, position, bit, archive.with_name("flipped.zip")))
    assert len(found) == 1
    assert name in found[0]


def test_each_byte_of_heads_and_directory_counts(archive: Path) -> None:
    """Every byte that is not content, since random ones seldom fall there."""
    target = archive.with_name("flipped.zip")
    for (start, name), (end, _) in pairwise(regions(archive)):
        for position in range(start, min(start + 30, end)):
            found = problems(flipped(archive, position, 0, target))
            assert found
            assert name in found[0]


@settings(max_examples=300)
@given(st.data())
def test_a_shortened_or_lengthened_archive_is_not_whole(archive: Path, data: st.DataObject) -> None:
    body, target = archive.read_bytes(), archive.with_name("other.zip")
    cut = data.draw(st.integers(1, len(body) - 1))
    others = {"begin": body[:cut], "longer": body + bytes(cut), "end": body[cut:], "turned": body[cut:] + body[:cut]}
    target.write_bytes(others[data.draw(st.sampled_from(sorted(others)))])
    assert problems(target)


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_whatever_is_no_evidence_is_refused_with_a_sentence(tmp_path_factory: Any, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.zip"
    path.write_bytes(body)
    assert "no evidence that noai-guard has packed" in problems(path)[0]


def test_another_key_is_noticed(archive: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    assert "not of the key" in problems(archive, other.name)[0] or "not of ed25519" in problems(archive, other.name)[0]


def hostile(signer: SigningKey, folder: Path, *members: tuple[Member, bytes], **facts: Any) -> Path:
    """Return an archive with these members and a manifest that somebody has signed with a key of their own."""
    listed = [
        {name: getattr(member, name) for name in Member.__dataclass_fields__ if name != "deflated"}
        for member, _ in members
    ]
    manifest = json.dumps({"format": FORMAT, "key": signer.name, "files": listed} | facts).encode()
    signature = signature_file(signer.name, signer.sign(manifest_message(manifest)))
    everything = [(stored(MANIFEST, manifest), manifest), (stored(SIGNATURE, signature), signature), *members]
    body = b"".join(local_header(member) + packed for member, packed in everything)
    body += b"".join(entry for _, entry in directory([member for member, _ in everything]))
    (folder / "hostile.zip").write_bytes(body)
    return folder / "hostile.zip"


def deflated(name: str, text: bytes = b"text") -> tuple[Member, bytes]:
    output = io.BytesIO()
    return sealed_zip.deflate(name, [text], output), output.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "a/../../b",
        "C:\\evil",
        "a\\b",
        ".bashrc",
        "a//b",
        "a\nb",
        "a" * 300,
        "",
        "NUL:",
        "a/./b",
    ],
)
def test_names_that_lead_out_of_the_folder_are_refused_although_signed(
    name: str, key: SigningKey, tmp_path: Path
) -> None:
    found = problems(hostile(key, tmp_path, deflated(name)))
    assert len(found) == 1
    assert "do not unpack it" in found[0]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("a", "a/b"), (MANIFEST,)])
def test_a_name_that_stands_twice_is_refused(names: tuple[str, ...], key: SigningKey, tmp_path: Path) -> None:
    assert "twice" in problems(hostile(key, tmp_path, *map(deflated, names)))[0]


def test_a_bomb_is_not_unpacked(key: SigningKey, tmp_path: Path) -> None:
    member, body = deflated("bomb", b"\0" * 50_000_000)
    assert problems(hostile(key, tmp_path, (member, body))) == []  # it is what it says that it is
    small = replace(member, bytes=1000)
    assert "does not unpack to what the manifest says" in problems(hostile(key, tmp_path, (small, body)))[0]
    huge = replace(member, bytes=2**31)
    assert "which it cannot" in problems(hostile(key, tmp_path, (huge, body)))[0]
    assert "more than 10,000 files" in problems(hostile(key, tmp_path, *[deflated(str(n)) for n in range(10_001)]))[0]


def test_a_flood_of_files_is_refused_before_one_is_read(
    key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_zip, "MAX_UNPACKED_BYTES", 1000)
    assert "unpacks to more than 1,000 bytes" in problems(hostile(key, tmp_path, deflated("a", b"x" * 2000)))[0]


def test_a_symbolic_link_is_not_what_was_packed(archive: Path, tmp_path: Path) -> None:
    body = archive.read_bytes().replace((0o100644 << 16).to_bytes(4, "little"), (0o120777 << 16).to_bytes(4, "little"))
    (tmp_path / "link.zip").write_bytes(body)
    assert "described otherwise" in problems(tmp_path / "link.zip")[0]


def test_a_file_that_was_added_with_common_tools_is_noticed(archive: Path, tmp_path: Path) -> None:
    shutil.copy(archive, tmp_path / "case.zip")
    with zipfile.ZipFile(tmp_path / "case.zip", "a") as added:
        added.writestr("../../evil", "x")
    assert problems(tmp_path / "case.zip")


SHAPED = dict.fromkeys(("name", "bytes", "sha256", "crc32", "packed_bytes", "packed_sha256"), "text")


@pytest.mark.parametrize("files", [None, 7, [7], [{}], [{"name": 1}], [SHAPED], [{**SHAPED, "name": 1}]])
def test_a_manifest_of_another_form_is_refused(files: Any, key: SigningKey, tmp_path: Path) -> None:
    assert "is not of the form" in problems(hostile(key, tmp_path, files=files))[0]


@pytest.mark.parametrize(
    ("signature", "problem"),
    [
        (b"[]", "holds no signature"),
        (b"{", "holds no signature"),
        (b'{"key": 1, "signature": 2}', "holds no signature"),
        (b'{"key": "ed25519:x", "signature": "AA"}', "one of them was changed"),
        ("{'key': 'ü'}".encode(), "holds no signature"),
    ],
)
def test_a_signature_of_another_form_is_refused(signature: bytes, problem: str, tmp_path: Path) -> None:
    members = [(stored(MANIFEST, b"{}"), b"{}"), (stored(SIGNATURE, signature), signature)]
    path = tmp_path / "unsigned.zip"
    path.write_bytes(b"".join(local_header(member) + body for member, body in members))
    assert problem in problems(path)[0]


@pytest.mark.parametrize(
    "respelled",
    [
        lambda text: text + b" ",
        lambda text: text.replace(b'"key"', b'"note": "sworn", "key"', 1),
        lambda text: text.replace(b"noai-evidence/1", b"noai-evidence/2"),
    ],
)
def test_a_signature_file_that_was_spelled_anew_is_named(
    respelled: Callable[[bytes], bytes], archive: Path, tmp_path: Path
) -> None:
    heads = {MANIFEST: content(archive)[MANIFEST], SIGNATURE: respelled(content(archive)[SIGNATURE])}
    path = tmp_path / "respelled.zip"
    path.write_bytes(b"".join(local_header(stored(name, body)) + body for name, body in heads.items()))
    assert problems(path) == [f"{SIGNATURE} was changed: it is not spelled as noai-guard writes it"]


def test_a_manifest_that_names_another_key_is_refused(archive: Path, key: SigningKey, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    assert "is not of the form" in problems(hostile(other, tmp_path, key=key.name))[0]


def test_numbers_that_no_file_has_are_refused(key: SigningKey, tmp_path: Path) -> None:
    member, body = deflated("a")
    wrongs: tuple[Any, ...] = (
        {"bytes": -1},
        {"crc32": -1},
        {"packed_bytes": 2**40},
        {"bytes": 2**33, "packed_bytes": 2**28},
    )
    for wrong in wrongs:
        changed = replace(member, **wrong)
        listed = [{name: getattr(changed, name) for name in Member.__dataclass_fields__ if name != "deflated"}]
        assert "do not unpack it" in problems(hostile(key, tmp_path, (member, body), files=listed))[0]


def test_what_does_not_fit_into_an_archive_leaves_the_earlier_one(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(case, tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(sealed_zip, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(ArchiveTooLarge, match="choose a shorter span"):
        packed(case, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(evidence, "directory", failing)
    with pytest.raises(OSError, match="full"):
        packed(case, tmp_path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["case.zip", "events"]


def failing(members: object) -> Iterator[tuple[str, bytes]]:
    raise OSError("full")


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("Ines", "Olaf"), lambda text: "[]", lambda text: text[:-90]]
)
def test_a_ledger_that_was_forged_before_packing_is_noticed(
    change: Callable[[str], str], case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evidence._contents

    def forged(case: Case, report: Any) -> Iterator[tuple[str, bytes]]:
        for name, body in whole(case, report):
            yield name, change(body.decode()).encode() if name.startswith("ledger/") else body

    monkeypatch.setattr(evidence, "_contents", forged)
    found = problems(packed(case, tmp_path))
    assert found
    assert all(problem.startswith("ledger/noai-history.json: L0") for problem in found)


def test_a_ledger_that_begins_after_the_events_is_said_to(case: Case, tmp_path: Path) -> None:
    early = replace(case, selection=replace(case.selection, span=Span.of("2026-01", "2026-10", NOVEMBER)))
    assert "It begins within this time" in content(packed(early, tmp_path))["README.txt"].decode()


def test_a_ledger_that_was_begun_after_the_case_is_packed_and_not_denied(case: Case, tmp_path: Path) -> None:
    before = replace(case, selection=replace(case.selection, span=Span.of("2026-01", "2026-01", NOVEMBER)))
    files = content(packed(before, tmp_path))
    readme = files["README.txt"].decode()
    assert "ledger/noai-history.json" in files
    assert "The site's ledger begins on 2026-08-02, after this time" in readme
    assert "\nledger/ " in readme
    assert "keeps no ledger" not in readme
    assert "\ndeclarations/" not in readme


def test_documents_that_are_not_kept_and_names_that_clash_lose_nothing(case: Case, tmp_path: Path) -> None:
    assert case.ledger is not None
    assert case.ledger.folder is not None
    entry = case.ledger.entries[0]
    document = entry.declarations["documents"]["/robots.txt"]
    declared = {
        "documents": {
            **dict.fromkeys(("/a b", "/A-b", "/a/b", "/declared.json", "/"), document),
            "/gone": {"sha256": "0" * 64},
        },
        "headers": {},
    }
    changed = Ledger((Entry({**entry.data, "declarations": declared}),), folder=case.ledger.folder)
    files = content(packed(replace(case, ledger=changed), tmp_path))
    names = json.loads(files["declarations/0001/declared.json"])["documents"]
    assert names == {
        "/a b": "a-b", "/A-b": "2-A-b", "/a/b": "3-a-b", "/declared.json": "2-declared.json", "/": "document",
    }  # fmt: skip
    assert all(f"declarations/0001/{name}" in files for name in names.values())


def test_more_files_than_an_archive_holds_are_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_zip, "MAX_MEMBERS", 5)
    with pytest.raises(ArchiveTooLarge, match="has more than 5 files; choose a shorter span"):
        packed(case, tmp_path)


def test_files_of_the_same_name_from_two_folders_stay_apart(case: Case, tmp_path: Path) -> None:
    write_events(tmp_path / "b" / "x y", [event()])
    write_events(tmp_path / "c", [event()])
    path = packed(replace(case, events=event_lines([tmp_path / "b" / "x y", tmp_path / "c"])), tmp_path)
    assert problems(path) == []
    assert {"events/events-2026-10.jsonl", "events/2-events-2026-10.jsonl"} <= content(path).keys()


def test_zlib_of_the_common_kind_reads_each_member(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert zlib.crc32(opened.read(info)) == info.CRC
