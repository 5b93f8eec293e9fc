"""The page of a music site."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.creators.site import MusicSite, music_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MusicSite]:
    with music_site(tmp_path) as made:
        yield made
