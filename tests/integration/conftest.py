"""What the tests of the engine share: a real learner to serve, and a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.engine import Engine
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


@pytest.fixture
async def mindful(served: Served, store: Store, seen: Seen) -> AsyncIterator[Engine]:
    """An engine that remembers two users."""
    engine = Engine(store.read, seen, max_batch=4, queue_limit=9, threads=1, remembered=2)
    engine.swap(served)
    engine.start()
    yield engine
    store.gate.set()
    await engine.close()
