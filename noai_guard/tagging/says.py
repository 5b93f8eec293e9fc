"""From the policy and the wish for a work to what the tags of its files say."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from noai_guard.core.decision_table import DecisionTable, strictest_section
from noai_guard.core.model import PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import page_address
from noai_guard.core.text import one_line
from noai_guard.core.web_addresses import is_web_address
from noai_guard.core.wish_index import strictest_of
from noai_guard.declarations import content_usage, tdmrep
from noai_guard.stores.asked_wishes import Answer, number_answered
from noai_guard.tagging.fields import Fields

WishOf = Callable[[str], Answer]
"""Returns what is wished for a work by its name, as a plain function for `NoAIMiddleware(wishes=)` does."""

_ANSWERS = (Usage.AI_INPUT, Usage.AI_SEARCH, Usage.AI_AGENT)
_MAX_OWNER = 500


class Says:
    """What the tags of files say under one policy.

    With `wish_of`, that function is asked about each file that is part of a work, and not the source that the policy
    names. Raises ValueError without it for the policy of a guard that asks a function.
    """

    def __init__(self, table: DecisionTable, wish_of: WishOf | None = None) -> None:
        if wish_of is None and table.policy.creators.asked:
            raise ValueError("the guard asks a function what creators wish; give it to Says as wish_of")
        self._table = table if wish_of is None or table.policy.creators.asked else table.changed(_asking)
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

        Where servers may read the path in several ways, the strictest one counts for each usage. Raises Unanswered if
        `wish_of` returns what is no answer, and whatever it raises.
        """
        path_class = self._table.path_classes[path]
        if self._wish_of and (works := self._table.works_of([path])):
            number = strictest_of(number_answered(self._wish_of(work)) for work in works)
            path_class = self._table.wished(path_class, number)
        return fields_of(self.policy, strictest_section(path_class))


def _asking(policy: Policy) -> Policy:
    return replace(policy, creators=replace(policy.creators, asked=True, index=None))


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
    creators = policy.creators
    if policy.works.patterns and creators.index is None and not (creators.source or creators.asked):
        yield (
            "Tags: the policy names works and no wishes; if your app asks a function, tag with noai_guard.tagging, "
            "whose Says asks it too."
        )
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
