"""Pack evidence: the events of an operator, what was declared to it, and what proves both, in one signed archive."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.signed_claims import signing_key
from noai_guard.record.event_files import EventLine
from noai_guard.record.event_sources import EventLines, place_of
from noai_guard.record.evidence_check import (
    FORMAT,
    LEDGER,
    MANIFEST,
    SIGNATURE,
    SIGNING_KEYS,
    TIMESTAMP,
    listed_member,
    manifest_message,
    signature_file,
)
from noai_guard.record.ledger import Entry, Ledger, public_copy
from noai_guard.record.ledger_files import read_document
from noai_guard.record.ledger_keys import SigningKey
from noai_guard.record.report import Report, make_report
from noai_guard.record.report_csv import cells
from noai_guard.record.report_page import as_html
from noai_guard.record.sealed_zip import (
    CHUNK_BYTES,
    ArchiveTooLarge,
    Member,
    deflate,
    directory,
    local_header,
    problem_of_members,
    stored,
)
from noai_guard.record.selection import Selection, Span, outcome_of
from noai_guard.record.timestamps import timestamp
from noai_guard.resources import filled
from noai_guard.version import __version__

_MAX_NAME = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_COLUMNS = (
    *("time", "operator", "claim", "identity", "proof", "outcome", "action", "enforced", "rule", "usage", "declared"),
    *("work", "method", "host", "path", "status", "bytes", "client", "user_agent", "policy", "ledger"),
    *("file", "line", "original_line"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is packed. `made` is the day (ISO 8601). `catalog` holds the operator's agents and networks as known now,
    `key_sets` what key directories published (`kept_keys`). `authority` is the address of a timestamp authority."""

    events: EventLines
    selection: Selection
    site: str
    made: str
    catalog: Catalog
    key: SigningKey
    ledger: Ledger | None = None
    key_sets: Sequence[Mapping[str, Any]] = ()
    authority: str = ""


def pack_evidence(case: Case, path: Path) -> Report:
    """Write an archive and return the report in it. The same case gives the same bytes, but for its timestamp.

    Raises OSError, ArchiveTooLarge, NoTimestamp and MissingExtra; an earlier file at `path` is then as it was.
    """
    with ExitStack() as stack:
        packed = stack.enter_context(TemporaryFile())
        events = _EventMembers(stack)
        report = make_report(case.events, case.selection, case.site, events.add)
        contents = {**dict(_contents(case, report)), SIGNING_KEYS: _signing_keys(case, events.signing_keys)}
        members = [deflate(name, [contents[name]], packed) for name in sorted(contents)]
        members += events.members(packed)
        sums = "".join(f"{member.sha256}  {member.name}\n" for member in members)
        members.append(deflate("SHA256SUMS", [sums.encode()], packed))
        manifest = _json(_manifest(case, report, members, sorted(events.signing_keys)))
        signature = signature_file(case.key.name, case.key.sign(manifest_message(manifest)))
        heads = {MANIFEST: manifest, SIGNATURE: signature}
        if case.authority:
            heads[TIMESTAMP] = timestamp(manifest, case.authority)
        everything = [*(stored(name, content) for name, content in heads.items()), *members]
        if problem := problem_of_members(everything):
            raise ArchiveTooLarge(f"the archive {problem}; choose a shorter span")
        packed.seek(0)
        _write(path, everything, heads, packed)
        return report


def in_force(ledger: Ledger, span: Span) -> Sequence[Entry]:
    """Return the entries of which a promise was in force, or announced, at some moment of a span."""
    during = [entry for entry in ledger.entries if entry.time in span]
    numbered = {entry.number: entry for entry in (*ledger.promised(span.since), *during)}
    return [entry for _, entry in sorted(numbered.items())]


