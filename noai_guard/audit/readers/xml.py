"""Untrusted XML as a flat list of elements: no DTD, so no entities and no default attributes; bounded in size."""

from dataclasses import dataclass, field
from xml.parsers import expat

from noai_guard.audit.readers.guarded import describe, guarded

_MAX_DEPTH = 64
_MAX_ELEMENTS = 20_000
_SEPARATOR = "\n"


class Unreadable(ValueError):
    """Raised for what is not XML, and for XML that is not read."""


@dataclass(slots=True)
class Element:
    """One element. `attributes` are those without a namespace, `parent` is an index (-1 for the root)."""

    namespace: str
    name: str
    attributes: dict[str, str]
    parent: int
    line: int
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the element without that of its children."""
        return "".join(self.pieces)


def read_elements(body: bytes, partial: bool = False) -> list[Element]:
    """Return all elements in document order; the first is the root.

    Raises Unreadable; with `partial`, returns instead what could be read.
    """
    elements: list[Element] = []
    open_elements: list[int] = []
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) >= _MAX_DEPTH or len(elements) >= _MAX_ELEMENTS:
            raise Unreadable("more or deeper elements than are read")
        namespace, _, local = name.rpartition(_SEPARATOR)
        plain = {key: value for key, value in attributes.items() if _SEPARATOR not in key}
        parent = open_elements[-1] if open_elements else -1
        open_elements.append(len(elements))
        elements.append(Element(namespace, local, plain, parent, parser.CurrentLineNumber))

    def doctype(*_: object) -> None:
        # Before anything it declares: entities and default attributes can make gigabytes of a small file.
        raise Unreadable("has a document type declaration (DOCTYPE), which is not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: open_elements.pop()
    parser.CharacterDataHandler = lambda data: elements[open_elements[-1]].pieces.append(data)
    parser.StartDoctypeDeclHandler = doctype
    failure = guarded(lambda: parser.Parse(body, True) and None, describe)
    if failure and not partial:
        raise Unreadable(failure)
    return elements


def enclosures(body: bytes) -> list[str]:
    """Return the addresses of the recordings of a feed (RSS enclosures, Atom links), which may be cut off."""
    return [
        address
        for element in read_elements(body, partial=True)
        if (element.name == "enclosure" or (element.name == "link" and element.attributes.get("rel") == "enclosure"))
        and element.attributes.get("type", "audio/").startswith("audio/")
        and (address := element.attributes.get("url") or element.attributes.get("href"))
    ]
