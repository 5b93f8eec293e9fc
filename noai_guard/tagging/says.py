"""From the policy and the wish for a work to what the tags of its files say."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import page_address
from noai_guard.core.text import one_line
from noai_guard.core.web_addresses import is_web_address
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.declarations import content_usage, tdmrep
from noai_guard.tagging.fields import Fields

WishOf = Callable[[str], WorkWishes | None]
"""Returns the wishes for a work by its name; None if there are none."""

_ANSWERS = (Usage.AI_INPUT, Usage.AI_SEARCH, Usage.AI_AGENT)
_MAX_OWNER = 500


def no_wishes(work: str) -> None:
    """Return None: nobody has said anything about any work."""


class Says:
    """What the tags of files say under one policy. `wish_of` is asked once for each file that is part of a work."""

    def __init__(self, table: DecisionTable, wish_of: WishOf = no_wishes) -> None:
        self._table = table
        self._wish_of = wish_of

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self._table.policy

    @property
    def depends_on_path(self) -> bool:
        """True if files on different paths may get different tags."""
        return bool(self.policy.path_policies or self.policy.works.patterns)

    def fields(self, path: str) -> Fields:
        """Return what the tags of the file at a path of the site say. The path is decoded, and begins with a slash.

        Where servers may read the path in several ways, the strictest one counts for each usage.
        """
        path_class = self._table.path_classes[path]
        ways = path_class.readings or (path_class,)
        path_policy = strictest([way.path_policy for way in ways])
        work = self.policy.works.work_of(path)
        wishes = self._wish_of(work) if work else None
        return fields_of(self.policy, with_wishes(path_policy, wishes) if wishes else path_policy)


def strictest(path_policies: list[PathPolicy]) -> PathPolicy:
    """Return the first of the path policies, with the strictest action of them all for each usage."""
    first, *others = path_policies
    if not others:
        return first
    usages = {
        usage: max((each.usages[usage] for each in path_policies), key=lambda action: action.strictness)
        for usage in first.usages
    }
    return replace(first, usages=usages)


def with_wishes(path_policy: PathPolicy, wishes: WorkWishes) -> PathPolicy:
    """Return a path policy in which what the creator disallows is refused: of site and creator, the stricter counts."""
    refused = {usage: Action.DENY for usage, choice in wishes.choices.items() if choice is Choice.DISALLOW}
    return replace(path_policy, usages={**path_policy.usages, **refused})


def fields_of(policy: Policy, path_policy: PathPolicy) -> Fields:
    """Return what tags say under a path policy. They are a form of their own, whichever others the policy switches
    off."""
    properties = tdmrep.reservation_of(policy, path_policy)
    page = page_address(policy)
    return Fields(
        reservation=str(properties["tdm-reservation"]),
        usage=content_usage.preference(path_policy),
        policy=str(properties.get("tdm-policy", "")),
        page=page if is_web_address(page) else "",
        owner=one_line(policy.site.owner or policy.site.name)[:_MAX_OWNER],
        mining=_mining(path_policy),
    )


def limitations(policy: Policy) -> Iterator[str]:
    """Yield a sentence for each part of the policy that tags cannot say."""
    if not is_web_address(page_address(policy)):
        yield "Tags: without the address of the policy page they say no, but not where to ask; set site.url."
    if not (policy.site.owner or policy.site.name):
        yield "Tags: the policy names no owner; set site.owner."
    for path_policy in policy.all_path_policies:
        if path_policy.reserves_anything and not path_policy.reserves(Usage.TRAIN_AI):
            yield f"Tags: PLUS has no value for what {path_policy.pattern} reserves; plus:DataMining is left out."


def _mining(path_policy: PathPolicy) -> str:
    """Return the value of plus:DataMining; empty where PLUS has none that says neither more nor less."""
    if not path_policy.reserves_anything:
        return "DMI-ALLOWED"
    if not path_policy.reserves(Usage.TRAIN_AI):
        return ""
    if not any(map(path_policy.reserves, _ANSWERS)):
        return "DMI-PROHIBITED-GENAIMLTRAINING"
    return "DMI-PROHIBITED" if path_policy.reserves(Usage.SEARCH) else "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"
