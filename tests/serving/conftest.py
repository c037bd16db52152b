"""A service over a small town, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serving.town import LocalClient, Town


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town.build(tmp_path)


@pytest.fixture
def client(town: Town) -> Iterator[TestClient]:
    with LocalClient(town.app(poll_s=3600)) as opened:
        yield opened
