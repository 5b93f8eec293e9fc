"""Reader of noai.yaml. `POLICY_FILE` is the one table of the keys in a policy."""

from typing import Any

from noai_guard.config import scalars
from noai_guard.config.catalogue_schema import HEADERS as HEADER_CONDITIONS
from noai_guard.config.catalogue_schema import OWN_AGENTS
from noai_guard.config.schema_types import FLAG, Choice, Field, ListOf, ListOrRecord, MapOf, Number, Record, Text
from noai_guard.config.yaml_nodes import NodeContext, ProblemLog, TooManyProblems, is_null, parse
from noai_guard.core.address_headers import HEADERS
from noai_guard.core.model import Usage
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.core.uses import KNOWN_USES
from noai_guard.declarations import STANDARDS

STANCES = ("no-ai", "no-training", "search-only")

_ACTIONS = {
    "allow": "let in",
    "log": "let in, with a line in the decision log",
    "throttle": "429 above the rate in limits",
    "license_required": "402 with where to get a licence",
    "deny": "403",
}
_USAGES = {usage.value: USAGE_WORDS[usage].meaning for usage in Usage}
_SPELLINGS = {"license-required": "license_required", "licence_required": "license_required"}
_usage = Choice(_USAGES, code="P012", noun="usage")
_wish = Choice(
    _ACTIONS,
    {
        **dict.fromkeys(("yes", "y", "true", "on", "allowed"), "allow"),
        **dict.fromkeys(("no", "n", "false", "off", "disallow", "disallowed"), "deny"),
        **_SPELLINGS,
    },
    noun="wish",
)
_action = Choice(_ACTIONS, _SPELLINGS, noun="action")
_identity = Choice(
    {
        "unclaimed": "names no known agent",
        "unverified": "names an agent, not checked",
        "verified": "is the agent it names",
        "spoofed": "is not the agent it names",
    },
    noun="identity",
)
_wishes = Record({usage: Field(_wish, doc) for usage, doc in _USAGES.items()}, "P012", "usage")
_name = Text(max_length=100)
_pattern = Text(scalars.path_pattern, max_length=1024, pattern="^/", examples=("/tracks/**", "/press/**"))
_work = Text(scalars.work_pattern, max_length=1024, pattern="^/", examples=("/audio/{work}.mp3", "/hls/{work}/**"))
_WISHES_FORMS = ("catalogue.csv", "sqlite:///wishes.sqlite", "postgresql://noai@db.example/noai")
_wishes_source = Text(scalars.wishes_source, max_length=1000, examples=_WISHES_FORMS)
_creators = Choice(
    {"decide": "what a creator says counts", "tighten": "the stricter of site and creator counts"}, noun="say"
)
_address = Text(scalars.web_address, pattern="^[Hh][Tt][Tt][Pp][Ss]?://", examples=("https://example.org/",))

_PATH_POLICY = Record({"usages": Field(_wishes, "wishes for these paths; what is not named is as for the site")})
_paths = MapOf(_pattern, _PATH_POLICY)
_network_name = Text(scalars.network_name, max_length=64)
_file_name = Text(max_length=500)
_asn = ListOf(Number(1, 4_294_967_295, "an autonomous system"), min_items=1)
_NETWORKS = (
    Record({"file": Field(_file_name, "a file with one network a line, beside this one", required=True)}),
    Record(
        {
            "asn": Field(_asn, "autonomous systems", required=True),
            "database": Field(_file_name, "a file in MaxMind's format, in which their networks are", required=True),
        }
    ),
)
_networks = MapOf(
    _network_name,
    ListOrRecord(ListOf(Text(scalars.network, max_length=64), min_items=1, max_items=10_000), _NETWORKS),
    max_items=50,
)
# A condition is never empty: a rule without conditions holds for everybody.
_RULE = Record(
    {
        "id": Field(Text(scalars.rule_id, max_length=64), "name of the rule in logs and metrics"),
        "agents": Field(ListOf(_name, min_items=1), "agents by name, as `noai-guard agents` lists them"),
        "operators": Field(ListOf(_name, min_items=1), "agents by the organisation that runs them"),
        "usages": Field(ListOf(_usage, min_items=1), "agents by what they fetch for"),
        "identities": Field(ListOf(_identity, min_items=1), "how far the claim has been checked"),
        "paths": Field(ListOf(_pattern, min_items=1, max_items=100), "only under these paths"),
        "networks": Field(ListOf(_network_name, min_items=1, max_items=100), "only from these, by name"),
        "headers": Field(HEADER_CONDITIONS, "only with these header fields: present, or words in the value"),
        "action": Field(_action, "what is done", required=True),
        "message": Field(Text(max_length=300), "a sentence added to a refusal"),
    }
)
_robots_txt = Choice(
    {"merge": "with the app's own", "replace": "the app's own is not asked", "off": "left alone"},
    {"no": "off", "false": "off", "yes": "merge", "true": "merge", "on": "merge"},
)
_DECLARATIONS = {
    **{standard.key: Field(FLAG, standard.title) for standard in STANDARDS},
    "robots_txt": Field(_robots_txt, "/robots.txt"),
    "noarchive": Field(FLAG, "noarchive or nocache in header and metas: what Bing may do"),
    "noml": Field(FLAG, "noml in header and metas (Mojeek's proposal)"),
}

