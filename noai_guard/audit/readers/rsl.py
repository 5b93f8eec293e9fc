"""An RSL 1.0 document, read conservatively: of the contents that match, the one with the longest url counts."""

from collections.abc import Iterator, Sequence

from noai_guard.audit.addresses import path_of
from noai_guard.audit.readers.xml import Element, read_elements
from noai_guard.declarations import rsl
from noai_guard.declarations.robots_txt import matches

ELEMENTS = frozenset(
    {
        "rsl", "content", "license", "permits", "prohibits", "payment", "standard", "custom", "amount", "accepts",
        "reporting", "legal", "alternate", "schema", "copyright", "terms",
    }
)  # fmt: skip
"""The names in RSL's namespace (RSL 1.0, 2025-12-10)."""

_AI = ("ai-train", "ai-input", "ai-index")
_WIDER = {"all": (*_AI, "search"), "ai-all": _AI}
USAGES = frozenset(("search", *_AI, *_WIDER))

_LABELS = {"train-ai": ("ai-train",), "ai-use": ("ai-input", "ai-index"), "search": ("search",)}


class RslFile:
    """A document: its elements, and for each content element what its licences permit and prohibit."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self.elements = elements
        self.contents = [place for place, element in enumerate(elements) if _is(element, "content")]
        self._content_of: list[int] = []
        for place, element in enumerate(elements):
            above = self._content_of[element.parent] if element.parent >= 0 else -1
            self._content_of.append(place if _is(element, "content") else above)
        self._rules: dict[int, list[Element]] = {}
        for rule in self.rules:
            self._rules.setdefault(self._content_of[rule.parent], []).append(rule)

    @property
    def is_rsl(self) -> bool:
        return _is(self.elements[0], "rsl")

    @property
    def rules(self) -> Iterator[Element]:
        """Every permits and prohibits element about usages."""
        for element in self.elements:
            if (_is(element, "permits") or _is(element, "prohibits")) and element.attributes.get("type") == "usage":
                yield element

    @property
    def unlicensed(self) -> list[Element]:
        """Content elements without a license."""
        with_one = {element.parent for element in self.elements if _is(element, "license")}
        return [self.elements[place] for place in self.contents if place not in with_one]

    def said(self, url: str) -> dict[str, bool]:
        """What the document says of an address: AIPREF's label -> whether it is licensed."""
        path = path_of(url)
        patterns = {place: _path_pattern(self.elements[place]) for place in self.contents}
        matching = {place: len(pattern) for place, pattern in patterns.items() if matches(pattern, path)}
        longest = max(matching.values(), default=0)
        found: dict[str, bool] = {}
        for place in (place for place, length in matching.items() if length == longest):
            for label, words in _LABELS.items():
                answers = [answer for word in words if (answer := self._licenses(place, word)) is not None]
                if answers:
                    found[label] = found.get(label, True) and all(answers)
        return found

    def _licenses(self, place: int, usage: str) -> bool | None:
        rules = self._rules.get(place, ())
        answers = [usage in usages_of(rule) for rule in rules if rule.name == "permits"]
        if any(rule.name == "prohibits" and usage in usages_of(rule) for rule in rules):
            answers.append(False)
        return all(answers) if answers else None


def _is(element: Element, name: str) -> bool:
    return element.name == name and element.namespace == rsl.NAMESPACE


def _path_pattern(content: Element) -> str:
    try:
        return path_of(content.attributes.get("url", "/"))
    except ValueError:
        return "/"


def usages_of(rule: Element) -> set[str]:
    """The usages that a permits or prohibits element names, wide words spelled out."""
    words = set(rule.text.replace(",", " ").split())
    return words.union(*(_WIDER.get(word, ()) for word in words))


def read_rsl(body: bytes) -> RslFile:
    """Raises xml_document.Unreadable."""
    return RslFile(read_elements(body))
