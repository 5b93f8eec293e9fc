"""The pages in a real Chromium: with the keyboard alone, at the width of a phone, in the dark, and for assistive
technology."""

import contextlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.keys import add_key, read_keys
from noai_guard.stores.invitations import Invitations
from noai_guard.stores.wish_table import Row, WishTable
from tests.clients.chromium import Tab, chromium
from tests.creators.site import ADA, ADAS_WORK, POLICY, TRAIN
from tests.servers import Server, require
from tests.stores.shared_servers import wait_for

pytestmark = pytest.mark.thorough

APP = """\
from noai_guard.creators import app

app = app("noai.yaml", database="sqlite:///wishes.sqlite", visits="events", texts={texts!r})
"""
USES = """
uses:
- {use: recommendation, by: Example Records, trains_generative_models: no, licence: "https://music.example/licence"}
notices:
- {text: "All rights are reserved.", by: Example Society}
"""
PAGES = ("", f"work?name={ADAS_WORK}", "site", "visits", "history", "export", "nowhere", "open?t=wrong", "?saved=later")
NOW = datetime.now(UTC)
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Page:
    """A creator's page on a server of its own, in a browser that has opened the link."""

    def __init__(self, tab: Tab, port: int, table: WishTable, token: str) -> None:
        self.tab = tab
        self.table = table
        self._token = token
        self._base = f"http://127.0.0.1:{port}/"

    def open(self, path: str) -> None:
        self.tab.open(self._base + path)

    def sign_in(self) -> None:
        self.open(f"open?t={self._token}")

    def look(self, *, width: int = 1024, dark: bool = False) -> None:
        """Set the width of the window in CSS pixels, and the colours that the person prefers."""
        metrics = {"width": width, "height": 720, "deviceScaleFactor": 1, "mobile": width < 500}
        self.tab.call("Emulation.setDeviceMetricsOverride", **metrics)
        colours = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tab.call("Emulation.setEmulatedMedia", features=[colours])

    def press(self, key: str) -> None:
        """Press a key and wait until a page that it opens has loaded."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " "), "ArrowUp": (38, ""), "ArrowDown": (40, "")}[
            key
        ]
        for kind in ("keyDown", "keyUp"):
            self.tab.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )
        time.sleep(0.1)
        wait_for(lambda: self.value_of("document.readyState") == "complete")

    def value_of(self, script: str) -> object:
        """Return the value of an expression; None while another page takes the place of this one."""
        with contextlib.suppress(AssertionError):
            return self.tab.evaluate(script)
        return None

    def focused(self) -> str:
        """Return what has the focus: its id, else its text."""
        return self.tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")

    def tab_to(self, name: str) -> None:
        """Press Tab until something has the focus. On the way, the focus is always to be seen."""
        for _ in range(80):
            self.press("Tab")
            assert self.tab.evaluate(_FOCUS_IS_SEEN), f"nobody sees that {self.focused()!r} has the focus"
            if self.focused() == name:
                return
        pytest.fail(f"{name} cannot be reached with the keyboard")


_FOCUS_IS_SEEN = """(() => {
  const element = document.activeElement, box = element.getBoundingClientRect(), style = getComputedStyle(element)
  const shown = box.width > 1 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth
  return shown && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
})()"""


@pytest.fixture(scope="module")
def page(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "noai.yaml").write_text(POLICY + USES, encoding="utf-8")
    (folder / "creators_app.py").write_text(APP.format(texts=None), encoding="utf-8")
    (folder / "events").mkdir()
    event = {
        "time": f"{NOW:%Y-%m-%dT%H:%M:%S}.000Z", "claim": "GPTBot", "operator": "OpenAI", "identity": "unverified", "proof": "",
        "action": "deny", "enforced": True, "rule": "train-ai", "reasons": [], "usage": "train-ai", "policy": "", "ledger": None,
        "declared": [], "work": ADAS_WORK, "method": "GET", "host": "", "path": "/audio/x.mp3", "status": 403, "bytes": 9,
        "client": "", "user_agent": "GPTBot/1.3",
    }  # fmt: skip
    (folder / "events" / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    add_key(folder / "noai-creators.key")
    table = WishTable.at(f"sqlite:///{folder}/wishes.sqlite")
    day = NOW.date()
    table.add(
        [
            Row(ADA, ADAS_WORK, Choice.DISALLOW, WISHED_USAGES[1], "DEA012600001", "Ada's Secret", "label", NOW, day),
            Row(
                ADA,
                ADAS_WORK,
                Choice.ALLOW,
                WISHED_USAGES[1],
                "DEA012600001",
                "Ada's Secret",
                "label",
                NOW,
                day + timedelta(30),
            ),
            Row(ADA, "a-work-with-a-very-long-name-" + "in-one-piece" * 10, Choice.UNSET, set_at=NOW, since=day),
        ]
    )
    invitation = Invitations(table.database).add(ADA, "label", NOW, NOW + timedelta(days=30))
    token = read_keys(folder / "noai-creators.key", {}).link_token(invitation)
    started = server("uvicorn-h11", "creators_app:app", folder)
    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        made = Page(tab, started.port, table, token)
        made.sign_in()
        made.open("visits")
        yield made
    table.database.close()


def test_the_token_is_in_no_address_that_the_browser_keeps(page: Page) -> None:
    page.sign_in()
    assert page.tab.evaluate("location.pathname + location.search") == "/"
    assert page.tab.evaluate("document.cookie") == ""
    entries = page.tab.call("Page.getNavigationHistory")["entries"]
    assert not [entry["url"] for entry in entries if "open?t=" in entry["url"]]


@pytest.mark.parametrize("width", [1024, 320])
def test_a_creator_needs_only_the_keyboard(page: Page, width: int) -> None:
    page.look(width=width)
    page.sign_in()
    page.press("Tab")
    assert page.focused() == "Skip to the content"
    page.press("Enter")
    assert page.focused() == "content"
    page.tab_to("Change Ada's Secret")
    page.press("Enter")
    assert "work?name=" in page.tab.evaluate("location.href")
    radios = "document.querySelector('input[name=usage-train-ai]:checked').value"
    page.tab_to(f"usage-train-ai-{page.tab.evaluate(radios)}")
    while page.tab.evaluate(radios) != "disallow":
        page.press("ArrowUp")
    page.tab_to("Save")
    page.press("Enter")
    assert page.tab.evaluate("document.querySelector('[role=status]').textContent").startswith("Saved.")
    choices = {wishes.work: wishes.choices for wishes in page.table.read(NOW.date() + timedelta(days=1))}
    assert choices[ADAS_WORK][TRAIN] is Choice.DISALLOW
    page.tab_to("Sign out")
    # In the next round there is something to change again.
    page.table.add([Row(ADA, ADAS_WORK, Choice.UNSET, TRAIN, set_at=NOW, since=NOW.date())])


def test_a_mistake_is_announced_and_leads_to_its_field(page: Page) -> None:
    page.look(width=320)
    page.sign_in()
    page.tab.evaluate("document.getElementById('usage-train-ai-unset').value = 'perhaps'")
    page.tab.evaluate("document.getElementById('usage-train-ai-unset').checked = true")
    page.tab.evaluate("document.querySelector('.usages').closest('form').submit()")
    wait_for(lambda: page.value_of("document.activeElement.getAttribute('role')") == "alert")
    page.press("Tab")
    page.press("Enter")
    assert page.tab.evaluate("location.hash") == "#usage-train-ai-allow"
    assert accessibility_problems(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone_and_text_twice_as_large(page: Page, path: str) -> None:
    page.look(width=320)
    page.sign_in()
    page.open(path)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 320
    page.tab.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 320
    spaced = "line-height:1.5!important;letter-spacing:.12em!important;word-spacing:.16em!important"
    page.tab.evaluate(f"document.querySelectorAll('*').forEach(each => each.style.cssText += ';{spaced}')")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 320


_BROKEN_WORDS = """(() => {
  const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node; node = texts.nextNode();)
    if (!node.parentElement.closest('.hidden')) for (const word of node.data.matchAll(/\\p{L}{2,16}/gu)) {
      const range = document.createRange()
      range.setStart(node, word.index)
      range.setEnd(node, word.index + word[0].length)
      if (range.getClientRects().length > 1) broken.push(word[0])
    }
  return broken
})()"""


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("work?")])
def test_no_word_of_usual_length_is_broken_on_a_phone(page: Page, path: str) -> None:
    page.look(width=360)
    page.sign_in()
    page.open(path)
    assert set(page.tab.evaluate(_BROKEN_WORDS)) <= {"in", "one", "piece", "licence"}  # a name and an address


def test_no_word_is_broken_on_the_page_for_people_either(page: Page, tmp_path: Path) -> None:
    policy, problems = check_policy_text((POLICY + USES).encode())
    assert policy is not None, problems
    (tmp_path / "page.html").write_bytes(CompiledPolicy(policy, load_catalog()).documents["/.well-known/noai"].body)
    page.look(width=360)
    page.tab.open((tmp_path / "page.html").as_uri())
    assert "Recommendation" in page.tab.evaluate("document.body.innerText")
    assert set(page.tab.evaluate(_BROKEN_WORDS)) <= {"licence"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_wcag_2_2_aa(page: Page, path: str, dark: bool) -> None:
    page.look(width=390, dark=dark)
    page.sign_in()
    page.open(path)
    assert accessibility_problems(page) == []


def test_the_check_finds_faults_where_there_are_some(page: Page) -> None:
    page.look()
    page.sign_in()
    page.tab.evaluate("document.querySelectorAll('label').forEach(each => each.remove())")
    page.tab.evaluate("document.querySelector('.lead').style.color = '#999'")
    found = " ".join(accessibility_problems(page))
    assert "label: " in found
    assert "color-contrast: " in found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_edges_of_what_can_be_set_stand_out(page: Page, dark: bool) -> None:
    """WCAG 1.4.11: 3 to 1, which axe does not measure."""
    page.look(dark=dark)
    page.sign_in()
    for selector, property_ in (
        ("fieldset", "borderTopColor"),
        ("button", "backgroundColor"),
        (".button", "borderTopColor"),
    ):
        colour = page.tab.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{property_}")
        paper = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert contrast(colour, paper) >= 3


def test_every_control_is_large_enough_for_a_finger(page: Page) -> None:
    page.look(width=320)
    page.sign_in()
    for path in PAGES:
        page.open(path)
        small = page.tab.evaluate(_SMALL)
        assert small == [], path


# WCAG 2.5.8 asks for 24 by 24 CSS pixels; links within a sentence are exempt.
_SMALL = """[...document.querySelectorAll('a:not(.skip), button, input:not([type=hidden])')].filter(each => {
  const box = each.getBoundingClientRect()
  return box.width < 24 || box.height < 24
}).map(each => each.outerHTML)"""


def accessibility_problems(page: Page) -> list[str]:
    """Return what axe-core finds in the page that is open."""
    page.tab.evaluate(_axe())
    found = page.tab.evaluate(
        f"axe.run({{runOnly: {{type: 'tag', values: {json.dumps(_RULES)}}}}}).then(found => JSON.stringify(found.violations))"
    )
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}" for each in json.loads(found) for node in each["nodes"]
    ]


def _axe() -> str:
    require("axe_playwright_python")
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