def _write(path: Path, members: Sequence[Member], heads: Mapping[str, bytes], packed: IO[bytes]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as output:
            for member in members:
                output.write(local_header(member))
                if member.name in heads:
                    output.write(heads[member.name])
                else:
                    output.writelines(_chunks(packed, member.packed_bytes))
            for _, entry in directory(members):
                output.write(entry)
            output.flush()
            os.fsync(output.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next bytes of a file."""
    while size and (chunk := file.read(min(size, CHUNK_BYTES))):
        yield chunk
        size -= len(chunk)


class _EventMembers:
    """The selected events as they are read: their lines by file, and all of them as one table."""

    def __init__(self, stack: ExitStack) -> None:
        self._lines, self._table = (stack.enter_context(TemporaryFile()) for _ in range(2))  # noqa: SIM115
        # Source -> name in the archive, lines, bytes. Sources are read one after the other, and so are their lines.
        self._files: dict[str, tuple[str, int, int]] = {}
        self._text = io.TextIOWrapper(self._table, encoding="utf-8", errors="replace", newline="")
        self.signing_keys: set[str] = set()
        """The thumbprints of the keys that proved claims."""
        self._rows = csv.writer(self._text)
        self._rows.writerow(_COLUMNS)

    def add(self, event: EventLine) -> None:
        """Take one event."""
        name, lines, size = self._files.get(event.file) or (self._new_name(event.file), 0, 0)
        size += self._lines.write(event.line + b"\n")
        self._files[event.file] = name, lines + 1, size
        record = event.record
        if thumbprint := signing_key(record.reasons):
            self.signing_keys.add(thumbprint)
        facts = {
            **{column: getattr(record, column, "") for column in _COLUMNS},
            "time": record.time.isoformat(timespec="milliseconds"),
            "outcome": outcome_of(record),
            "declared": " ".join(record.declared),
            "enforced": "yes" if record.enforced else "no",
            "file": name,
            "line": lines + 1,
            "original_line": place_of(event),
        }
        self._rows.writerow(cells(["" if fact is None else fact for fact in facts.values()]))

    def _new_name(self, file: str) -> str:
        taken = [name.removeprefix("events/") for name, _, _ in self._files.values()]
        return f"events/{_safe_name(file.rsplit('/', 1)[-1].removesuffix('.zst'), 'events', taken)}"

    def members(self, output: IO[bytes]) -> Iterator[Member]:
        """Pack what was taken to `output` and yield the members."""
        self._text.flush()
        self._lines.seek(0)
        for name, _, size in self._files.values():
            yield deflate(name, _chunks(self._lines, size), output)
        size = self._table.tell()
        self._table.seek(0)
        yield deflate("events.csv", _chunks(self._table, size), output)
        self._text.detach()


def _contents(case: Case, report: Report) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of all files that do not follow from single events."""
    yield "report.html", as_html(report).encode("utf-8", "replace")
    yield "report.json", _json(report.as_json())
    yield from _identity(case, report)
    entries: Sequence[Entry] = ()
    if case.ledger is not None:
        entries = in_force(case.ledger, case.selection.span)
        yield LEDGER, _json(public_copy(case.ledger))
        for entry in entries:
            yield from _declarations(case.ledger, entry)
    yield "README.txt", _readme(case, report, entries).encode("utf-8", "replace")


def _identity(case: Case, report: Report) -> Iterator[tuple[str, bytes]]:
    operators = {row.facts["operator"] for row in report.tables["operators"]} | {case.selection.operator}
    agents = [agent for agent in case.catalog.agents if agent.operator in operators]
    yield (
        "identity/agents.json",
        _json(
            {
                "catalogue": case.catalog.version,
                "agents": [
                    {
                        "name": agent.name,
                        "operator": agent.operator,
                        "usages": list(agent.usages),
                        "user_agents": list(agent.expected_user_agent),
                        "verify": {way: list(values) for way, values in agent.verify.items()},
                    }
                    for agent in agents
                ],
            }
        ),
    )
    uris = dict.fromkeys(uri for agent in agents for uri in agent.verify.get("ips_uri", ()))
    lists = [case.catalog.ranges[uri] for uri in uris if uri in case.catalog.ranges]
    yield (
        "identity/ranges.json",
        _json([{"uri": each.uri, "published": each.date, "networks": list(each.texts)} for each in lists]),
    )


def _signing_keys(case: Case, used: Set[str]) -> bytes:
    """Return what was published by the directories that hold keys that were used."""
    return _json([each for each in case.key_sets if any(key["thumbprint"] in used for key in each["keys"])])


def _declarations(ledger: Ledger, entry: Entry) -> Iterator[tuple[str, bytes]]:
    """Yield what an entry declared; `declared.json` says which file is the document of which path."""
    folder, files = f"declarations/{entry.number:04}", dict[str, str]()
    for path, document in entry.declarations["documents"].items():
        body = read_document(ledger, document["sha256"])
        if body is not None:
            files[path] = _safe_name(path.strip("/"), "document", {*files.values(), "declared.json"})
            yield f"{folder}/{files[path]}", body
    yield f"{folder}/declared.json", _json({"documents": files, "header_fields": entry.declarations["headers"]})


def _safe_name(text: str, otherwise: str, taken: Iterable[str]) -> str:
    """Return a file name that no system takes for anything else, and that is none of those that are taken."""
    stem = _UNSAFE.sub("-", text).strip(".-")[:_MAX_NAME] or otherwise
    folded, name, number = {each.lower() for each in taken}, stem, 1
    while name.lower() in folded:
        number += 1
        name = f"{number}-{stem}"
    return name


def _manifest(case: Case, report: Report, members: Iterable[Member], signing_keys: Sequence[str]) -> dict[str, Any]:
    selection, ledger = case.selection, case.ledger
    return {
        "format": FORMAT,
        "program": f"noai-guard {__version__}",
        "made": case.made,
        "key": case.key.name,
        **({"timestamp_by": case.authority} if case.authority else {}),
        "site": case.site,
        "operator": selection.operator,
        "path": selection.path,
        "since": selection.span.since.isoformat(),
        "until": selection.span.until.isoformat(),
        "totals": asdict(report.totals),
        "ledger": None
        if ledger is None
        else {
            "head": {"number": ledger.head.number, "hash": ledger.head.hash},
            "in_force": [entry.number for entry in in_force(ledger, selection.span)],
        },
        "sources": [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "events": file.events}
            for file in case.events.files
        ],
        "signing_keys": signing_keys,
        "notes": list(report.notes),
        "files": [listed_member(member) for member in members],
    }


_LEDGER_CONTENTS = """\
ledger/                  the site's ledger: each version of its policy, dated, signed and chained, with what changed"""
_DECLARED_CONTENTS = """\
declarations/NUMBER/     what the site declared by the entry of that number: robots.txt, pages, header fields;
                         declared.json in it says which file stood at which address"""
_TIMESTAMP_CONTENTS = """\
timestamp.tsr            the timestamp of that list by an authority (RFC 3161)"""
_TIMESTAMPED = """\
- The signature shows that whoever holds the key packed these very files. The timestamp, by
  %s,
  shows when at the latest. Without noai-guard, with the authority's certificates in a file ca.pem:

      openssl ts -verify -data manifest.json -in timestamp.tsr -CAfile ca.pem"""
_NOT_TIMESTAMPED = """\
- The signature shows that whoever holds the key packed these very files. It does not show when: for that,
  have the archive timestamped (noai-guard evidence --timestamp), or hand a copy to a notary."""
_NO_LEDGER = (
    "The site keeps no ledger of its declarations, so this archive has none: ask the site what it declared then."
)


def _readme(case: Case, report: Report, entries: Sequence[Entry]) -> str:
    notes = [f"- {note}" for note in report.notes]
    return filled(
        "record/evidence.txt",
        site=case.site or "(without a name)",
        operator=case.selection.operator or "(all)",
        span=str(case.selection.span),
        made=case.made,
        version=__version__,
        key=case.key.name,
        summary=_summary(report),
        ledger_contents=[
            *(_LEDGER_CONTENTS.splitlines() if case.ledger is not None else ()),
            *(_DECLARED_CONTENTS.splitlines() if entries else ()),
        ],
        timestamp_contents=_TIMESTAMP_CONTENTS.splitlines() if case.authority else (),
        timestamp_note=(_TIMESTAMPED % case.authority if case.authority else _NOT_TIMESTAMPED).splitlines(),
        ledger_note=_ledger_note(case, entries),
        notes=notes,
    )


def _ledger_note(case: Case, entries: Sequence[Entry]) -> str:
    """Return what the ledger shows of the span of the case, in a sentence."""
    if case.ledger is None:
        return _NO_LEDGER
    if not entries:
        first = case.ledger.entries[0].time.date()
        return f"The site's ledger begins on {first}, after this time: ask the site what it declared then."
    numbers = ", ".join(f"{entry.number} (effective {entry.data['effective']})" for entry in entries)
    note = f"In force, or announced, in this time were the entries of the ledger number {numbers}."
    if entries[0].time > case.selection.span.since:
        note += " It begins within this time: what was declared before is not in it."
    return note


def _summary(report: Report) -> str:
    totals = report.totals
    identities: dict[str, int] = {}
    for row in report.tables["claims"]:
        identity = row.facts["identity"]
        identities[identity] = identities.get(identity, 0) + row.figures.events
    false = list(report.false_names.values())
    others = sum(each.events for each in false)
    not_of_it = (
        "\n\n"
        f"NOT OF THE OPERATOR, and contained in these figures: {others:,} requests of somebody else under its name\n"
        f"(spoofed): refused {sum(each.refused for each in false):,}, answered with content "
        f"{sum(each.answered for each in false):,} ({sum(each.bytes_got for each in false):,} bytes), "
        f"works handed over {sum(each.works_got for each in false):,}."
        if others
        else ""
    )
    proofs = ", ".join(f"{count:,} {identity}" for identity, count in sorted(identities.items()))
    return (
        f"Requests:                {totals.events:,} ({proofs or 'none'})\n"
        f"refused:                 {totals.refused:,}\n"
        f"answered with content:   {totals.answered:,} ({totals.bytes_got:,} bytes)\n"
        f"read a declaration:      {totals.declarations:,}\n"
        f"answered with an error:  {totals.failed:,}\n"
        f"Works asked for:         {totals.works_tried:,}\n"
        f"handed over:             {totals.works_got:,}{not_of_it}"
    )


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode("ascii")
