"""Signed Content Credentials (C2PA) with what may be done with a recording. Needs `pip install 'noai-guard[c2pa]'`.

The assertion is `cawg.training-mining` (CAWG Training and Data Mining Assertion 1.1), and beside it the older
`c2pa.training-mining` of C2PA 1.x, which is the only one that Spawning's datadiligence reads.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from noai_guard.errors import MissingExtra, NoAIGuardError
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.source import Unsafe
from noai_guard.version import __version__

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Names of signature algorithms, as c2pa-python has them."""

_LABELS = ("cawg.training-mining", "c2pa.training-mining")
_UNTRUSTED = "signingCredential.untrusted"


class CannotSign(NoAIGuardError):
    """The certificate or the key cannot be used."""


@dataclass(frozen=True)
class Signer:
    """The operator's certificate chain and private key (PEM files, the key as PKCS #8).

    `algorithm` is one of `ALGORITHMS`. `time_authority` is the address of a time stamp authority (RFC 3161), or empty.
    `anchors` is a PEM file with the certificates that are trusted; without it none is.
    """

    certificate: Path
    key: Path = field(repr=False)
    algorithm: str = "es256"
    time_authority: str = ""
    anchors: Path | None = None

    def check(self) -> None:
        """Raise CannotSign if the files cannot be used, MissingExtra without c2pa-python."""
        if find_spec("c2pa") is None:
            raise MissingExtra("c2pa", "signing with C2PA")
        import c2pa

        try:
            self._signer().close()
        except c2pa.C2paError as error:
            raise CannotSign(f"{self.certificate} and its key cannot be used to sign: {_first_line(error)}") from error

    def sign(
        self, unsigned: BinaryIO, signed: BinaryIO, media_type: str, fields: Fields, parent: BinaryIO | None
    ) -> Sequence[str]:
        """Write a signed copy, and return notes about it. Raises Unsafe if it is not valid.

        `parent` is the file as it was if that had Content Credentials: they are kept, as those of its parent.
        """
        import c2pa

        try:
            with c2pa.Builder(json.dumps(_manifest(fields))) as builder, self._signer() as signer:
                # An edit: the file as it was becomes the parent, which is not said to be of our making.
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                if parent is not None:
                    parent.seek(0)
                    builder.add_ingredient(json.dumps({"relationship": "parentOf"}), media_type, _Undying(parent))
                unsigned.seek(0)
                builder.sign(signer, media_type, _Undying(unsigned), _Undying(signed))
        except c2pa.C2paError as error:
            raise Unsafe(f"it cannot be signed: {_first_line(error)}") from error
        notes = self.notes(signed, media_type, fields)
        if notes is None:
            raise Unsafe("what was signed is not valid, so it was not kept")
        return notes

    def notes(self, stream: BinaryIO, media_type: str, fields: Fields) -> Sequence[str] | None:
        """Return notes about the Content Credentials of a file; None unless they are valid and say what the fields
        say."""
        store = self._store(stream, media_type)
        if store.get("validation_state") not in ("Valid", "Trusted") or not _says(store, fields):
            return None
        is_untrusted = _UNTRUSTED in json.dumps(store.get("validation_status", []))
        return ("signed, but untrusted: no trust list that was given knows the certificate",) if is_untrusted else ()

    def _store(self, stream: BinaryIO, media_type: str) -> Mapping[str, Any]:
        import c2pa

        stream.seek(0)
        try:
            with self._context as context, c2pa.Reader(media_type, _Undying(stream), context=context) as reader:
                store: Mapping[str, Any] = json.loads(reader.json())
                return store
        except c2pa.C2paError:
            return {}

    @property
    def _context(self) -> Any:
        import c2pa

        settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
        if self.anchors is not None:
            settings["trust"] = {"trust_anchors": self._files[2]}
        return c2pa.Context.from_dict(settings)

    def _signer(self) -> Any:
        import c2pa

        certificate, key, _ = self._files
        info = c2pa.C2paSignerInfo(self.algorithm, certificate.encode(), key.encode(), self.time_authority or None)
        return c2pa.Signer.from_info(info)

    @cached_property
    def _files(self) -> tuple[str, str, str]:
        try:
            return tuple(  # type: ignore[return-value]
                file.read_text(encoding="utf-8") if file else "" for file in (self.certificate, self.key, self.anchors)
            )
        except (OSError, UnicodeDecodeError) as error:
            name = getattr(error, "filename", None) or self.certificate
            reason = getattr(error, "strerror", None) or "it is not text"
            raise CannotSign(f"{name} cannot be read: {reason}; name PEM files") from error


class _Undying(io.RawIOBase):
    """A stream that c2pa-python may close without closing the file below it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content: Any) -> int:
        return self._stream.write(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def flush(self) -> None:
        if self._stream.writable():
            self._stream.flush()


def _entries(fields: Fields, prefix: str) -> Mapping[str, Mapping[str, str]]:
    training = "notAllowed" if fields.reserves else "allowed"
    inference = "notAllowed" if "ai-use=n" in fields.usage else "allowed"
    uses = {
        "data_mining": training, "ai_training": training, "ai_generative_training": training,
        "ai_inference": inference,
    }  # fmt: skip
    return {f"{prefix}.{name}": {"use": use} for name, use in uses.items()}


def _manifest(fields: Fields) -> Mapping[str, Any]:
    assertions = [{"label": label, "data": {"entries": _entries(fields, label.partition(".")[0])}} for label in _LABELS]
    return {"claim_generator_info": [{"name": "noai-guard", "version": __version__}], "assertions": assertions}


def _says(store: Mapping[str, Any], fields: Fields) -> bool:
    """Return True if the active manifest has our assertions, with what the fields say."""
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    found = {each.get("label"): each.get("data", {}).get("entries") for each in manifest.get("assertions", [])}
    return all(found.get(label) == _entries(fields, label.partition(".")[0]) for label in _LABELS)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
