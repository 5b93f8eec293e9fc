"""Timestamps of somebody else: made by a real authority (openssl ts) on loopback, and checked."""

import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from noai_guard.cli import main
from noai_guard.core.catalog import Catalog
from noai_guard.record.evidence import Case, pack_evidence
from noai_guard.record.evidence_check import MANIFEST, SIGNATURE, TIMESTAMP, verify_evidence
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import new_key
from noai_guard.record.sealed_zip import local_header, stored
from noai_guard.record.selection import Selection, Span
from noai_guard.record.timestamps import NoTimestamp, read_authorities
from noai_guard.record.verification import problems_of
from tests.record.events_kit import event, write_events
from tests.record.ledger_kit import DAY, STRICT, Book
from tests.record.test_ledger import edited
from tests.servers import require_program

_CONFIG = """\
[tsa]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
[extensions]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
"""


@dataclass
class Authority:
    url: str
    certificates: Path


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    require_program("openssl")
    folder = tmp_path_factory.mktemp("authority")
    config, keys = folder / "ts.cnf", ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    config.write_text(_CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    ca, request = ("-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem"), f"{folder}/tsa.csr"
    openssl("req", "-x509", *keys, *ca, "-days", "30", "-subj", "/CN=Test CA")
    openssl("req", *keys, "-keyout", f"{folder}/tsa.key", "-out", request, "-subj", "/CN=Test TSA")
    signing = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "30")
    openssl(
        *("x509", "-req", "-in", request, *signing),
        *("-extfile", str(config), "-extensions", "extensions", "-out", f"{folder}/tsa.pem"),
    )

    class Responder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = folder / "query.tsq"
            query.write_bytes(self.rfile.read(int(self.headers["content-length"])))
            assert self.headers["content-type"] == "application/timestamp-query"
            if self.path == "/broken":
                body = b"nothing of that kind"
            else:
                body = openssl("ts", "-reply", "-config", str(config), "-section", "tsa", "-queryfile", str(query))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Responder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Authority(f"http://127.0.0.1:{server.server_port}", folder / "ca.pem")
    server.shutdown()
    server.server_close()
    thread.join()


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_an_entry_is_timestamped_and_the_timestamp_is_checked(authority: Authority, tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT, now(), authority=authority.url)
    ledger, trusted = book.ledger, read_authorities(authority.certificates)
    assert ledger.head.data["timestamp_by"] == authority.url
    assert problems_of(ledger, authorities=trusted) == ()
    assert problems_of(ledger) == ()
    other = tmp_path / "other.pem"
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=Other"),
        *("-keyout", str(tmp_path / "other.key"), "-out", str(other)),
    )
    (problem,) = problems_of(ledger, authorities=read_authorities(other))
    assert (problem.code, "not to be believed" in problem.message) == ("L011", True)


def test_openssl_itself_believes_the_timestamp(authority: Authority, tmp_path: Path) -> None:
    from base64 import b64decode

    book = Book(tmp_path)
    book.publish(STRICT, now(), authority=authority.url)
    data = book.ledger.head.data
    (tmp_path / "token.tsr").write_bytes(b64decode(data["timestamp"]))
    (tmp_path / "message").write_text(f"{data['hash']}.{data['signature']}")
    said = openssl(
        *("ts", "-verify", "-in", str(tmp_path / "token.tsr"), "-data", str(tmp_path / "message")),
        *("-CAfile", str(authority.certificates)),
    )
    assert b"OK" in said


def test_a_back_dated_entry_is_found_by_its_timestamp(authority: Authority, tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.publish(STRICT, now() - 90 * DAY, authority=authority.url)
    (problem,) = problems_of(book.ledger)
    assert problem.code == "L006"
    assert problem.message.startswith("entry 1 was back-dated: it says ")
    later = Book(tmp_path / "later")
    later.publish(STRICT, now() + DAY, authority=authority.url)
    assert "was dated too late" in problems_of(later.ledger, now=now() + DAY)[0].message


def test_a_timestamp_that_was_taken_away_or_is_another_is_found(authority: Authority, tmp_path: Path) -> None:
    book, other = Book(tmp_path), Book(tmp_path / "other")
    for each in (book, other):
        each.publish(STRICT, now(), authority=authority.url)
    file, stolen = book.path / "0001.json", other.ledger.head.data["timestamp"]
    for value, words in ((stolen, "of something else"), ("!", "cannot be read"), ("AAAA", "cannot be read")):
        edited(file, lambda data, value=value: data.__setitem__("timestamp", value))  # type: ignore[misc]
        (problem,) = problems_of(read_ledger(book.path))
        assert (problem.code, words in problem.message) == ("L011", True)
    edited(file, lambda data: data.pop("timestamp"))
    (problem,) = problems_of(read_ledger(book.path))
    assert "is missing" in problem.message


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "file:///etc/passwd", "{url}/broken"])
def test_without_a_timestamp_that_was_asked_for_nothing_is_written(
    authority: Authority, tmp_path: Path, address: str
) -> None:
    book = Book(tmp_path)
    with pytest.raises(NoTimestamp):
        book.publish(STRICT, now(), authority=address.format(url=authority.url))
    assert not book.path.exists()


