"""RSL 1.0 documents, read conservatively: of the content elements that match, those with the longest url count."""

from collections.abc import Iterator

from noai_guard.audit.readers.xml import Element, read_elements
from noai_guard.core.web_addresses import path_of
from noai_guard.declarations import rsl
from noai_guard.declarations.shared.robots_file import matches

ELEMENTS = frozenset({
    "rsl", "content", "license", "permits", "prohibits", "payment", "standard", "custom", "amount", "accepts",
    "reporting", "legal", "alternate", "schema", "copyright", "terms",
})  # fmt: skip
"""The element names of RSL's namespace (RSL 1.0, 2025-12-10)."""

_AI = ("ai-train", "ai-input", "ai-index")
_WIDER = {"all": (*_AI, "search"), "ai-all": _AI}
USAGES = frozenset(("search", *_AI, *_WIDER))
_FREE = ("free", "attribution", "contribution")
"""Kinds of payment that are no price (RSL 1.0, 3.7); without a kind it is free."""

_LABELS = {"train-ai": ("ai-train",), "ai-use": ("ai-input", "ai-index"), "search": ("search",)}


class RslFile:
    """A document: its elements, and what the licences of each content element permit and prohibit."""

    def __init__(self, body: bytes) -> None:
        """Parse a document. Raises xml.Unreadable."""
        self.elements = elements = read_elements(body)
        self.contents = [index for index, element in enumerate(elements) if _is(element, "content")]
        self._content_of: list[int] = []
        for index, element in enumerate(elements):
            of_parent = self._content_of[element.parent] if element.parent >= 0 else -1
            self._content_of.append(index if _is(element, "content") else of_parent)
        self._rules: dict[int, list[Element]] = {}
        for rule in self.rules:
            self._rules.setdefault(self._content_of[rule.parent], []).append(rule)
        self._sold = {
            element.parent
            for element in elements
            if _is(element, "payment") and element.attributes.get("type", "free") not in _FREE
        }

    @property
    def is_rsl(self) -> bool:
        """True if the root is one of RSL."""
        return _is(self.elements[0], "rsl")

    @property
    def rules(self) -> Iterator[Element]:
        """The permits and prohibits elements about usages."""
        for element in self.elements:
            if element.attributes.get("type") == "usage" and (_is(element, "permits") or _is(element, "prohibits")):
                yield element

    @property
    def unlicensed(self) -> list[Element]:
        """The content elements without a license."""
        licensed = {element.parent for element in self.elements if _is(element, "license")}
        return [self.elements[index] for index in self.contents if index not in licensed]

    def preferences(self, url: str) -> dict[str, bool]:
        """Return the usages of an address, by AIPREF's labels, and whether they are licensed."""
        path = path_of(url)
        patterns = {}
        for index in self.contents:
            try:
                patterns[index] = path_of(self.elements[index].attributes.get("url", "/"))
            except ValueError:
                patterns[index] = "/"
        matching = {index: len(pattern) for index, pattern in patterns.items() if matches(pattern, path)}
        longest = max(matching.values(), default=0)
        preferences: dict[str, bool] = {}
        for index in (index for index, length in matching.items() if length == longest):
            for label, usages in _LABELS.items():
                licensed = [known for usage in usages if (known := self._licenses(index, usage)) is not None]
                if licensed:
                    preferences[label] = preferences.get(label, True) and all(licensed)
        return preferences

    def _licenses(self, content: int, usage: str) -> bool | None:
        """Return whether a content element licenses a usage without payment; None if it does not say.

        Each license has terms of its own; a prohibition in one of them counts for all.
        """
        rules = self._rules.get(content, ())
        if any(rule.name == "prohibits" and usage in usages_of(rule) for rule in rules):
            return False
        granted = [rule for rule in rules if rule.name == "permits"]
        return any(usage in usages_of(rule) and rule.parent not in self._sold for rule in granted) if granted else None


def _is(element: Element, name: str) -> bool:
    return element.name == name and element.namespace == rsl.NAMESPACE


def usages_of(rule: Element) -> set[str]:
    """Return the usages that a permits or prohibits element names, with those that `all` and `ai-all` include."""
    words = set(rule.text.replace(",", " ").split())
    return words.union(*(_WIDER.get(word, ()) for word in words))
