"""Header fields and tags that a response gains."""

from collections.abc import Iterable

from noai_guard.core.model import HeaderField

REPEATABLE = frozenset({b"x-robots-tag", b"link"})
"""Fields that may stand on several lines: ours join the app's. Of the others, an app's own stands alone."""


def one_line_per_name(fields: Iterable[HeaderField]) -> dict[bytes, bytes]:
    """Return name -> value with the lines of each name joined by commas (RFC 9110 section 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        joined[name] = b", ".join(filter(None, (joined.get(name), value)))
    return joined


class Declared:
    """What every response of a section carries: header `fields`, and `tags` for the head of HTML pages.

    `watched` are the names of an app's fields that need a closer look. Both again as WSGI's native strings.
    """

    __slots__ = ("_names", "fields", "native_fields", "native_watched", "tags", "watched")

    def __init__(self, fields: tuple[HeaderField, ...], tags: bytes) -> None:
        self.fields = fields
        self.tags = tags
        self.native_fields = native(fields)
        self._names = frozenset(name for name, _ in fields)
        # ASGI wants names in lower case; some apps send them as they are usually written.
        self.watched = frozenset(
            spelling
            for name in ((*self._names, b"content-type") if fields or tags else ())
            for spelling in (name, name.title(), name.upper())
        )
        self.native_watched = frozenset(name.decode("latin-1") for name in self.watched)

    def added_to(self, headers: Iterable[HeaderField]) -> tuple[list[HeaderField], bool]:
        """A response's headers with ours (a new list), and whether it is HTML and should get tags.

        An app's own Content-Usage, tdm-reservation or tdm-policy stands, and ours of that name is left out
        (with tdm-reservation goes tdm-policy). X-Robots-Tag and Link are added on lines of their own, unless
        the app sends the very same line.
        """
        together = list(headers)
        html = own = False
        watched = self.watched
        for name, value in together:
            if name in watched:
                if name == b"content-type" or name.lower() == b"content-type":
                    html = value[:9].lower() == b"text/html" and bool(self.tags)
                else:
                    own = True
        together += self._beside(together) if own else self.fields
        return together, html

    def _beside(self, headers: list[HeaderField]) -> tuple[HeaderField, ...]:
        """Ours, without those for which an app's own stands."""
        lines = {(name.lower(), value.strip()) for name, value in headers}
        own = {name for name, _ in lines}
        return tuple(
            field
            for field in self.fields
            if (field not in lines if field[0] in REPEATABLE else field[0] not in own)
            and not (field[0] == b"tdm-policy" and b"tdm-reservation" in own)
        )


def native(fields: Iterable[HeaderField]) -> list[tuple[str, str]]:
    """Header fields as WSGI carries them: bytes as the characters of the same numbers."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
