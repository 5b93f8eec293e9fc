"""Lists of networks that operators publish."""

from collections.abc import Iterable
from functools import cached_property

from noai_guard.core.networks import NetworkSet


class PublishedRanges:
    """A list of networks as an operator published it at `uri`.

    `published_at` is in seconds since 1970; `date` is the same day as people write it (YYYY-MM-DD). The networks are
    parsed when the first claim is checked by them: most policies never ask for most lists.
    """

    def __init__(self, uri: str, date: str, published_at: float, networks: Iterable[str]) -> None:
        self.uri = uri
        self.date = date
        self.published_at = published_at
        self.texts = tuple(networks)

    @cached_property
    def networks(self) -> NetworkSet:
        """The networks. Raises InvalidNetwork if a text is none, which readers of lists check first."""
        return NetworkSet(self.texts)
