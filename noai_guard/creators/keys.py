"""Keys of the creators' page, and what is signed with them: links, sessions and forms.

The first key signs; all of them are believed. So a new key is put before the old one, and the old one is taken away
once the links that it signed may end.
"""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from noai_guard.config.regular_file import read_regular_file
from noai_guard.errors import NoAIGuardError
from noai_guard.stores.invitations import Invitation

ENVIRONMENT = "NOAI_CREATORS_KEY"
"""Environment variable with keys, separated by blanks; it comes before a file."""

MIN_CHARACTERS = 32
MAX_KEYS = 10
SESSION_SECONDS = 12 * 3600

_MAX_BYTES = 10_000
_MAX_TOKEN = 500
_LINK, _SESSION, _FORM = "noai-link", "noai-session", "noai-form"


class KeysInvalid(NoAIGuardError):
    """There are no keys that can be used; the message says why and what to type, and holds no key."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that came by a link. `name` is a random number of its own, which its forms are bound to."""

    invitation: int
    creator_digest: str
    expires: int
    name: str


class Keys:
    """Signs and reads tokens. Text that was not signed with one of the keys, or for another purpose, is no token."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises KeysInvalid for no key, too many, or one that is too short."""
        if not 1 <= len(keys) <= MAX_KEYS:
            raise KeysInvalid(f"there must be 1 to {MAX_KEYS} keys; `noai-guard creators key` makes one")
        if any(len(key) < MIN_CHARACTERS for key in keys):
            raise KeysInvalid(f"a key is shorter than {MIN_CHARACTERS} characters; `noai-guard creators key` makes one")
        oldest_first = list(reversed(keys))
        self._serializers = {
            purpose: URLSafeSerializer(
                oldest_first, purpose, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
            )
            for purpose in (_LINK, _SESSION, _FORM)
        }

    def link_token(self, invitation: Invitation) -> str:
        """Return the token of an invitation's link."""
        return self._signed(_LINK, [invitation.id, digest(invitation.creator), int(invitation.expires.timestamp())])

    def read_link(self, token: str, now: datetime) -> tuple[int, str] | None:
        """Return the number of the invitation and the digest of its creator, or None."""
        match self._read(_LINK, token):
            case [int(number), str(creator), int(expires)] if now.timestamp() < expires:
                return number, creator
        return None

    def new_session(self, invitation: Invitation, now: datetime) -> tuple[str, int]:
        """Return the value of a session's cookie, and the seconds for which it holds."""
        seconds = min(SESSION_SECONDS, int((invitation.expires - now).total_seconds()))
        expires = int(now.timestamp()) + seconds
        content = [invitation.id, digest(invitation.creator), expires, secrets.token_urlsafe(12)]
        return self._signed(_SESSION, content), seconds

    def read_session(self, cookie: str, now: datetime) -> Session | None:
        """Return the session of a cookie that has not expired, or None."""
        match self._read(_SESSION, cookie):
            case [int(number), str(creator), int(expires), str(name)] if now.timestamp() < expires:
                return Session(number, creator, expires, name)
        return None

    def form_token(self, session: Session) -> str:
        """Return what the forms of a session hold, which another site cannot know."""
        return self._signed(_FORM, session.name)

    def is_form_of(self, token: str, session: Session) -> bool:
        """Return True if a form was made for this session."""
        name = self._read(_FORM, token)
        return isinstance(name, str) and hmac.compare_digest(name.encode(), session.name.encode())

    def _signed(self, purpose: str, content: object) -> str:
        token = self._serializers[purpose].dumps(content)
        return token if isinstance(token, str) else token.decode()

    def _read(self, purpose: str, token: str) -> Any:
        if len(token) > _MAX_TOKEN:
            return None
        try:
            return self._serializers[purpose].loads(token)
        except (BadData, ValueError, RecursionError):
            return None


def digest(creator: str) -> str:
    """Return the digest of a creator's name in a token.

    A token must not open the page of somebody else whose invitation has the same number in another database.
    """
    return hashlib.sha256(creator.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_keys(file: str | Path, environment: Mapping[str, str] = os.environ) -> Keys:
    """Return the keys of the environment, else of a file with one a line. Raises KeysInvalid."""
    if ENVIRONMENT in environment:
        return Keys(environment[ENVIRONMENT].split())
    try:
        content = read_regular_file(file, _MAX_BYTES)
        if os.name == "posix" and stat.S_IMODE(os.stat(file).st_mode) & 0o077:
            raise KeysInvalid(f"{file} can be read by others; chmod 600 {file}")
        return Keys(content.decode("ascii").split())
    except FileNotFoundError:
        raise KeysInvalid(f"{file} is not there; `noai-guard creators key` makes it") from None
    except UnicodeDecodeError:
        raise KeysInvalid(f"{file} holds no keys; `noai-guard creators key` makes one") from None
    except (OSError, ValueError) as error:
        raise KeysInvalid(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def add_key(file: str | Path) -> int:
    """Put a new key before those of a file, which is made if it is not there; only its owner can read it.

    Return the number of keys then. The file is replaced at once. Raises KeysInvalid, or OSError if it cannot be
    written.
    """
    path = Path(file)
    known: list[str] = []
    if path.exists():
        read_keys(path, {})
        known = path.read_text(encoding="ascii").split()
    keys = [secrets.token_urlsafe(32), *known]
    Keys(keys)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.writelines(f"{key}\n" for key in keys)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    return len(keys)
