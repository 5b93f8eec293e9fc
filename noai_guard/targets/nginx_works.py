"""What creators wish, for nginx: the work of a path, its wish in a map of names, and the section of both.

nginx finds room for any number of names in one hash of its own size (2,048 buckets; 20 ns more for each dozen names in
a bucket): it warns that this is not optimal, because the directive that sets another size is an error after the
site's first map (`nginx_language`). A key has at most 46 bytes (MAX_KEY). Of longer names that many bytes are looked
up, and all that begin with them have the strictest wish among them.

The files are read when nginx starts and when it reloads.
"""

from collections.abc import Iterator

from noai_guard.core.wish_index import UNSET, stricter
from noai_guard.targets.nginx_language import MAX_KEY, expression, map_blocks
from noai_guard.targets.path_sets import PLAIN_TARGET, odd_like
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File
from noai_guard.targets.work_map import WorkMap, plain_name

_WITHOUT_A_WARNING = 500
"""Names that always find room in 2,048 buckets of 64 bytes."""


def maps(plan: TargetPlan, p: str, names: str, long_names: str) -> Iterator[str]:
    """Yield the maps that end in `wish`, the number of what is wished for the work of a path, empty if nothing is, and
    in `at`, the number of its section; `p` begins the names of all variables."""
    works = plan.works
    if works is None:
        return
    strictest = str(works.strictest)
    yield "# The work that a path is part of, and what its creator wishes: names in lower case -> number of the wish."
    rows = [(_captured(pattern), f"${p}wish_of") for pattern in works.expressions]
    yield from map_blocks("$uri", f"{p}work", rows)
    yield f"map $noaic_work ${p}wish_of {{"
    yield f"    default {strictest};"
    yield f"    include {names};"
    if _long_names(works):
        yield f'    "~(?s)^(?<noaic_long>.{{{MAX_KEY}}})." ${p}wish_long;'
    yield f'    {expression(plain_name(), any_case=False)} "";'
    yield "}"
    if _long_names(works):
        yield f"map $noaic_long ${p}wish_long {{"
        yield f"    default ${p}wish_other;"
        yield f"    include {long_names};"
        yield "}"
        rows = [(expression(plain_name(), any_case=False), '""')]
        yield from map_blocks("$noaic_work", f"{p}wish_other", rows, strictest)
    yield "# What cannot be read like a work has the strictest wish."
    raw = odd_like(works.globs).raw
    for number, pattern in reversed(list(enumerate(raw))):
        following = f"${p}odd_work{number + 1}" if number + 1 < len(raw) else strictest
        rows = [(expression(pattern, any_case=False), following)]
        rows[:0] = [] if number else [(expression(PLAIN_TARGET, any_case=False), f"${p}work")]
        yield from map_blocks("$request_uri", f"{p}odd_work{number}", rows, f"${p}work")
    rows = [('""', '""'), (str(UNSET), '""'), *((str(number), str(number)) for number in works.numbers)]
    yield from map_blocks(f"${p}odd_work0", f"{p}wish", rows, strictest)
    rows = [
        (expression(paths.regex, any_case=False), str(number)) for number, paths in enumerate(plan.site_sections, 1)
    ]
    yield from map_blocks("$uri", f"{p}part", rows, "0")
    rows = [
        (f'"{part}:{"" if wish is None else wish}"', str(number))
        for (part, wish), number in plan.section_numbers.items()
    ]
    yield from map_blocks(f'"${p}part:${p}wish"', f"{p}at", rows, "0")


def limitations(plan: TargetPlan) -> Iterator[str]:
    """Yield what nginx says of so many names."""
    if plan.works is not None and len(plan.works.keys) > _WITHOUT_A_WARNING:
        size = 1 << (len(plan.works.keys) - 1).bit_length()
        yield (
            "nginx warns `could not build optimal map_hash`, which is harmless; two lines in its http { }, before any "
            f"map, end that: map_hash_max_size {size}; map_hash_bucket_size 128;"
        )


def _captured(pattern: str) -> str:
    return expression(pattern.replace("([^/]+?)", "(?<noaic_work>[^/]+?)"), any_case=False)


def files(plan: TargetPlan, folder: str) -> Iterator[File]:
    """Yield the files of the names."""
    if plan.works is not None:
        rows = sorted((_lower(key), number) for key, number in plan.works.keys.items() if not _is_long(key))
        yield File(f"{folder}/works.map", b"".join(_row(*row) for row in rows))
        if long_names := _long_names(plan.works):
            yield File(f"{folder}/long-works.map", b"".join(_row(*row) for row in sorted(long_names.items())))


def _long_names(works: WorkMap) -> dict[bytes, int]:
    """Return the beginnings of long names, and the strictest wish of each."""
    beginnings: dict[bytes, int] = {}
    for key, number in works.keys.items():
        if _is_long(key):
            beginning = _lower(key)[:MAX_KEY]
            beginnings[beginning] = stricter(beginnings.get(beginning, number), number)
    return beginnings


def _is_long(key: str) -> bool:
    return len(key.encode()) > MAX_KEY


def _lower(key: str) -> bytes:
    return key.encode().lower()


def _row(name: bytes, number: int) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    # A key that is a keyword or begins like an expression has a backslash before it.
    is_special = escaped.startswith((b"~", b"\\")) or escaped in (b"default", b"include", b"hostnames", b"volatile")
    return b'"%s%s" %d;\n' % (b"\\\\" if is_special else b"", escaped, number)
