"""The works of a policy with their names: what the configuration of a server looks up."""

from datetime import date

from noai_guard.build_date import today
from noai_guard.cli.console import CannotRun
from noai_guard.compiled import CompiledPolicy
from noai_guard.config.wishes import all_wishes
from noai_guard.core.stricter import StricterTable
from noai_guard.errors import NoAIGuardError
from noai_guard.targets.overlapping_works import can_be_looked_up
from noai_guard.targets.work_map import MAX_MAPPED, WorkMap


def mapped_works(compiled: CompiledPolicy) -> WorkMap | None:
    """Return the works of a policy by name. None if it names none or too many, nobody knows what is wished, or one
    name of a path does not tell its others.

    Raises CannotRun if they cannot be read.
    """
    table, creators = compiled.guard.table, compiled.policy.creators
    index = creators.index
    if not compiled.has_wishes or creators.asked or isinstance(table, StricterTable):
        return None
    if index is None or not index.known or len(index) > MAX_MAPPED:
        return None
    if not can_be_looked_up(compiled.policy.works.patterns):
        return None
    try:
        return WorkMap(all_wishes(creators.source, compiled.policy.works, date.fromisoformat(today())), table)
    except (OSError, ValueError, NoAIGuardError) as error:
        raise CannotRun(f"the wishes cannot be read again: {error}; try once more", exit_code=1) from error
