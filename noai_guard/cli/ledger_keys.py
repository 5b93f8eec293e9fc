"""Keys of a ledger, as they are typed: which one a file or a name means, and whether it may sign."""

import re
from pathlib import Path

from noai_guard.cli.console import CannotRun
from noai_guard.core.text import printable
from noai_guard.record.ledger import Ledger
from noai_guard.record.ledger_keys import SigningKey, read_key

KEY_FILE = "noai-ledger.key"
_KEY_NAME = re.compile(r"ed25519:[A-Za-z0-9_-]{43}")


def public_key(text: str) -> str:
    """Return the name of a public key that was typed, or that a file holds. Raises CannotRun for anything else."""
    if _KEY_NAME.fullmatch(text):
        return text
    try:
        with Path(text).open("rb") as file:
            names = _KEY_NAME.findall(file.read(65536).decode("utf-8", "replace"))
    except (OSError, ValueError):
        names = []
    if len(set(names)) != 1:
        raise CannotRun(f"{printable(text)} is no public key, nor a file with one; write ed25519: and 43 characters")
    return str(names[0])


def key_in_force(file: str, ledger: Ledger) -> SigningKey:
    """Return the private key in a file, if it may sign the next entry. Raises CannotRun for one that may not."""
    key = read_key(Path(file))
    refuse_replaced(key, file, ledger)
    if key.name != (now := ledger.head.next_key):
        raise CannotRun(
            f"{file} holds {key.name}, and the ledger is signed with {printable(now)}; name its file with --key"
        )
    return key


def refuse_replaced(key: SigningKey, file: str, ledger: Ledger) -> None:
    """Refuse a key that signed the ledger until another one replaced it. Raises CannotRun."""
    now = ledger.head.next_key
    if key.name != now and key.name in {entry.key for entry in ledger.entries}:
        raise CannotRun(
            f"{file} holds the old key {key.name}, and {printable(now)} has replaced it; name the file of the new one "
            "with --key, or set NOAI_LEDGER_KEY"
        )