_SITE = Record(
    {
        "url": Field(Text(scalars.site_address, pattern=_address.pattern), "where the site lives, https://..."),
        "name": Field(Text(max_length=200), "the site's name"),
        "owner": Field(Text(max_length=200), "who holds the rights"),
        "contact": Field(Text(scalars.contact), "whom to ask for a licence: e-mail or web address"),
        "policy_page": Field(Text(scalars.policy_page), "path of the page for people, or an address of your own"),
        "page_texts": Field(Text(max_length=500), "texts of that page: en, or a file beside this one with your own"),
        "licence": Field(_address, "address of the licence"),
        "tdm_policy": Field(_address, "address of a TDMRep policy document"),
    }
)
_EXEMPTIONS = Record(
    {
        "paths": Field(ListOf(_pattern), "never judged"),
        "agents": Field(ListOf(_name), "never refused"),
        "addresses": Field(ListOf(Text(scalars.network)), "clients never refused"),
    }
)
_header = Choice(dict.fromkeys(HEADERS, ""), noun="header")
_TRUSTED_PROXIES = Record(
    {
        "peers": Field(ListOf(_name, min_items=1), "networks of your own proxies, or unix:", required=True),
        "header": Field(_header, "the one header they set", required=True),
        "max_hops": Field(Number(1, 32, "hops"), "how many proxies at most"),
    }
)
_network_list = ListOf(Text(scalars.network), min_items=1)
_IDENTITY = Record(
    {
        "spoofed": Field(_action, "what is done with a client that is not the agent it names"),
        "stale_after": Field(Number(1, 365, "days"), "age at which a published list of networks refuses nobody"),
        "networks": Field(MapOf(_name, _network_list), "networks of agents, by name, in place of what is published"),
        "edge_ranges": Field(FLAG, "generated configuration of servers refuses by networks too"),
    }
)
_THROTTLE = Record(
    {
        "requests": Field(Number(1, 1_000_000, "requests"), "how many requests", required=True),
        "seconds": Field(Number(1, 86_400, "seconds"), "per so many seconds"),
    }
)
_LIMITS = Record(
    {
        "throttle": Field(_THROTTLE, "the rate of the action throttle, per agent and address block"),
        "store_deadline": Field(Number(1, 1000, "milliseconds"), "how long a request waits for an exact answer"),
    }
)
_STORE_FORMS = ("memory", "embedded", "redis://127.0.0.1:6379/0", "unix:/run/redis/redis.sock")
_store = Text(scalars.store_address, max_length=1000, examples=_STORE_FORMS)
_reload = Choice(
    {"off": "", "signal": "on SIGHUP", "watch": "when the file changes, and on SIGHUP"},
    {"no": "off", "false": "off"},
    noun="way to reload",
)
_day = Text(scalars.day, max_length=10, pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=("2027-12-31",))
_directory = Text(scalars.key_directory, max_length=512, pattern="^https://", examples=("https://agent.example",))
_https = Text(
    scalars.https_address, pattern="^[Hh][Tt][Tt][Pp][Ss]://", examples=("https://lists.example/robots.json",)
)
_SIGNATURE = Record(
    {
        "directory": Field(_directory, "where the partner publishes its keys", required=True),
        "key_ids": Field(ListOf(Text(scalars.key_thumbprint, max_length=64), min_items=1), "only these of its keys"),
    }
)
_digest = Text(scalars.key_digest, max_length=500, pattern="^[0-9A-Fa-f]{64}$")
_PROOF = Record(
    {
        "api_key": Field(ListOf(_digest, min_items=1, max_items=10), "SHA-256 of the key in Authorization: Bearer"),
        "networks": Field(_network_list, "networks that the partner comes from"),
        "signature": Field(_SIGNATURE, "the partner signs its requests (Web Bot Auth)"),
    }
)
_PARTNER = Record(
    {
        "name": Field(Text(scalars.rule_id, max_length=64), "name in logs, metrics and refusals", required=True),
        "proof": Field(_PROOF, "how the partner proves itself; all that is given has to hold", required=True),
        "usages": Field(ListOf(_usage, min_items=1), "what is licensed", required=True),
        "paths": Field(ListOf(_pattern, min_items=1, max_items=100), "only under these paths"),
        "from": Field(_day, "the first day of the grant (UTC)"),
        "until": Field(_day, "the last day of the grant (UTC)"),
        "named": Field(FLAG, "the page for people may name the partner"),
    }
)
_SIGNATURES = Record(
    {
        "hosts": Field(ListOf(Text(scalars.authority, max_length=255), max_items=20), "further host names of the site"),
        "keys": Field(
            MapOf(_directory, Text(max_length=500), max_items=100),
            "files with the keys of a directory (JWKS), beside this file; such a directory is not fetched",
        ),
    }
)
_REFRESH = Record(
    {
        "folder": Field(Text(max_length=500), "where refreshed lists are kept, relative to this file", required=True),
        "every": Field(
            Number(1, 720, "hours"), "refresh while serving, every so many hours; else by the command alone"
        ),
    }
)
_ledger_key = Text(scalars.ledger_key, max_length=60, pattern="^ed25519:")
_LEDGER = Record(
    {
        "folder": Field(Text(max_length=500), "the folder of the ledger, relative to this file", required=True),
        "notice": Field(Number(0, 3650, "days"), "how long a looser policy is announced before it takes effect"),
        "key": Field(_ledger_key, "the ledger's first public key, as `noai-guard ledger init` prints it"),
    }
)
_event_target = Text(
    scalars.event_target,
    max_length=300,
    pattern="^(files|stdout|syslog:/.+)$",
    examples=("files", "stdout", "syslog:/dev/log", "syslog://logs.example:514"),
)
_addresses = Choice({"pseudonym": "the same for a day", "full": "as they are"}, noun="way to write addresses")
_keys = Choice({"destroy": "when the day is over", "keep": "as long as the events"}, noun="way to treat keys")
_EVENTS = Record(
    {
        "to": Field(ListOf(_event_target, min_items=1, max_items=8), "where events go: files, if left out"),
        "folder": Field(Text(max_length=500), "where files and keys of pseudonyms are, relative to this file"),
        "addresses": Field(_addresses, "how clients' addresses are written"),
        "keys": Field(_keys, "what becomes of the key behind the pseudonyms of a day"),
        "keep": Field(
            Text(scalars.duration, max_length=20, examples=("12 months", "90 days")),
            "after this time `noai-guard events prune` removes events",
        ),
        "file_size": Field(Number(1, 4096, "megabytes"), "at this size a file is closed and compressed"),
    }
)
_FEATURES = Record(
    {
        "second_look": Field(FLAG, "let user-agents say whether an unknown client is a bot (1 ms per new one)"),
        "shared_cache": Field(FLAG, "a CDN or cache stands in front, and does not mix up who gets what"),
        "reload": Field(_reload, "read this file again while running"),
    }
)
_SOME = r"\S"
_words = Text(scalars.words, max_length=200, pattern=_SOME)
_USE = Record(
    {
        "use": Field(
            Text(scalars.use_name, max_length=100, pattern=_SOME, examples=KNOWN_USES), "what is done", required=True
        ),
        "by": Field(_words, "who does it: the site, or its vendor", required=True),
        "trains_generative_models": Field(FLAG, "whether generative models are trained on the works", required=True),
        "licence": Field(
            Text(scalars.licence, max_length=500, pattern=_SOME), "under which licence: an address, or words"
        ),
    }
)
_NOTICE = Record(
    {
        "text": Field(
            Text(scalars.words, max_length=4000, pattern=_SOME, lines=True), "the text, word for word", required=True
        ),
        "by": Field(_words, "whose notice it is"),
        "lang": Field(Text(scalars.language, max_length=50), "the language of the text"),
    }
)
_mode = Choice({"enforce": "refuse", "monitor": "judge and count everything, refuse nothing"}, noun="mode")
_unreadable = Choice(
    {"deny": "403", "log": "let in, with a line in the decision log", "allow": "let in"},
    {"no": "deny", "yes": "allow"},
    noun="answer",
)
_on_unknown = Choice({"allow": "let in", "deny": "403"}, noun="answer")

