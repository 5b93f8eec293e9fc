"""What a proxy's configuration is made from, and its shape."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Action
from noai_guard.core.path_patterns import by_specificity
from noai_guard.gateway.contract import REASON, STATUS, VERDICT
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.version import __version__

BESIDE = frozenset(name.decode("ascii") for name in REPEATABLE)
"""Response fields that may stand beside the site's own; of the others, the site's own stands alone."""


def spellings(separators: str = "-_.") -> Iterator[str]:
    """Request headers that only we may send, in every spelling that some server or language takes for the same."""
    for name in (*VERDICT, STATUS, REASON):
        first, second, third = title(name).split("-")
        yield from (f"{first}{a}{second}{b}{third}" for a, b in product(separators, repeat=2))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a host and a port, or the absolute path of a UNIX domain socket."""

    host: str = ""
    port: int = 0
    socket: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads `127.0.0.1:9797`, `[::1]:9797`, `name:9797` or `unix:/run/noai-guard/gateway.sock`. Raises
        ValueError with the reason. What is accepted needs no quoting in any proxy's configuration."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not re.fullmatch(r"/[A-Za-z0-9/._-]{1,100}", path):
                raise ValueError("a socket is unix: and an absolute path of letters, digits and / . _ -")
            return cls(socket=path)
        match = re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", text)
        if match is None or not 0 < int(match[2]) < 65536:
            raise ValueError("an address is host:port, [IPv6]:port or unix:/path/of/a.sock")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class GatewaySetup:
    """What a configuration is made for. `root` is the folder its files lie in, `origin` the site behind the proxy,
    `cache` the folder in which the proxy keeps verdicts, None for asking each time; `gateway` speaks HTTP."""

    compiled: CompiledPolicy
    gateway: Address
    root: str
    origin: Address
    cache: str | None = None

    @cached_property
    def lets_in(self) -> bool:
        """What happens with a request when the gateway does not answer."""
        return self.compiled.policy.on_unknown is Action.ALLOW

    @cached_property
    def declared(self) -> tuple[str, ...]:
        """Names of the header fields that a verdict may bring for the response."""
        names = {name.decode("ascii"): None for declared in self.compiled.declared for name, _ in declared.fields}
        return tuple(names)

    @cached_property
    def documents(self) -> tuple[str, ...]:
        """Paths that the gateway serves."""
        return tuple(self.compiled.documents)

    @cached_property
    def most_specific_first(self) -> list[int]:
        """The places of the policy's sections, in the order in which their patterns are tried."""
        return by_specificity([path_policy.pattern for path_policy in self.compiled.policy.path_policies])

    @cached_property
    def path_lists(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Lists of (pattern, name of the class), the first that matches counts. Paths with equal classes in every
        list are judged alike."""
        policy = self.compiled.policy
        path_policies = [path_policy.pattern for path_policy in policy.path_policies]
        lists = [[(path_policies[place], str(place)) for place in self.most_specific_first]]
        lists += [[(pattern, "x") for pattern in paths] for paths in
                  (policy.exemptions.paths, *(rule.paths for rule in policy.rules), tuple(self.documents))]  # fmt: skip
        return tuple(tuple(rows) for rows in lists if rows)

    @property
    def address_header(self) -> str:
        """The header in which the policy expects the client's address."""
        return self.compiled.policy.trusted_proxies.header or "x-forwarded-for"

    def head(self, proxy: str) -> str:
        unanswered = "lets everybody in" if self.lets_in else "refuses everybody"
        return (
            f"noai-guard {__version__} for {proxy}, made by `noai-guard snippet`. "
            f"When the gateway does not answer, this {unanswered} (on_unknown)."
        )


@dataclass(frozen=True, slots=True)
class Snippet:
    """One file of a configuration. `file` is relative to the root of the proxy's configuration; `where` says to the
    person who pastes it where it belongs."""

    file: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that can ask. `root` is where its configuration usually lies. `render` raises CannotExpress where the
    policy asks what would not be safe; `limits` are sentences on what it cannot do. `comment` begins a comment,
    `language` is what a Markdown page calls the configuration."""

    key: str
    title: str
    root: str
    render: Callable[[GatewaySetup], Sequence[Snippet]]
    limits: Callable[[GatewaySetup], Sequence[str]] = lambda wanted: ()
    comment: str = "#"
    language: str = ""


def title(name: str) -> str:
    """A header name as it is usually written, which is also how Go writes it."""
    return "-".join(part.capitalize() for part in name.split("-"))


def variable(name: str) -> str:
    return name.replace("-", "_")
