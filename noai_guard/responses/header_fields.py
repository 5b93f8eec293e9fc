"""Header fields and tags that are added to the responses of the app."""

from collections.abc import Iterable

from noai_guard.core.model import HeaderField

REPEATABLE = frozenset({b"x-robots-tag", b"link"})
"""Names that may occur on several lines: ours are added to the app's. Of any other name, the app's replaces ours."""


def one_line_per_name(fields: Iterable[HeaderField]) -> dict[bytes, bytes]:
    """Return name -> value with the lines of each name joined by commas (RFC 9110 section 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        joined[name] = b", ".join(filter(None, (joined.get(name), value)))
    return joined


def spellings(names: Iterable[bytes]) -> frozenset[bytes]:
    """Return names in lower case, as ASGI requires, and in the title and upper case that some apps send."""
    return frozenset(spelling for name in names for spelling in (name, name.title(), name.upper()))


class Declared:
    """Declarations of one path policy: header `fields` for every response, `tags` for the head of HTML pages.

    `lines` are the fields as a list, which is added to the app's in one step; nobody may change it.

    `watched` holds the names, in the usual spellings, of app fields that change what is added. `native_fields` and
    `native_watched` are the same as the native strings of WSGI (PEP 3333). `names` are the names of the fields.
    """

    __slots__ = ("_names", "fields", "lines", "names", "native_fields", "native_watched", "tags", "watched")

    def __init__(self, fields: tuple[HeaderField, ...], tags: bytes) -> None:
        self.fields = fields
        self.lines = list(fields)
        self.tags = tags
        self.native_fields = native(fields)
        self.names = tuple(dict.fromkeys(name for name, _ in self.native_fields))
        self._names = frozenset(name for name, _ in fields)
        self.watched = spellings((*self._names, b"content-type") if fields or tags else ())
        self.native_watched = frozenset(name.decode("latin-1") for name in self.watched)

    def added_to(self, headers: Iterable[HeaderField]) -> tuple[list[HeaderField], bool]:
        """Return the headers of a response with ours added (a new list), and True if it is HTML that gets tags.

        The app's Content-Usage, Content-Signal, tdm-reservation or tdm-policy replaces ours; its tdm-reservation
        replaces our tdm-policy too. X-Robots-Tag and Link are added on lines of their own, unless the app sends the
        same line.
        """
        result = list(headers)
        html = conflict = False
        watched = self.watched
        for name, value in result:
            if name in watched:
                if name == b"content-type" or name.lower() == b"content-type":
                    html = value[:9].lower() == b"text/html" and bool(self.tags)
                else:
                    conflict = True
        fields = self.fields
        if conflict:
            lines = {(name.lower(), value.strip()) for name, value in result}
            names = {name for name, _ in lines}
            if b"tdm-reservation" in names:
                names.add(b"tdm-policy")
            fields = tuple(
                field for field in fields if field not in lines and (field[0] in REPEATABLE or field[0] not in names)
            )
        return result + list(fields), html


def native(fields: Iterable[HeaderField]) -> list[tuple[str, str]]:
    """Return header fields as the native strings of WSGI (PEP 3333): bytes decoded as Latin-1."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
