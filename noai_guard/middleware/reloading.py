"""The policy that is loaded at start, and what replaces it: a changed file, SIGHUP, a demand, a promise, a wish."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import rules_source
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.errors import Invalid
from noai_guard.middleware.periodic_tasks import PeriodicTasks
from noai_guard.middleware.policy_loading import loaded_policy, packaged_policy, policy_to_reload, problems_of
from noai_guard.middleware.promises_in_force import PromisesInForce
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.middleware.watched_files import WatchedFiles
from noai_guard.middleware.wishes_in_force import WishesInForce
from noai_guard.observability.metrics import Telemetry

_log = logging.getLogger("noai_guard")

CATCH_UP_SECONDS = 0.5
"""How long the first request to a process that has slept waits for what has changed meanwhile."""

_MANY_LISTED = 200
"""Works that documents may name, above which the guard does not wait for them."""

_NEVER_ASKED = (
    "wishes=: the function is never asked, because the policy says of no path which work it is; write "
    'works: ["/audio/{work}.mp3"] into noai.yaml, and name that file as policy='
)


class Reloading:
    """Hands each policy that is to be in force to `activate`, the first one in `load`; one thread at a time does.

    `file` is the policy's, None if it is of no file and never read again. `is_asked`: a function says what is wished,
    in place of the source that the policy names. `start_error` says why the policy could not be used at start, until
    a reload succeeds.
    """

    def __init__(
        self,
        file: Path | None,
        *,
        is_asked: bool,
        telemetry: Telemetry,
        tasks: PeriodicTasks,
        store: StoreInForce,
        activate: Callable[[CompiledPolicy], None],
    ) -> None:
        self.start_error: Exception | None = None
        self._file = file
        self._is_asked = is_asked
        self._telemetry = telemetry
        self._tasks = tasks
        self._store = store
        self._activate = activate
        self._files = WatchedFiles([str(file)] if file else [])
        self._reloading = threading.Lock()
        self._catching_up = threading.Lock()
        self._reload_due = False
        self._handles_hangup = False
        self.wishes = WishesInForce(telemetry, self._use_wishes)
        self.promises = PromisesInForce(telemetry, tasks, self._renew_promises)

    def load(self, policy: str | Path | Policy | None, *, always_starts: bool) -> None:
        """Put the first policy in force. Raises PolicyInvalid if it cannot be used, unless the guard `always_starts`:
        then the packaged stance is in force."""
        try:
            compiled = self._usable(loaded_policy(policy))
        except Exception as error:
            if not always_starts:
                raise
            self.start_error = error.with_traceback(None)  # which would keep this object alive
            compiled = packaged_policy()
        self._put_in_force(compiled)
        if self.start_error is not None:
            self._telemetry.policy_unusable(problems_of(self.start_error))

    def _usable(self, policy: Policy) -> CompiledPolicy:
        """Return a loaded policy, compiled; its store is used and its wishes are followed from now on."""
        if self._is_asked:
            if not policy.works.patterns:
                _log.warning(_NEVER_ASKED)
            policy = replace(policy, creators=replace(policy.creators, asked=True, index=None))
        compiled = self.promises.compiled(policy)
        self._store.use(compiled.policy)
        self.wishes.follow(compiled.policy)
        return compiled

    def _put_in_force(self, compiled: CompiledPolicy) -> None:
        self._activate(compiled)
        self._compiled, policy = compiled, compiled.policy
        if self._file:
            self._files.watch((str(self._file), *policy.files))
        (self._tasks.add if self._file and policy.reload == "watch" else self._tasks.remove)(self.reload_if_changed)
        (self._tasks.add if self.wishes.is_followed else self._tasks.remove)(self.wishes.look)

    def handle_hangup(self) -> None:
        """Reload on SIGHUP from now on, if the policy says so; do nothing if that is arranged already."""
        if self._handles_hangup or not self._file or self._compiled.policy.reload == "off":
            return
        self._handles_hangup = True
        try:
            soon = _scheduler()
            previous = signal.getsignal(signal.SIGHUP)

            def hangup(number: int, frame: FrameType | None) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    soon(self._reload_soon)
                if callable(previous):
                    previous(number, frame)

            signal.signal(signal.SIGHUP, hangup)
        except (AttributeError, ValueError) as error:
            _log.warning("SIGHUP cannot be handled here (%s); reload is by file change or not at all", error)

    def _reload_soon(self) -> None:
        """Reload in a thread; while one reload is waiting, further demands are met by it."""
        if not self._reload_due:
            self._reload_due = True
            threading.Thread(target=self.reload, name="noai-guard-reload", daemon=True).start()

    def reload_if_changed(self) -> None:
        """Reload if the policy is to be watched and its file, or one that it names, has changed or is gone."""
        if self._file is not None and self._compiled.policy.reload == "watch" and self._files.take_changes():
            self.reload()

    def catch_up(self) -> None:
        """Look for what has changed while nobody looked, and wait CATCH_UP_SECONDS at most for it to be in force."""
        if self._catching_up.acquire(blocking=False):
            thread = threading.Thread(target=self._look_now, name="noai-guard-catch-up", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had
                self._catching_up.release()
            else:
                thread.join(CATCH_UP_SECONDS)

    def _look_now(self) -> None:
        try:
            self.reload_if_changed()
            self.promises.look()
            self.wishes.look_now()
        finally:
            self._catching_up.release()

    def reload(self) -> bool:
        """Do and return what `GuardRuntime.reload` says. Never raises for a file that cannot be used."""
        if self._file is None:
            return False
        with self._reloading:
            self._reload_due = False
            try:
                rules_source().reload()
                compiled = self._usable(policy_to_reload(self._file, self._files.watch_too))
            except Exception as error:
                _log.error("the policy was not reloaded, the last good one stays in force:\n%s", problems_of(error))
                self._telemetry.reload_failed(problems_of(error))
                if isinstance(error, Invalid):
                    # A file of the catalogue that has to be mended may be in no list yet.
                    self._files.watch_too(problem.file for problem in error.problems if problem.file)
                return False
            self._put_in_force(compiled)
            self.start_error = None
            self._telemetry.reload_succeeded()
            _log.info("the policy was reloaded from %s", self._file)
            return True

    def _use_wishes(self, creators: Creators, index: WishIndex) -> None:
        """Put other wishes in force, unless the policy has been replaced meanwhile: the guard at once, then the
        documents that name works."""
        with self._reloading:
            loaded = self.promises.loaded
            if loaded is None or loaded.creators is not creators:
                return
            policy = replace(loaded, creators=replace(creators, index=index))
            if len(index.listed) > _MANY_LISTED:
                self._put_in_force(self.promises.compiled(policy, documents_of=self._compiled))
            self._put_in_force(self.promises.compiled(policy))
            self.wishes.follow(policy)

    def _renew_promises(self) -> None:
        """Put in force what the ledger says now. The last good policy stays if that fails."""
        with self._reloading:
            if self.promises.loaded is not None:
                self._put_in_force(self.promises.compiled(self.promises.loaded))


def _scheduler() -> Callable[[Callable[[], None]], object]:
    """Return what a signal handler hands work to: the running event loop, or, without one, a direct call."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        return lambda call: call()
