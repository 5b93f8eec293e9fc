"""Load and compile the policy of a running site, and say why one cannot be used."""

from collections.abc import Callable, Iterable
from pathlib import Path

from noai_guard.build_date import today
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import catalog_of, check_policy, load_policy, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import AI_USAGES, Action, Usage
from noai_guard.core.policy import Policy
from noai_guard.errors import Invalid, PolicyInvalid


def loaded_policy(policy: str | Path | Policy | None) -> Policy:
    """Return a policy. Raises PolicyInvalid or CatalogInvalid, with every problem."""
    if policy is None:
        return load_stance()
    return policy if isinstance(policy, Policy) else load_policy(policy)


def compiled_policy(policy: str | Path | Policy | None) -> CompiledPolicy:
    """Return a policy, ready to be put in force. Raises PolicyInvalid or CatalogInvalid, with every problem."""
    loaded = loaded_policy(policy)
    return CompiledPolicy(loaded, catalog_of(loaded), today())


def packaged_policy() -> CompiledPolicy:
    """Return the packaged no-ai stance; where not even the packaged files can be used, one that refuses nobody."""
    try:
        return compiled_policy(None)
    except Exception:
        usages = {usage: Action.DENY if usage in AI_USAGES else Action.ALLOW for usage in Usage}
        return CompiledPolicy(Policy("no-ai", usages), Catalog(()), today())


def policy_to_reload(file: Path, watch: Callable[[Iterable[str]], bool]) -> Policy:
    """Load a policy as `load_policy` does, except that an empty file is not the packaged stance: an editor is about to
    write it.

    `watch` is given the files that it names, and returns True if some were not watched: these may have changed since
    they were read, so all is read again.
    """
    policy, problems = check_policy(file)
    while watch(policy.files if policy else [problem.file for problem in problems if problem.file]):
        policy, problems = check_policy(file)
    if policy is None or any(problem.code == "P021" for problem in problems):
        raise PolicyInvalid(problems)
    return policy


def problems_of(error: Exception) -> str:
    """Return why a policy could not be used, a line for each problem."""
    return str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
