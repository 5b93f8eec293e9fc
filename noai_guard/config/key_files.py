"""Reader of the key sets that a policy names (`signatures.keys`): JSON Web Key Sets in files beside it."""

from collections.abc import Mapping
from pathlib import Path

from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.identity.signing_keys import PublicKey, read_keys
from noai_guard.errors import Problem

_MAX_BYTES = 256 * 1024


def read_key_files(
    files: Mapping[str, str], folder: Path
) -> tuple[dict[str, dict[str, PublicKey]], tuple[Problem, ...]]:
    """Return the keys by directory and thumbprint, from files by directory, and the problems of the files."""
    key_sets: dict[str, dict[str, PublicKey]] = {}
    problems: list[Problem] = []
    for directory, name in files.items():
        file = folder / name
        try:
            key_sets[directory] = keys = read_keys(read_regular_file(file, _MAX_BYTES))
        except OSError as error:
            hint = "name a file beside the policy"
            problems.append(Problem("P001", f"cannot be read: {error.strerror}", hint, str(file)))
        except ValueError:
            problems.append(Problem("P042", "the file is no JSON Web Key Set", 'write {"keys": [...]}', str(file)))
        else:
            if not keys:
                message = "no key of the file can be used"
                problems.append(
                    Problem("P042", message, "put in Ed25519 or RSA keys, without their private part", str(file))
                )
    return key_sets, tuple(problems)
