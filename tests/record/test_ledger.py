"""The ledger: entries are written, verified and kept; whatever is changed in them is found and named."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import Creators
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.record.canonical_json import canonical, digest
from noai_guard.record.canonical_policy import policy_data, policy_from
from noai_guard.record.history import state_of
from noai_guard.record.ledger import Kind, LedgerInvalid, iso, public_copy, signed_entry, signed_head
from noai_guard.record.ledger_files import read_document, read_ledger
from noai_guard.record.ledger_keys import KeyUnusable, is_signed_by, new_key, read_key
from noai_guard.record.promises import in_force
from noai_guard.record.publishing import WISHES_CHANGED, Draft, Signing, draft, notice_over, publish
from noai_guard.record.verification import problems_of
from tests.record.ledger_kit import AGENTS, DAY, LOOSER, START, STRICT, Book, policy_of

NOW = START + 200 * DAY


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A ledger of five entries: first, looser, new key, catalogue, correction."""
    made = Book(tmp_path_factory.mktemp("ledger"))
    made.publish(STRICT)
    made.publish(LOOSER, START + DAY)
    made.rotate(START + 40 * DAY)
    newer = type(AGENTS)(AGENTS.agents, "newer")
    made.publish(LOOSER, START + 42 * DAY, catalog=newer)
    made.publish(STRICT + "mode: monitor\n", START + 50 * DAY, "a wrong address", catalog=newer)
    return made


@pytest.fixture
def copy(book: Book, tmp_path: Path) -> Path:
    return Path(shutil.copytree(book.path, tmp_path / "copy"))


def codes(path: Path, **more: Any) -> list[str]:
    return [problem.code for problem in problems_of(read_ledger(path), now=NOW, **more)]


