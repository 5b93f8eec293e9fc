"""What was seen of the files of a policy, to find out that one has changed or is gone."""

from collections.abc import Iterable

from noai_guard.config.files_beside import file_identities


class WatchedFiles:
    """Files by path, each as it was when it was last looked at."""

    def __init__(self, files: Iterable[str]) -> None:
        self._seen = file_identities(files)

    def watch(self, files: Iterable[str]) -> bool:
        """Watch these files and no others, and return True if some were not watched before.

        What was seen of one before it was read stays, so that no change is missed.
        """
        files = tuple(files)
        new = file_identities(file for file in files if file not in self._seen)
        self._seen = {file: self._seen.get(file, new.get(file, ())) for file in files}
        return bool(new)

    def watch_too(self, files: Iterable[str]) -> bool:
        """Watch these files beside the others, and return True if some were not watched before."""
        return self.watch(dict.fromkeys((*self._seen, *files)))

    def take_changes(self) -> bool:
        """Return True if a file has changed or is gone since this was last asked."""
        seen = file_identities(self._seen)
        has_changed = seen != self._seen
        self._seen = seen
        return has_changed
