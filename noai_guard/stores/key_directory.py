"""The keys of signing agents, fetched from their key directories and kept."""

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from noai_guard.core.identity.signing_keys import PublicKey, SigningKey, read_keys
from noai_guard.core.questions import Question
from noai_guard.errors import Unanswered
from noai_guard.outbound import Fetched, Limits, NotFetched, fetch

LIMITS = Limits(seconds=5.0, max_bytes=256 * 1024)
"""Bounds of one fetch. No redirects: the profile forbids them, since the address is what is believed."""

DEADLINE_SECONDS = 0.25
"""The time that a request waits for a directory; the fetch goes on, for the requests after it."""

MEDIA_TYPES = ("application/http-message-signatures-directory+json", "application/jwk-set+json", "application/json")

_MAX_DIRECTORIES = 512
_MAX_FETCHES = 8
"""Fetches at once: so many threads."""

_KEPT_SECONDS = 3600.0
_MIN_KEPT_SECONDS = 300.0
_MAX_KEPT_SECONDS = 86_400.0
"""Seconds for which a directory is not asked again, without Cache-Control and with."""

_RETRY_SECONDS = (10.0, 300.0)
"""Seconds until a directory that failed is asked again: twice as long each time, up to the second (the profile's
maximum for remembering a failure)."""

_ROTATED_SECONDS = 60.0
"""Seconds until a directory is asked again for a key that it does not have: agents publish a key before they use it."""

_COMPLAINT_SECONDS = 60.0

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})")

_log = logging.getLogger("noai_guard")


@dataclass(slots=True)
class _Directory:
    """What is known of one directory. `keys` is None until it was read once; a failure leaves it as it is."""

    keys: Mapping[str, PublicKey] | None = None
    read_at: float = 0.0
    next_fetch: float = 0.0
    failures: int = 0
    problem: str = ""
    pending: Future[None] | None = field(default=None, repr=False)


