"""A real browser shows the pages and plays the recordings, under its own name and as a program that drives it."""

from pathlib import Path

import pytest

from tests.clients.chromium import chromium
from tests.clients.site import AUDIO, LISTENER, TRACK, Site

PLAYS_AND_SEEKS = """
(async () => {
  const audio = document.querySelector('audio');
  const event = name => new Promise((done, fail) => {
    audio.addEventListener(name, done, {once: true});
    audio.addEventListener('error', () => fail(audio.error.message), {once: true});
  });
  const advances = async () => {
    const from = audio.currentTime;
    while (audio.currentTime === from) await event('timeupdate');
    return audio.currentTime - from;
  };
  audio.load();
  if (!(audio.duration > 0)) await event('loadedmetadata');
  audio.currentTime = 20;
  await event('seeked');
  const sought = audio.currentTime;
  await audio.play();
  const played = await advances();
  return {duration: audio.duration, sought, played};
})()
"""


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="HeadlessChrome", marks=[pytest.mark.client("Chromium, headless"), pytest.mark.one_door]),
        pytest.param((f"--user-agent={LISTENER}",), id="Chrome", marks=pytest.mark.client("Chromium, as a listener's")),
    ],
)
def test_chromium_shows_a_page_plays_its_recording_and_seeks(
    site: Site, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with chromium(tmp_path, *flags) as tab:
        tab.slow_down(500_000)
        tab.open(site.url + TRACK)
        heard = tab.evaluate(PLAYS_AND_SEEKS)
        broken = tab.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
    assert heard["duration"] == pytest.approx(26.07, abs=0.01)
    assert heard["sought"] == 20
    assert heard["played"] > 0
    assert broken == []
    parts = [(each.range, each.status) for each in site.asked() if each.target == AUDIO]
    assert {status for _, status in parts} == {206}
    assert {part for part, _ in parts} > {"bytes=0-"}


@pytest.mark.one_door
@pytest.mark.client("Chromium, as GPTBot")
def test_chromium_that_says_it_is_gptbot_sees_the_refusal(site: Site, tmp_path: Path) -> None:
    with chromium(tmp_path, "--user-agent=Mozilla/5.0 (compatible; GPTBot/1.3)") as tab:
        tab.open(site.url + TRACK)
        assert tab.evaluate("document.querySelector('audio')") is None
        assert "GPTBot" in tab.evaluate("document.body.innerText")