def test_certificates_are_read_or_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(ValueError, match="PEM"):
        read_authorities(tmp_path / "no.pem")


def packed(folder: Path, authority: Authority, made: str | None = None) -> tuple[Path, str]:
    """Return an archive of evidence with a timestamp, and the name of its key."""
    events = write_events(folder / "events", [event()])
    selection, key = Selection(Span.of("2026-10", "2026-10", now()), operator="OpenAI"), new_key(folder / "key.pem")
    day = made or f"{now():%Y-%m-%d}"
    pack_evidence(
        Case(events, selection, "Night Ferry", day, Catalog(()), key, authority=authority.url), folder / "case.zip"
    )
    return folder / "case.zip", key.name


def test_evidence_is_timestamped_and_openssl_itself_believes_it(authority: Authority, tmp_path: Path) -> None:
    case, key = packed(tmp_path, authority)
    check = verify_evidence(case, key, read_authorities(authority.certificates))
    assert check.problems == []
    assert check.timestamped is not None
    assert abs(check.timestamped - now()) < timedelta(minutes=5)
    with zipfile.ZipFile(case) as archive:
        archive.extractall(tmp_path / "unpacked")
    said = openssl(
        *("ts", "-verify", "-data", str(tmp_path / "unpacked" / "manifest.json")),
        *("-in", str(tmp_path / "unpacked" / "timestamp.tsr"), "-CAfile", str(authority.certificates)),
    )
    assert b"OK" in said
    readme = (tmp_path / "unpacked" / "README.txt").read_text()
    assert "openssl ts -verify -data manifest.json -in timestamp.tsr -CAfile ca.pem" in readme
    assert authority.url in readme


def test_a_timestamp_of_evidence_by_somebody_else_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    case, key = packed(tmp_path, authority)
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=Other"),
        *("-keyout", str(tmp_path / "other.key"), "-out", str(tmp_path / "other.pem")),
    )
    (problem,) = verify_evidence(case, key, read_authorities(tmp_path / "other.pem")).problems
    assert problem.startswith("timestamp.tsr is not to be believed")


def test_back_dated_evidence_is_found_by_its_timestamp(authority: Authority, tmp_path: Path) -> None:
    case, _ = packed(tmp_path, authority, "2026-01-01")
    (problem,) = verify_evidence(case).problems
    assert problem.startswith("manifest.json says that it was made on 2026-01-01, and its timestamp says ")


def test_each_flipped_bit_of_a_timestamp_of_evidence_is_named(authority: Authority, tmp_path: Path) -> None:
    case, _ = packed(tmp_path, authority)
    body = case.read_bytes()
    begin = body.index(b"timestamp.tsr")
    other = tmp_path / "other.zip"
    for position in range(begin - 30, begin + 400, 7):
        other.write_bytes(body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :])
        (problem,) = verify_evidence(other).problems
        assert problem.startswith("timestamp.tsr "), position


def test_the_timestamp_of_another_archive_is_of_something_else(authority: Authority, tmp_path: Path) -> None:
    case, _ = packed(tmp_path, authority)
    (tmp_path / "second").mkdir()
    second, _ = packed(tmp_path / "second", authority)
    heads = {}
    for path in (case, second):
        with zipfile.ZipFile(path) as archive:
            heads[path] = [(name, archive.read(name)) for name in (MANIFEST, SIGNATURE, TIMESTAMP)]
    begin = sum(len(local_header(stored(*head))) + len(head[1]) for head in heads[case])
    swapped = [*heads[case][:2], heads[second][2]]
    other = tmp_path / "other.zip"
    other.write_bytes(b"".join(local_header(stored(*head)) + head[1] for head in swapped) + case.read_bytes()[begin:])
    assert "timestamp.tsr is of something else; ask for another copy" in verify_evidence(other).problems


def test_the_command_has_evidence_timestamped(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "noai-events", [event()])

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    run("evidence", "new-key", "key.pem")
    pack = ("evidence", "--operator", "OpenAI", "--since", "2026-10", "--events", "noai-events", "--key", "key.pem")
    assert "gave no timestamp" in run(*pack, "--timestamp", "http://127.0.0.1:9/", "--out", "none.zip", code=2)
    assert not Path("none.zip").exists()
    run(*pack, "--timestamp", authority.url, "--out", "case.zip")
    said = run("evidence", "verify", "case.zip", "--authority", str(authority.certificates))
    assert f"timestamped on {now():%Y-%m-%d}T" in said
    assert f"as it says by {authority.url}" in said
    assert "not looked at" not in said
    assert "name its certificates by --authority" in run("evidence", "verify", "case.zip")
    run(*pack, "--out", "plain.zip")
    untimed = run("evidence", "verify", "plain.zip", "--authority", str(authority.certificates), code=1)
    assert "the archive was not timestamped" in untimed
    assert "holds no certificates" in run("evidence", "verify", "case.zip", "--authority", "key.pem", code=2)
