"""What creators wish, for Apache: the work of a path, its wish in a RewriteMap, and the section of both.

The map is a file of SDBM, in which Apache finds one of a million names as fast as one of ten; in a text it would read
all names for each that it has not met. It opens the file at each look-up and remembers the result in each process,
until the file changes. So names that are made up grow its memory, by a hundred bytes each, until
`MaxConnectionsPerChild` or the next change.

A file that cannot be read, or not like this one, has no `_MARK`: then all works have the strictest wish.
"""

from collections.abc import Iterable, Iterator
from hashlib import md5
from typing import Protocol

from noai_guard.core.wish_index import UNSET
from noai_guard.targets.apache_directives import expression, in_request_line, quote_argument
from noai_guard.targets.path_sets import PLAIN_TARGET, odd_like
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.sdbm import sdbm
from noai_guard.targets.target import File
from noai_guard.targets.work_map import WorkMap, plain_name

_MARK = "/"
"""The key that every map has."""

_NONE = "none"
_DIGITS = 16
"""Hexadecimal digits of the MD5 of a name that are its key: nothing in them has a meaning, and unlike names they spread
over the pages of SDBM. Two of a million names meet with a chance of 1 in 37 million."""


class Rules(Protocol):
    """Rules of mod_rewrite."""

    def add(self, flags: Iterable[str], *conditions: str, pattern: str = ..., to: str = ...) -> None: ...

    def label(self, name: str) -> None: ...


def map_directives(works: WorkMap, folder: str) -> Iterator[str]:
    """Yield the directives of the maps."""
    yield f"RewriteMap noai_works {quote_argument(f'dbm=sdbm:{folder}/works.sdbm')}"


def add_rules(plan: TargetPlan, rules: Rules) -> None:
    """Add the rules that set NOAI_WISH, the number of what is wished for the work, and NOAI_SECTION."""
    works = plan.works
    if works is None:
        return
    for part, paths in reversed(list(enumerate(plan.site_sections, 1))):
        number = plan.section_numbers[part, None] or ""
        rules.add([f"E=NOAI_SECTION:{number}", f"E=NOAI_PART:{part}"], pattern=expression(paths.regex))
    for pattern in reversed(works.expressions):
        rules.add(["E=NOAI_WORK:$1"], pattern=expression(pattern))
    rules.add([], '%{ENV:NOAI_WORK} "^$"', to="no work")
    digest = f"md5(tolower(reqenv('NOAI_WORK'))) =~ /^(.{{{_DIGITS}}})/"
    rules.add([f"E=NOAI_WISH:${{noai_works:%1|{_NONE}}}"], f"expr {quote_argument(digest)}")
    strictest = [f"E=NOAI_WISH:{works.strictest}"]
    rules.add(strictest, f"%{{ENV:NOAI_WISH}} ={_NONE}", f"${{noai_works:{_MARK}|{_NONE}}} ={_NONE}")
    is_plain = f"%{{ENV:NOAI_WORK}} {expression(plain_name())}"
    rules.add(["E=!NOAI_WISH"], f"%{{ENV:NOAI_WISH}} ={_NONE}", is_plain)
    rules.add(["E=!NOAI_WISH"], f"%{{ENV:NOAI_WISH}} ={UNSET}")
    known = "|".join(map(str, works.numbers))
    rules.add(strictest, f'%{{ENV:NOAI_WISH}} "!^(?:{known})?$"')
    rules.label("no work")
    odd = [expression(in_request_line(pattern)) for pattern in odd_like(works.globs).raw]
    plain = expression(f"!{in_request_line(PLAIN_TARGET)}")
    rules.add(strictest, *(f"%{{THE_REQUEST}} {pattern}" for pattern in (plain, *odd)))
    section = "E=NOAI_SECTION:${noai_names:SECTION-%{ENV:NOAI_PART}-%{ENV:NOAI_WISH}}"
    rules.add([section], "%{ENV:NOAI_WISH} .")


def section_lines(plan: TargetPlan) -> Iterator[str]:
    """Yield the rows of names.txt: part of the site and wish -> number of the section, where that is not empty."""
    for (part, wish), number in plan.section_numbers.items():
        if number and wish is not None:
            yield f"SECTION-{part or ''}-{wish} {number}"


def files(works: WorkMap, folder: str) -> list[File]:
    """Return the files of the map."""
    pairs = {_digest(key): b"%d" % number for key, number in works.keys.items()}
    directory, pages = sdbm({**pairs, _MARK.encode(): b"1"})
    return [File(f"{folder}/works.sdbm.dir", directory), File(f"{folder}/works.sdbm.pag", pages)]


def _digest(name: str) -> bytes:
    return md5(name.encode().lower(), usedforsecurity=False).hexdigest()[:_DIGITS].encode("ascii")