def edited(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_what_was_written_is_whole(book: Book) -> None:
    ledger = book.ledger
    assert problems_of(ledger, ledger.entries[0].key, NOW) == ()
    assert [entry.kind for entry in ledger.entries] == ["publish", "publish", "key", "catalogue", "correction"]
    assert [entry.number for entry in ledger.entries] == [1, 2, 3, 4, 5]
    assert ledger.entries[1].loosening == ("training: refused -> allowed under /press/**",)
    assert ledger.entries[1].effective == START + DAY + timedelta(days=30, hours=12)
    assert ledger.head.reason == "a wrong address"
    assert ledger.head.effective == ledger.head.time
    assert ledger.entries[3].changes == ()
    assert ledger.entries[0].author == "Ines"
    robots = ledger.entries[0].declarations["documents"]["/robots.txt"]
    assert b"GPTBot" in (read_document(ledger, robots["sha256"]) or b"")
    assert any("x-robots-tag" in line for line in ledger.entries[0].declarations["headers"]["/press/**"])


def test_the_public_copy_alone_is_enough(book: Book, tmp_path: Path) -> None:
    file = tmp_path / "noai-history.json"
    file.write_bytes(canonical(public_copy(book.ledger)))
    assert codes(file, key=book.ledger.entries[0].key) == []
    edited(file, lambda data: data["entries"].pop(1))
    assert codes(file)[0] == "L004"
    folder = tmp_path / "public"
    folder.mkdir()
    for entry in book.path.glob("*.json"):
        shutil.copy(entry, folder)
    assert set(codes(folder)) == {"L008"}  # the documents are not there


def test_what_is_in_force_at_a_moment(book: Book) -> None:
    ledger = book.ledger
    assert ledger.promised(START - DAY) == ()
    assert ledger.at(START - DAY) is None

    def numbers(moment: Any) -> list[int]:
        return [entry.number for entry in ledger.promised(moment)]

    assert numbers(START) == [1]
    assert numbers(START + 2 * DAY) == [1, 2]
    assert numbers(START + 32 * DAY) == [2]
    at = ledger.at(START + 60 * DAY)
    assert at is not None
    assert at.number == 5
    assert [entry.number for entry in ledger.announced(START + 2 * DAY)] == [2]
    assert ledger.next_change(START + 2 * DAY) == ledger.entries[1].effective
    assert ledger.next_change(NOW) is None


def test_a_withdrawn_announcement_takes_no_effect(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    book.publish(LOOSER, START + DAY)
    book.publish(STRICT, START + 2 * DAY)
    ledger = book.ledger
    assert ledger.head.loosening == ()
    assert ledger.head.effective == ledger.entries[1].effective
    assert [entry.number for entry in ledger.promised(START + 90 * DAY)] == [3]
    assert problems_of(ledger, now=NOW) == ()


def announced_at(book: Book, text: str, moment: Any) -> list[tuple[str, tuple[str, ...]]]:
    current = in_force(policy_of(text, book.path), book.ledger, moment)
    return [(each.day, each.changes) for each in current.promised.announcements]


def test_only_what_will_be_looser_is_announced(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    book.publish(LOOSER, START + DAY)
    training = "training: refused -> allowed under /press/**"
    answers = "ai-search: refused -> allowed under /press/**"
    assert announced_at(book, LOOSER, START + 2 * DAY) == [("2026-02-11", (training,))]

    stricter = LOOSER + "notices: [{text: Ask first.}]\n"
    book.publish(stricter, START + 2 * DAY)
    assert announced_at(book, stricter, START + 3 * DAY) == [("2026-02-11", (training,))]
    ledger = book.ledger
    assert not ledger.waits(ledger.head)
    promised = ledger.promised(START + 3 * DAY)
    states = ["in force", "announced, then replaced by entry 3", "in force"]
    assert [state_of(entry, ledger, promised) for entry in ledger.entries] == states

    partly = stricter.replace("{train-ai: yes}", "{train-ai: no, ai-search: yes}")
    book.publish(partly, START + 3 * DAY)
    assert announced_at(book, partly, START + 4 * DAY) == [("2026-02-13", (answers,))]
    withdrawn = STRICT + "notices: [{text: Ask first.}]\n"
    book.publish(withdrawn, START + 4 * DAY)
    assert announced_at(book, withdrawn, START + 5 * DAY) == []


def test_what_is_announced_for_two_days_stands_with_each(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    book.publish(LOOSER, START + DAY)
    both = LOOSER + "exemptions: {paths: [/open/**]}\n"
    book.publish(both, START + 5 * DAY)
    days = announced_at(book, both, START + 6 * DAY)
    assert [day for day, _ in days] == ["2026-02-11", "2026-02-15"]
    assert days[1][1] == ("/open/** is open to everybody, whatever the policy refuses",)
    book.rotate(START + 6 * DAY)
    assert announced_at(book, both, START + 7 * DAY) == days


def _change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.__setitem__(key, value)


def _deep(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["policy"]["usages"].pop("seo"),
        lambda data: data["policy"]["paths"][0]["usages"].clear(),
        _deep("policy", "paths", 0, "pattern", value=True),
        _deep("policy", "paths", 0, "pattern", value="press"),
        _deep("policy", "exemptions", "paths", value=["open"]),
        _deep("policy", "declarations", value=""),
        _deep("policy", "notice", value="30"),
        _deep("policy", "notice", value=10**400),
        _deep("declarations", "headers", "/**", value=True),
        _deep("policy", "works", value=7),
    ],
)
def test_an_entry_with_a_policy_of_another_form_is_named_and_never_ends_the_program(copy: Path, change: Any) -> None:
    edited(copy / "0002.json", change)
    try:
        problems = problems_of(read_ledger(copy), now=NOW)
    except LedgerInvalid as error:
        problems = error.problems
    assert problems[0].code in ("L001", "L002")
    assert "0002.json" in problems[0].file


@pytest.mark.parametrize(
    "change",
    [
        _change("format", "noai-ledger/2"),
        _change("more", 1),
        lambda data: data.pop("format"),
        _change("hash", "\ud800"),
        _change("number", True),
    ],
)
def test_a_head_of_another_form_is_named(copy: Path, change: Any) -> None:
    edited(copy / "head.json", change)
    assert codes(copy) == ["L004"]


def test_a_public_copy_with_a_member_of_its_own_is_none(book: Book, tmp_path: Path) -> None:
    file = tmp_path / "copy.json"
    file.write_text(json.dumps({**public_copy(book.ledger), "note": "verified by a notary"}))
    with pytest.raises(LedgerInvalid, match="is no ledger"):
        read_ledger(file)


def test_a_withheld_part_that_was_emptied_is_missing(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish("partners: [{name: p, usages: [train-ai], proof: {networks: [10.0.0.0/8]}}]")
    (book.path / "withheld" / "0001.json").write_text("{}")
    assert codes(book.path) == ["L009"]
    shutil.rmtree(book.path / "withheld")
    assert codes(book.path) == []


def test_of_a_usage_that_there_was_not_yet_nothing_was_promised() -> None:
    data = policy_data(policy_of("usages: {seo: no}"))
    del data["usages"]["seo"]
    assert policy_from(data).usages[Usage.SEO] is Action.ALLOW


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (_change("author", "Somebody else"), "L002", "entry 2 was changed"),
        (_change("effective", iso(START + DAY)), "L002", "entry 2 was changed"),
        (_change("signature", "A" * 86), "L003", "entry 2 does not have the signature"),
        (_change("key", "ed25519:" + "A" * 43), "L002", "entry 2 was changed"),
        (_change("time", iso(START - DAY)), "L006", "entry 2 was back-dated"),
        (_change("loosening", []), "L002", "entry 2 was changed"),
        (lambda data: data["policy"]["usages"].__setitem__("train-ai", "allow"), "L002", "entry 2 was changed"),
    ],
)
def test_a_changed_entry_is_named(copy: Path, change: Any, code: str, words: str) -> None:
    edited(copy / "0002.json", change)
    found = problems_of(read_ledger(copy), now=NOW)
    assert any(problem.code == code and problem.message.startswith(words) for problem in found), found
    assert all("0002.json" in problem.file for problem in found if problem.code == code)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_dropped_entry_is_named(copy: Path, number: int) -> None:
    (copy / f"000{number}.json").unlink()
    found = problems_of(read_ledger(copy), now=NOW)
    said = " ".join(problem.message for problem in found if problem.code == "L004")
    assert f"entry {number} is missing" in said or f"the last one written was entry {number}" in said


def test_a_missing_or_older_head_is_noticed(copy: Path, book: Book) -> None:
    head = json.loads((copy / "head.json").read_text())
    (copy / "head.json").unlink()
    assert codes(copy) == ["L004"]
    (copy / "head.json").write_text("[]")
    assert codes(copy) == ["L004"]
    (copy / "head.json").write_text(json.dumps({**head, "number": 9}))
    assert codes(copy) == ["L003"]
    entry = book.ledger.entries[3].data
    (copy / "head.json").write_text(json.dumps(signed_head(entry, book.key)))
    assert codes(copy) == ["L002"]


def test_reordered_entries_are_named(copy: Path, tmp_path: Path) -> None:
    one, other = ((copy / name).read_text() for name in ("0001.json", "0002.json"))
    (copy / "0001.json").write_text(other)
    (copy / "0002.json").write_text(one)
    found = problems_of(read_ledger(copy), now=NOW)
    assert "entry 1 stands behind entry 2: the entries were reordered" in [problem.message for problem in found]


def test_a_copy_that_was_written_anew_differs_from_an_earlier_one(book: Book, copy: Path, tmp_path: Path) -> None:
    forged = Book(tmp_path / "forged")
    forged.publish(LOOSER)
    forged.publish(LOOSER + "mode: monitor\n", START + DAY, "oh")
    assert codes(forged.path) == []
    assert set(codes(forged.path, earlier=book.ledger)) == {"L010"}
    assert codes(copy, earlier=book.ledger) == []
    assert "L003" in codes(forged.path, key=book.ledger.entries[0].key)


def _forged(book: Book, path: Path, **facts: Any) -> list[str]:
    """Return the codes if the holder of the key writes an entry as it should not be."""
    last = read_ledger(path).head
    data = {key: value for key, value in last.data.items() if key not in ("hash", "signature", "key", "format")}
    data |= {"number": last.number + 1, "previous": last.hash, **facts}
    entry = signed_entry(data, book.key)
    (path / f"{entry['number']:04}.json").write_text(json.dumps(entry))
    (path / "head.json").write_text(json.dumps(signed_head(entry, book.key)))
    return codes(path)


def test_the_holder_of_the_key_cannot_skip_the_notice_or_back_date(book: Book, copy: Path, tmp_path: Path) -> None:
    later, free = iso(START + 60 * DAY), json.loads(json.dumps(book.ledger.head.data["policy"]))
    free["usages"]["train-ai"] = "allow"
    given = {"time": later, "effective": later, "kind": "publish", "reason": "", "loosening": []}
    again = [Path(shutil.copytree(copy, tmp_path / f"again{n}")) for n in range(6)]
    assert _forged(book, again[0], **given) == []
    assert _forged(book, again[1], **given, policy=free) == ["L007"]
    assert _forged(book, again[2], **{**given, "kind": "correction"}) == ["L007"]
    assert "L006" in _forged(book, again[3], **{**given, "time": iso(START)})
    assert "L006" in _forged(book, again[4], **{**given, "effective": iso(START + 59 * DAY)})
    assert _forged(book, again[5], **{**given, "time": iso(NOW + DAY), "effective": iso(NOW + DAY)}) == ["L006"]


def test_a_correction_cannot_hide_that_the_entry_before_was_pending(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    book.publish(LOOSER, START + DAY)
    given = {"time": iso(START + 2 * DAY), "effective": iso(START + 2 * DAY), "kind": "catalogue", "loosening": []}
    assert _forged(book, book.path, **given) == ["L007"]


def test_an_old_key_signs_nothing_after_it_was_replaced(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT)
    old = book.key
    book.rotate(START + DAY)
    book.key = old
    book.publish(STRICT + "on_unknown: deny\n", START + 2 * DAY)
    assert set(codes(book.path)) == {"L003"}


def test_a_changed_document_is_named(copy: Path) -> None:
    digests = [facts["sha256"] for facts in read_ledger(copy).head.declarations["documents"].values()]
    (copy / "documents" / digests[0]).write_bytes(b"something else")
    (copy / "documents" / digests[1]).unlink()
    assert codes(copy).count("L008") >= 2
    assert read_document(read_ledger(copy), "../../etc/passwd") is None


PRIVATE = STRICT + (
    "partners: [{name: secret-ai, usages: [train-ai], proof: {networks: [10.9.0.0/16]}},"
    " {name: open-ai, named: yes, usages: [seo], proof: {networks: [10.8.0.0/16]}}]\n"
    "exemptions: {addresses: [10.7.0.0/16]}\nnetworks: {office: [10.6.0.0/16]}\n"
    "rules: [{networks: [office], action: allow}]\nidentity: {networks: {GPTBot: [10.5.0.0/16]}}\n"
    "agents: [{name: Mine, usages: [scraper], networks: [10.4.0.0/16]}]\n"
)


def test_who_has_a_licence_and_which_addresses_are_exempt_is_promised_without_being_shown(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(PRIVATE)
    book.publish(PRIVATE + "mode: monitor\n", START + DAY)
    ledger = book.ledger
    assert problems_of(ledger, now=NOW) == ()
    shown = canonical(public_copy(ledger)).decode()
    assert "open-ai" in shown
    assert not any(secret in shown for secret in ("secret-ai", "10.9.", "10.7.", "10.6.", "10.5.", "10.4."))
    assert ledger.head.changes == ("the guard only watches, and refuses nobody (mode: enforce -> monitor)",)
    assert [partner.name for partner in ledger.head.policy().partners] == ["secret-ai", "open-ai"]
    assert [partner.name for partner in ledger.head.public_policy.partners] == ["open-ai"]
    edited(book.path / "withheld" / "0001.json", lambda data: next(iter(data.values())).update(value=["10.0.0.0/8"]))
    edited(book.path / "withheld" / "0002.json", lambda data: next(iter(data.values())).update(value=["10.0.0.0/8"]))
    assert "L009" in codes(book.path)
    (book.path / "withheld" / "0001.json").write_text("{}")
    (book.path / "withheld" / "0002.json").write_text('{"x": {"value": 1, "salt": ""}}')
    assert "L009" in codes(book.path)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "7", '{"format": "other"}', '{"a": 1, "a": 2}', '{"a": 1.5}', "[" * 100_000,
        '{"format": "noai-ledger/1"}',
    ],
)  # fmt: skip
def test_whatever_stands_in_a_file_is_a_problem_and_no_traceback(copy: Path, text: str) -> None:
    (copy / "0002.json").write_text(text)
    with pytest.raises(LedgerInvalid) as raised:
        read_ledger(copy)
    assert {problem.code for problem in raised.value.problems} == {"L001"}
    file = copy.with_suffix(".json")
    file.write_text(text)
    with pytest.raises(LedgerInvalid):
        read_ledger(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", "2"), ("number", True), ("number", 0), ("kind", "other"), ("time", "yesterday"), ("changes", "x"),
        ("loosening", [1]), ("policy", {}), ("policy", 7), ("declarations", []), ("author", None), ("new_key", 1),
        ("declarations", {"documents": {"/x": 1}, "headers": {}}), ("effective", "2026-13-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_an_entry_of_another_form_is_a_problem(copy: Path, key: str, value: Any) -> None:
    edited(copy / "0002.json", _change(key, value))
    with pytest.raises(LedgerInvalid, match=r"0002\.json: L001"):
        read_ledger(copy)


def test_a_folder_that_is_not_there_or_empty_says_what_to_type(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(LedgerInvalid, match="noai-guard ledger init"):
            read_ledger(path)
    (tmp_path / "0001.json").mkdir()
    with pytest.raises(LedgerInvalid, match="L001"):
        read_ledger(tmp_path)


@st.composite
def tampering(draw: st.DrawFn) -> tuple[str, int, int, int]:
    return (
        draw(st.sampled_from(["byte", "drop", "swap", "renumber"])),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(st.integers(0, 10**6)),
    )


@settings(max_examples=300)
@given(tampering())
def test_any_tampering_with_the_public_copy_is_found(book: Book, how: tuple[str, int, int, int]) -> None:
    kind, one, other, position = how
    ledger = book.ledger
    entries = [json.loads(json.dumps(entry.data)) for entry in ledger.entries]
    if kind == "drop":
        del entries[one - 1]
    elif kind == "swap":
        entries[one - 1], entries[other - 1] = entries[other - 1], entries[one - 1]
    elif kind == "renumber":
        del entries[one - 1]
        for number, entry in enumerate(entries, 1):
            entry["number"] = number
    else:
        text = bytearray(canonical(entries[one - 1]))
        index = position % len(text)
        text[index] ^= 1
        try:
            entries[one - 1] = json.loads(bytes(text))
        except ValueError:
            return
    unchanged = entries == [entry.data for entry in ledger.entries]
    file = book.folder / "tampered.json"
    file.write_bytes(json.dumps({"format": "noai-ledger/1", "head": ledger.head_data, "entries": entries}).encode())
    try:
        problems: Any = problems_of(read_ledger(file), ledger.entries[0].key, NOW)
    except LedgerInvalid as error:
        problems = error.problems
    assert bool(problems) is not unchanged


def test_a_notice_is_over_at_midnight() -> None:
    assert notice_over(START, 0) == START
    assert notice_over(START, 1) == START + timedelta(days=1, hours=12)
    midnight = START.replace(hour=0)
    assert notice_over(midnight, 1) == midnight + DAY


def test_nothing_is_drafted_where_nothing_changed(book: Book) -> None:
    last = policy_of(STRICT + "mode: monitor\n", book.path)
    newer = type(AGENTS)(AGENTS.agents, "newer")
    assert draft(last, newer, book.ledger, NOW).kind is None
    assert draft(last, AGENTS, book.ledger, NOW).kind is Kind.CATALOGUE


def test_the_longer_of_two_notices_is_owed(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT, notice=60)
    book.publish(LOOSER, START + DAY, notice=1)
    assert book.ledger.head.effective == START + DAY + timedelta(days=60, hours=12)


def test_a_key_is_kept_from_others_and_never_repeated(tmp_path: Path) -> None:
    file = tmp_path / "a.key"
    key = new_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key(file).name == key.name
    with pytest.raises(FileExistsError):
        new_key(file)
    (tmp_path / "b.key").write_text("secret")
    for name in ("b.key", "none.key"):
        with pytest.raises(KeyUnusable) as raised:
            read_key(tmp_path / name)
        assert "secret" not in str(raised.value)
    assert is_signed_by(key.name, b"x", key.sign(b"x"))
    assert not is_signed_by(key.name, b"y", key.sign(b"x"))
    assert not is_signed_by("ed25519:?", b"x", key.sign(b"x"))
    assert not is_signed_by(key.name.removeprefix("ed25519:"), b"x", key.sign(b"x"))


def test_json_is_spelled_as_rfc_8785_says() -> None:
    # The example of section 3.2.3: keys sort by UTF-16.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(names, 0)))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]
    assert canonical({"b": [True, None, '\x0f\n"'], "a": -1}) == b'{"a":-1,"b":[true,null,"\\u000f\\n\\""]}'
    assert digest([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    for other in (1.5, 2**53, {1}, "\ud800"):
        with pytest.raises(ValueError):  # noqa: PT011
            canonical(other)


def test_every_code_of_a_problem_is_explained() -> None:
    root = Path(__file__).parents[2]
    source = "".join(file.read_text() for file in (root / "noai_guard/record").glob("*.py"))
    page = (root / "docs/reference/ledger.md").read_text()
    assert set(re.findall(r'"(L\d{3})"', source)) == set(re.findall(r"(?m)^### (L\d{3})$", page))


def test_what_documents_declare_of_works_is_published_when_it_changes(tmp_path: Path) -> None:
    book = Book(tmp_path)
    text = "usages: {ai-search: yes}\n"
    book.publish(text)
    policy = policy_of(f"{text}works: ['/audio/{{work}}.mp3']\n", book.path)

    def drafted(**wishes: Choice) -> Draft:
        index = WishIndex(WorkWishes(work, {Usage.AI_SEARCH: choice}) for work, choice in wishes.items())
        wished = replace(policy, creators=Creators(index=index))
        made = draft(wished, AGENTS, book.ledger, START + DAY)
        if made.kind is not None:
            publish(book.path, wished, AGENTS, book.ledger, made, Signing("Ines", book.key, START + DAY))
        return made

    assert drafted().kind is None
    first = drafted(tide=Choice.DISALLOW)
    assert (first.kind, first.changes, first.effective) == (Kind.PUBLISH, (WISHES_CHANGED,), START + DAY)
    assert drafted(tide=Choice.DISALLOW).kind is None
    assert drafted(tide=Choice.DISALLOW, ebb=Choice.DISALLOW).kind is Kind.PUBLISH
    assert drafted().kind is Kind.PUBLISH
    assert [entry.number for entry in book.ledger.entries] == [1, 2, 3, 4]
    assert problems_of(book.ledger, book.ledger.entries[0].key, NOW) == ()
    kept = book.ledger.entries[2].declarations["documents"]["/license.xml"]["sha256"]
    assert b"/audio/ebb.mp3" in (read_document(book.ledger, kept) or b"")
