"""The shape of a static host, and what every one of them is told."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.path_patterns import by_specificity

Fields = Mapping[str, str]
"""Header fields: usual spelling of a name -> its only line."""

_NOTHING_RESERVED = {"X-Robots-Tag": "all"}
"""What takes back a declaration that has no "no" of its own: `all` is what holds without the field."""


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """What a host is told of a policy: header fields by path.

    `everywhere` holds for the whole site. `sections` are path patterns of the policy; where one matches, its fields
    replace what stood before, and the last one counts. `documents` are paths of ours, each of one file.
    """

    everywhere: Fields
    path_policies: tuple[tuple[str, Fields], ...]
    documents: tuple[tuple[str, Fields], ...]

    @property
    def names(self) -> frozenset[str]:
        """The fields that declare something."""
        return frozenset(self.everywhere).union(*(fields for _, fields in self.path_policies))


@dataclass(frozen=True, slots=True)
class Host:
    """A host that reads a configuration file, called `file`.

    `render(told, existing)` gives its content with all that is there already; raises CannotExpress where that cannot
    be. `notes(told, existing)` gives sentences on what the host cannot do of it.
    """

    title: str
    file: str
    render: Callable[[HeaderRules, bytes], bytes]
    notes: Callable[[HeaderRules, bytes], Iterable[str]]


def told(compiled: CompiledPolicy) -> HeaderRules:
    """What hosts are told of a policy.

    A host applies every rule that matches, and hardly any can take a field back: a section comes after those that
    are less specific, and one that reserves nothing says so.
    """
    policy = compiled.policy
    declared = [_fields(field for field in found.fields) for found in compiled.declared]
    names = {name for fields in declared for name in fields}
    by_section = [
        {
            **{name: value for name, value in _NOTHING_RESERVED.items() if name in names},
            **_fields(
                field for standard in compiled.standards for field in standard.header_fields(policy, path_policy)
            ),
        }
        if names
        else {}
        for path_policy in policy.all_path_policies
    ]
    everywhere, *others = by_section
    patterns = [path_policy.pattern for path_policy in policy.path_policies]
    least_specific_first = reversed(by_specificity(patterns))
    path_policies = tuple((patterns[place], others[place]) for place in least_specific_first)
    return HeaderRules(
        everywhere,
        path_policies if any(fields != everywhere for fields in others) else (),
        tuple(
            (path, {"Content-Type": document.media_type, "Access-Control-Allow-Origin": "*"})
            for path, document in sorted(compiled.documents.items())
        ),
    )


def _fields(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lines of one name in one: hosts send one line for a name, whatever they are told."""
    found: dict[str, str] = {}
    for name, value in lines:
        spelled = name.decode("ascii").title()
        found[spelled] = f"{found[spelled]}, {value.decode('ascii')}" if spelled in found else value.decode("ascii")
    return found