class KeyDirectory:
    """Answers `SigningKey`. May be asked by several threads, and awaited: see `AwaitedKeyDirectory`.

    A directory is read by one thread for all who wait for it. What was read stays until it is read again with success:
    a directory that fails takes no key away. Requests that wait are answered by `deadline` seconds.

    `known` holds key sets that are not fetched (a site's own files), by address. `fetching` replaces `outbound.fetch`;
    `on_fetch` is told the outcome of each fetch: "ok" or "failed"; `on_keys` the address and the keys that were read.
    """

    def __init__(
        self,
        *,
        deadline: float = DEADLINE_SECONDS,
        fetching: Callable[[str, Limits], Fetched] = fetch,
        on_fetch: Callable[[str], None] = lambda outcome: None,
        on_keys: Callable[[str, Mapping[str, PublicKey]], None] = lambda address, keys: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.deadline = deadline
        self.known: Mapping[str, Mapping[str, PublicKey]] = {}
        self._fetching = fetching
        self._on_fetch, self._on_keys = on_fetch, on_keys
        self._clock = clock
        self._directories: dict[str, _Directory] = {}
        self._fetches = 0
        self._next_complaint = 0.0
        self._changing = threading.Lock()

    def answer(self, question: Question[Any]) -> tuple[PublicKey, ...]:
        """Return the key, or () if the directory does not have it; raise Unanswered if that cannot be known in time."""
        pending = self.pending(question)
        if pending is not None:
            try:
                pending.result(self.deadline)
            except TimeoutError:
                raise Unanswered("the key directory has not answered yet") from None
        assert isinstance(question, SigningKey)
        return self.known_answer(question)

    def pending(self, question: Question[Any]) -> "Future[None] | None":
        """Return the fetch to wait for, or None if what is known is enough. Raises Unanswered for other questions."""
        if not isinstance(question, SigningKey):
            raise Unanswered(f"key directories do not answer {type(question).__name__}")
        if question.directory in self.known:
            return None
        now = self._clock()
        with self._changing:
            directory = self._directories.get(question.directory)
            if directory is None:
                directory = self._added(question.directory, now)
            if directory.pending is not None:
                # Who finds a key need not wait for the copy that replaces it.
                has_key = directory.keys is not None and question.thumbprint in directory.keys
                return None if has_key else directory.pending
            keys = directory.keys
            is_missing = keys is not None and question.thumbprint not in keys
            due = now >= directory.next_fetch
            if is_missing and not directory.failures:
                due = due or now >= directory.read_at + _ROTATED_SECONDS
            if not due or self._fetches >= _MAX_FETCHES:
                return None
            pending: Future[None] = Future()
            thread = threading.Thread(
                target=self._fetch, args=(question.directory, directory, pending), name="noai-guard-keys", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # no thread to be had
                return None
            self._fetches += 1
            directory.pending = pending
            return None if keys is not None and not is_missing else pending

    def known_answer(self, question: SigningKey) -> tuple[PublicKey, ...]:
        """Return the answer from what has been read; raise Unanswered if the directory never was."""
        keys = self.known.get(question.directory)
        if keys is None:
            directory = self._directories.get(question.directory)
            keys = directory.keys if directory is not None else None
            if keys is None:
                problem = (directory.problem if directory is not None else "") or "it has not been read yet"
                raise Unanswered(f"key directory {question.directory}: {problem}")
        key = keys.get(question.thumbprint)
        return () if key is None else (key,)

    def _added(self, address: str, now: float) -> _Directory:
        """Make room for a directory: those that were never read go first, then the one that was read longest ago."""
        directories = self._directories
        if len(directories) >= _MAX_DIRECTORIES:
            idle = [each for each in directories if directories[each].pending is None]
            if not idle:
                raise Unanswered("too many key directories are being read")
            del directories[min(idle, key=lambda each: (directories[each].keys is not None, directories[each].read_at))]
        directories[address] = directory = _Directory(next_fetch=now)
        return directory

    def _fetch(self, address: str, directory: _Directory, pending: "Future[None]") -> None:
        keys: Mapping[str, PublicKey] | None = None
        kept = _KEPT_SECONDS
        problem = ""
        try:
            fetched = self._fetching(address, LIMITS)
            if fetched.media_type not in MEDIA_TYPES:
                raise NotFetched("it is not of the media type of a key directory")
            keys = read_keys(fetched.body)
            kept = _lifetime(fetched)
        except NotFetched as error:
            problem = str(error)
        except ValueError:
            problem = "it is no JSON Web Key Set"
        except BaseException as error:  # whatever happens, those who wait are told
            problem = f"{type(error).__name__}: {error}"[:300]
        now = self._clock()
        with self._changing:
            self._fetches -= 1
            directory.pending = None
            if keys is not None:
                directory.keys, directory.read_at, directory.failures, directory.problem = keys, now, 0, ""
                directory.next_fetch = now + kept
            else:
                first, longest = _RETRY_SECONDS
                directory.next_fetch = now + min(longest, first * 2 ** min(directory.failures, 10))
                directory.failures += 1
                directory.problem = problem
        if problem and now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            kept_text = "its last keys stay in use" if directory.keys is not None else "its signatures prove nothing"
            _log.warning("the key directory %s could not be read: %s; %s", address, problem, kept_text)
        try:
            self._on_fetch("failed" if problem else "ok")
        finally:
            pending.set_result(None)
        if keys is not None:
            self._on_keys(address, keys)  # nobody waits for that


class AwaitedKeyDirectory:
    """A KeyDirectory for those who await answers."""

    def __init__(self, directory: KeyDirectory) -> None:
        self._directory = directory

    async def answer(self, question: Question[Any]) -> tuple[PublicKey, ...]:
        """Return what KeyDirectory.answer does, without holding up the event loop."""
        pending = self._directory.pending(question)
        if pending is not None:
            # Shielded: others may wait for the same fetch when this request's time is over.
            await asyncio.shield(asyncio.wrap_future(pending))
        assert isinstance(question, SigningKey)
        return self._directory.known_answer(question)


def _lifetime(fetched: Fetched) -> float:
    max_age = _MAX_AGE.search(fetched.headers.get("cache-control", ""))
    if max_age is None:
        return _KEPT_SECONDS
    return min(_MAX_KEPT_SECONDS, max(_MIN_KEPT_SECONDS, float(max_age[1])))
