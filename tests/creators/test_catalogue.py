"""What is exported from the database is a catalogue that says the same."""

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config.wish_catalogue import WishCatalogue
from noai_guard.core.wish_index import number_of
from noai_guard.core.wishes import WISHED_USAGES, Choice, WishesSource
from noai_guard.core.works import Works
from noai_guard.creators.catalogue import catalogue_lines
from noai_guard.creators.imports import import_lines
from noai_guard.stores.wish_table import ALL_WORKS, Row, WishTable

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TODAY = NOW.date()
WORKS = Works(["/songs/{work}"])

rows = st.builds(
    Row,
    creator=st.sampled_from(["Ines", "Jonas", "=Ada", "'Bo", 'Crew, "the"']),
    work=st.sampled_from(["tide", "foam", "-ebb", "'=x", "caf\u00e9", "a;b", ALL_WORKS, ALL_WORKS]),
    choice=st.sampled_from(Choice),
    usage=st.sampled_from([None, *WISHED_USAGES]),
    title=st.sampled_from(["", "Tide", "=1+1", "F**k"]),
    isrc=st.sampled_from(["", "DEA122600001"]),
    set_at=st.just(NOW),
    since=st.dates(date(2026, 11, 27), date(2026, 12, 1)),
)


def said(source: WishesSource) -> set[tuple[str, int]]:
    return {(each.work, number_of(each.choices)) for each in source.read(TODAY)}


@settings(deadline=None, max_examples=15)
@given(st.lists(rows, max_size=12))
def test_a_catalogue_and_a_database_that_is_filled_from_it_say_what_the_database_said(added: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = WishTable.at(f"sqlite:///{folder}/wishes.sqlite")
        table.add(added)
        file = Path(folder, "catalogue.csv")
        file.write_text("".join(catalogue_lines(table, TODAY)), encoding="utf-8", newline="")
        catalogue = WishCatalogue(file, WORKS)
        assert said(catalogue) == said(table)
        other = WishTable.at(f"sqlite:///{folder}/other.sqlite")
        with other.writing() as writer:
            import_lines(writer, catalogue.lines(), set_by="Label", now=NOW, notice=0)
        assert said(other) == said(table)
        table.close()
        other.close()
