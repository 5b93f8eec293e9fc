from collections.abc import Iterator

import pytest

from tests.targets.web_servers import origin, readable_folder


@pytest.fixture(scope="module")
def origin_port() -> Iterator[int]:
    with readable_folder() as folder, origin(folder) as port:
        yield port
