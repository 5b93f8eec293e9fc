"""What `from noai_guard import ...` offers."""

import noai_guard


def test_the_front_door_has_at_most_twelve_names_and_all_of_them_open() -> None:
    names = [name for name in noai_guard.__all__ if not name.startswith("__")]
    assert len(names) <= 12
    assert [getattr(noai_guard, name).__name__ for name in names] == names
    assert not hasattr(noai_guard, "Nothing")
