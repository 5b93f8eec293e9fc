"""Signed Content Credentials, where c2pa-python signs: with the same samples, beside the tags, and never broken."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from noai_guard.tagging import NOTHING, Options, Outcome, Signer, UndoFile, tag_file, undo_file
from noai_guard.tagging.credentials import CannotSign
from tests.servers import require
from tests.tagging.certificates import write_certificates
from tests.tagging.recordings import BY_FORMAT, FIELDS, mutagen_values, recording, samples, with_cover_and_gain
from tests.tagging.test_odd_files import ODD_MP3, mpeg

UNTRUSTED = "signed, but untrusted: no trust list that was given knows the certificate"
SIGNED = {"MP3": "audio/mpeg", "FLAC": "audio/flac", "M4A": "audio/mp4", "WAV": "audio/wav"}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    require("c2pa")
    write_certificates(tmp_path)
    return Signer(tmp_path / "chain.pem", tmp_path / "key.pem")


def manifests(file: Path, media_type: str) -> dict:
    import c2pa

    with file.open("rb") as stream, c2pa.Reader(media_type, stream) as reader:
        return json.loads(reader.json())


def values(file: Path) -> dict[str, str]:
    """Return what mutagen finds, but for the credentials and the encoding of texts, which c2pa-rs chooses."""
    found = {key: re.sub(r"encoding=<[^>]*>", "", value) for key, value in mutagen_values(file).items()}
    return {key: value for key, value in found.items() if not key.startswith("GEOB")}


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_file_says_what_may_be_done_with_it_and_plays_and_is_undone(
    tmp_path: Path, signer: Signer, name: str
) -> None:
    file, undo = with_cover_and_gain(recording(tmp_path, BY_FORMAT[name])), UndoFile(tmp_path / "undo")
    undo.prepare()
    before, decoded, others = file.read_bytes(), samples(file), values(file)
    result = tag_file(file, FIELDS, Options(undo, signer))
    assert (result.outcome, result.reason) == (Outcome.TAGGED, "")
    assert UNTRUSTED in result.notes
    assert samples(file) == decoded
    assert values(file) == others
    store = manifests(file, SIGNED[name])
    assert store["validation_state"] == "Valid"
    assert [status["code"] for status in store["validation_status"]] == ["signingCredential.untrusted"]
    said = {each["label"]: each["data"] for each in store["manifests"][store["active_manifest"]]["assertions"]}
    no = {"use": "notAllowed"}
    for prefix in ("cawg", "c2pa"):
        keys = ("data_mining", "ai_inference", "ai_generative_training", "ai_training")
        assert said[f"{prefix}.training-mining"] == {"entries": {f"{prefix}.{key}": no for key in keys}}
    again = tag_file(file, FIELDS, Options(undo, signer))
    assert (again.outcome, again.notes) == (Outcome.CURRENT, result.notes)
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", SIGNED)
def test_content_credentials_are_not_broken_but_signed_anew_with_the_old_ones_kept(
    tmp_path: Path, signer: Signer, name: str
) -> None:
    file = recording(tmp_path, BY_FORMAT[name])
    tag_file(file, FIELDS, Options(signer=signer))
    signed = file.read_bytes()
    other = replace(FIELDS, reservation="0", usage="train-ai=y, ai-use=y, search=y")
    for fields in (other, NOTHING):
        result = tag_file(file, fields)
        assert result.outcome is Outcome.LEFT_ALONE
        assert "it has Content Credentials (C2PA), which a change would break" in result.reason
    assert file.read_bytes() == signed
    assert tag_file(file, other, Options(signer=signer)).outcome is Outcome.TAGGED
    store = manifests(file, SIGNED[name])
    manifest = store["manifests"][store["active_manifest"]]
    assert store["validation_state"] == "Valid"
    assert len(store["manifests"]) == 2
    assert [each["relationship"] for each in manifest["ingredients"]] == ["parentOf"]
    said = {each["label"]: each["data"] for each in manifest["assertions"]}
    assert said["cawg.training-mining"]["entries"]["cawg.ai_inference"] == {"use": "allowed"}


def test_a_certificate_of_a_trusted_authority_is_not_called_untrusted(tmp_path: Path, signer: Signer) -> None:
    trusted = replace(signer, anchors=tmp_path / "authority.pem")
    result = tag_file(recording(tmp_path, BY_FORMAT["WAV"]), FIELDS, Options(signer=trusted))
    assert (result.outcome, result.notes) == (Outcome.TAGGED, ())


@pytest.mark.parametrize("name", ["Ogg Vorbis", "Opus", "AIFF"])
def test_formats_that_cannot_be_signed_are_tagged_and_named(tmp_path: Path, signer: Signer, name: str) -> None:
    result = tag_file(recording(tmp_path, BY_FORMAT[name]), FIELDS, Options(signer=signer))
    assert result.outcome is Outcome.TAGGED
    assert f"{name} cannot be signed (C2PA)" in result.notes


def test_a_file_that_cannot_be_signed_stays_and_is_named(tmp_path: Path, signer: Signer) -> None:
    file = recording(tmp_path, BY_FORMAT["MP3"])
    before = file.read_bytes()
    (tmp_path / "key.pem").write_text((tmp_path / "key.pem").read_text().replace("A", "B"))
    result = tag_file(file, FIELDS, Options(signer=Signer(tmp_path / "chain.pem", tmp_path / "key.pem")))
    assert result.outcome is Outcome.LEFT_ALONE
    assert "it cannot be signed" in result.reason
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".noai*"))


def test_a_certificate_or_key_that_cannot_be_used_is_named_before_anything_is_done(
    tmp_path: Path, signer: Signer
) -> None:
    signer.check()
    with pytest.raises(CannotSign, match=r"nowhere\.pem cannot be read: No such file or directory; name PEM files"):
        replace(signer, key=tmp_path / "nowhere.pem").check()
    (tmp_path / "key.pem").write_text("secret: 12345")
    with pytest.raises(CannotSign) as raised:
        Signer(tmp_path / "chain.pem", tmp_path / "key.pem").check()
    assert "12345" not in str(raised.value)
    assert "key.pem" not in repr(signer)


def test_old_tags_survive_that_c2pa_writes_the_id3_tag_anew_or_the_file_stays(tmp_path: Path, signer: Signer) -> None:
    for kind, make in ODD_MP3.items():
        file = tmp_path / "odd.mp3"
        file.write_bytes(make(mpeg(tmp_path)))
        before, decoded = file.read_bytes(), samples(file)
        result = tag_file(file, FIELDS, Options(signer=signer))
        assert samples(file) == decoded, kind
        assert result.outcome is Outcome.TAGGED or file.read_bytes() == before, kind
        assert result.outcome is Outcome.TAGGED or kind not in ("no tag", "ID3v2.3 with UTF-16", "an empty tag"), result
