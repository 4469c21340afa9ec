"""What the tests of the engine share: a real learner to serve, and a store."""

from __future__ import annotations

import pytest

from app.served import Served
from tests.stores import Store
from tests.worlds import Seen, served_of, snapshot_of


@pytest.fixture(scope="module")
def served() -> Served:
    return served_of(snapshot_of())


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def seen() -> Seen:
    return Seen()
