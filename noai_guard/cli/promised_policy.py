"""The policy of a command with what its ledger promises: what may be declared and configured today."""

from collections.abc import Iterator
from datetime import UTC, datetime

from noai_guard.build_date import today
from noai_guard.cli.console import CannotRun
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.policy import Policy
from noai_guard.core.promised import NOTHING_PROMISED
from noai_guard.record.kept_ledger import KeptLedger
from noai_guard.record.policy_changes import policy_changes
from noai_guard.record.promises import InForce


def compiled_with_promises(policy: Policy, *, dated: bool = True) -> tuple[CompiledPolicy, tuple[str, ...]]:
    """Return the stricter of a policy and what its ledger promises, and sentences about the ledger for the author."""
    kept = KeptLedger()
    current = kept.in_force(policy, datetime.now(UTC))
    promised = current.promised if policy.ledger else NOTHING_PROMISED
    compiled = CompiledPolicy(policy, load_catalog(), today() if dated else "", promised)
    return compiled, tuple(_notes(kept, current))


def _notes(kept: KeptLedger, current: InForce) -> Iterator[str]:
    if kept.problem:
        yield f"the ledger cannot be used, so the stricter of the policy and no-ai is written: {kept.problem}"
    elif current.unpublished:
        yield "the policy is not published, so the stricter of it and the ledger is written: noai-guard ledger publish."
    for announced in current.promised.announcements:
        yield f"announced for {announced.day}, and not in these files before: {'; '.join(announced.changes)}."
    if current.next_change:
        yield f"write these files again on {current.next_change:%Y-%m-%d}."


def strictest_with_promises(policy: Policy, *, dated: bool = False) -> tuple[CompiledPolicy, tuple[str, ...]]:
    """Return what `compiled_with_promises` returns, as one policy: generated configuration judges by one only.

    Raises CannotRun if of a policy and what is promised, none is the stricter one in everything.
    """
    compiled, notes = compiled_with_promises(policy, dated=dated)
    promised = compiled.promised
    if not promised.policies:
        return compiled, notes
    catalog = load_catalog()
    policies = (policy, *promised.policies)
    for each in policies:
        if not any(change.loosens for other in policies for change in policy_changes(other, each, catalog)):
            plain = type(promised)((), promised.announcements, promised.documents, promised.alternatives)
            return CompiledPolicy(each, catalog, today() if dated else "", plain), notes
    raise CannotRun(
        "the policy is in some ways stricter and in some looser than what the ledger promises, and this configuration "
        "has room for one policy; publish it (noai-guard ledger publish), or leave the looser part for later",
        exit_code=1,
    )
