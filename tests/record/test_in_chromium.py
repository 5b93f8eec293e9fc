"""Report and transparency page in a real browser: nothing overflows, nothing is fetched, nothing runs, and it prints."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.month.__main__ import write_events
from noai_guard.config import load_stance
from noai_guard.record.event_sources import event_lines
from noai_guard.record.public_counts import PublicCounts
from noai_guard.record.report import Report, make_report
from noai_guard.record.report_page import as_html
from noai_guard.record.transparency import Transparency
from tests.clients.chromium import Tab, chromium
from tests.record.events_kit import ALL

pytestmark = pytest.mark.thorough

PAGES = ("report", "transparency")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("october")
    write_events(folder / "events", days=7)
    return make_report(event_lines([folder / "events"]), ALL, "Night Ferry Records")


@pytest.fixture(scope="module")
def pages(report: Report) -> dict[str, Path]:
    folder = report.events.files[0].path.parent.parent
    counts = PublicCounts()
    for line in report.events:
        counts.add(line.record)
    texts = {"report": as_html(report), "transparency": Transparency(load_stance(), counts).as_html()}
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def shown(tab: Tab, page: Path, width: int, scheme: str = "light") -> None:
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    tab.open("about:blank#")
    tab.call("Page.navigate", url=page.as_uri())
    tab.evaluate(
        "new Promise(done => { const look = () => document.readyState === 'complete' && document.querySelector('h1')"
        " ? done() : setTimeout(look, 20); look() })"
    )


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_the_screen(name: str, width: int, tab: Tab, pages: dict[str, Path]) -> None:
    shown(tab, pages[name], width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fetches_nothing_and_its_policy_lets_its_own_style_work(
    name: str, tab: Tab, pages: dict[str, Path]
) -> None:
    shown(tab, pages[name], 1280)
    assert tab.evaluate("performance.getEntriesByType('resource').length") == 0
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    assert tab.evaluate("getComputedStyle(document.querySelector('rect')).fill") != "rgb(0, 0, 0)"


CONTRAST = """
(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const poor = [];
  for (const element of document.querySelectorAll('h1,h2,p,th,td,dt,dd,code,caption,figcaption,span,a,strong')) {
    if (!element.innerText || !element.innerText.trim()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(element.tagName + ' ' + element.innerText.slice(0, 30));
  }
  return JSON.stringify(poor);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_can_be_read_in_light_and_dark(name: str, scheme: str, tab: Tab, pages: dict[str, Path]) -> None:
    """A contrast of 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    shown(tab, pages[name], 1280, scheme)
    assert json.loads(tab.evaluate(CONTRAST)) == []


@pytest.mark.parametrize("name", PAGES)
def test_tables_charts_and_headings_are_announced(name: str, tab: Tab, pages: dict[str, Path]) -> None:
    shown(tab, pages[name], 1280)
    nodes: list[Any] = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if "role" in node and not node.get("ignored")]
    assert roles.count("heading") >= 5
    assert roles.count("columnheader") >= 10
    assert roles.count("rowheader") >= 10
    images = [node for node in nodes if node.get("role", {}).get("value") == "image" and not node.get("ignored")]
    assert images
    assert all(image["name"]["value"] for image in images)
    tables = [node for node in nodes if node.get("role", {}).get("value") == "table"]
    assert tables
    assert all(table["name"]["value"] for table in tables)


def test_a_report_prints_on_a4_without_losing_a_column(tab: Tab, pages: dict[str, Path]) -> None:
    shown(tab, pages["report"], 1280)
    pdf = base64.b64decode(tab.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF-")
    assert b"/MediaBox [0 0 594.9" in pdf or b"/MediaBox [0 0 595" in pdf
    assert 3 <= pdf.count(b"/Type /Page\n") <= 20
    # The width that A4 leaves between margins, in CSS pixels.
    tab.call("Emulation.setDeviceMetricsOverride", width=688, height=1000, deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.evaluate("Math.max(...[...document.querySelectorAll('table')].map(each => each.offsetWidth))") <= 688
        assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    finally:
        tab.call("Emulation.setEmulatedMedia", media="")
