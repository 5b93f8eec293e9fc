"""XML from strangers, read flat: no entities, bounded in depth and number."""

from dataclasses import dataclass, field
from xml.parsers import expat

_DEEPEST = 64
_MOST = 20_000
_SEPARATOR = "\n"


class Unreadable(ValueError):
    """Not XML, or XML that is not read."""


@dataclass(slots=True)
class Element:
    """One element: its namespace, name, attributes without a namespace, place of its parent, line, and own text."""

    namespace: str
    name: str
    attributes: dict[str, str]
    parent: int
    line: int
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class _Reader:
    elements: list[Element] = field(default_factory=list)
    open: list[int] = field(default_factory=list)


def read_elements(body: bytes, beginning: bool = False) -> list[Element]:
    """All elements in document order; the first is the root, whose parent is -1.

    Raises Unreadable; with `beginning` gives what could be read instead.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(reader.open) >= _DEEPEST or len(reader.elements) >= _MOST:
            raise Unreadable("more or deeper elements than are read")
        namespace, _, local = name.rpartition(_SEPARATOR)
        own = {key: value for key, value in attributes.items() if _SEPARATOR not in key}
        parent = reader.open[-1] if reader.open else -1
        reader.open.append(len(reader.elements))
        reader.elements.append(Element(namespace, local, own, parent, parser.CurrentLineNumber))

    def end(name: str) -> None:
        reader.open.pop()

    def text(data: str) -> None:
        reader.elements[reader.open[-1]].pieces.append(data)

    def declares(*_: object) -> None:
        raise Unreadable("declares entities, which are not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = declares
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if not beginning:
            raise Unreadable(str(error)) from None
    return reader.elements


def enclosures(body: bytes) -> list[str]:
    """Addresses of the recordings of a feed, or of its beginning: RSS enclosures, Atom's links."""
    return [
        address
        for element in read_elements(body, beginning=True)
        if (element.name == "enclosure" or (element.name == "link" and element.attributes.get("rel") == "enclosure"))
        and element.attributes.get("type", "audio/").startswith("audio/")
        and (address := element.attributes.get("url") or element.attributes.get("href"))
    ]