POLICY_FILE = Record(
    {
        "extends": Field(Choice(dict.fromkeys(STANCES, ""), noun="stance"), "the stance to begin with"),
        "mode": Field(_mode, "whether refusals are real"),
        "site": Field(_SITE, "facts about the site, shown in refusals and declarations"),
        "usages": Field(_wishes, "what fetched content may be used for: yes, no, or an action"),
        "paths": Field(_paths, "different wishes for parts of the site; the most specific pattern counts"),
        "agents": Field(OWN_AGENTS, "agents that the site knows itself, beside the catalogue or in place of an entry"),
        "agents_dir": Field(_file_name, "a folder beside this file with more of them, as in the catalogue"),
        "networks": Field(_networks, "networks by name, for rules: a list, a file, or autonomous systems"),
        "rules": Field(ListOf(_RULE, allow_single=False, max_items=300), "exceptions, first match wins, before usages"),
        "partners": Field(ListOf(_PARTNER, allow_single=False, max_items=100), "who has a licence, and proves it"),
        "works": Field(ListOf(_work, max_items=100), "which paths are one work: {work} stands for its name"),
        "events": Field(_EVENTS, "the event log: who came, what they were told, what they got"),
        "wishes": Field(_wishes_source, "where creators' wishes for their works are kept: a catalogue, or a database"),
        "creators": Field(_creators, "whether what a creator allows is let in where the site refuses it"),
        "uses": Field(
            ListOf(_USE, allow_single=False, max_items=50), "what the site and its vendors do with the works"
        ),
        "notices": Field(ListOf(_NOTICE, allow_single=False, max_items=10), "texts of your own about your rights"),
        "exemptions": Field(_EXEMPTIONS, "what is left alone"),
        "on_unknown": Field(_on_unknown, "what happens when a backend, or the gateway, cannot answer"),
        "unreadable": Field(_unreadable, "who names a refused agent where a request is too long or odd to be read"),
        "trusted_proxies": Field(_TRUSTED_PROXIES, "who may say where a request came from; nobody unless named here"),
        "identity": Field(_IDENTITY, "how far the claim of a client to be an agent is believed"),
        "signatures": Field(_SIGNATURES, "signed requests (Web Bot Auth)"),
        "refresh": Field(_REFRESH, "published networks and feeds, fetched anew"),
        "feeds": Field(ListOf(_https, max_items=20), "lists of further agents, for `noai-guard refresh`"),
        "store": Field(_store, "where workers keep what all must know; each its own if left out"),
        "limits": Field(_LIMITS, "numbers"),
        "ledger": Field(_LEDGER, "every version of this policy is published, dated and signed"),
        "declarations": Field(Record(_DECLARATIONS), "which standards are declared"),
        "features": Field(_FEATURES, "switches"),
    }
)


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of noai.yaml, generated from the table that reads it."""
    return POLICY_FILE.root_schema("policy", "noai-guard policy (noai.yaml)")


def read_policy(text: bytes, file: str) -> tuple[dict[str, Any], ProblemLog]:
    """Return the content of a policy file as plain data, and its problems."""
    log = ProblemLog(file, _KEY_PARENTS)
    data: dict[str, Any] = {}
    try:
        root = parse(text, log)
        if root is not None and not is_null(root):
            data = POLICY_FILE.read(NodeContext(root, (), log)) or {}
        elif log.is_valid():
            log.add("P021", "the file says nothing", "everything is as in the stance no-ai", warning=True)
    except TooManyProblems:
        pass
    return data, log


# Of several keys of one name, the first in the table counts.
_KEY_PARENTS = dict(reversed([*POLICY_FILE.key_parents()]))
