"""A history in Redis against a python list."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.history import Event, History

USERS = ("ann", "bob")
CAP = 4

event = st.builds(
    Event,
    event_id=st.integers(0, 9).map(str),
    user=st.sampled_from(USERS),
    handle=st.integers(0, 2**32 - 1),
    kind=st.integers(0, 255),
    value=st.none() | st.floats(allow_nan=False, width=32),
    time=st.integers(0, 5).map(float) | st.floats(0, 4e9),
)
steps = st.lists(st.lists(event, max_size=8) | st.sampled_from(USERS), max_size=10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_append_and_forget_do_as_a_list_would(redis: Redis, steps: list[list[Event] | str]) -> None:
    """A step is a batch to append, each event where its time belongs, or a user to forget."""
    await redis.flushall()
    history = History(redis, cap=CAP)
    kept: dict[str, list[Event]] = {user: [] for user in USERS}
    seen: dict[str, set[str]] = {user: set() for user in USERS}
    versions, counts = dict.fromkeys(USERS, 0), dict.fromkeys(USERS, 0)
    for step in steps:
        before = dict(counts)
        if isinstance(step, str):
            await history.forget(step)
            kept[step], seen[step] = [], set()
            before[step] = counts[step] = 0
        else:
            expected = []
            for one in step:
                expected.append(one.event_id not in seen[one.user])
                if expected[-1]:
                    kept[one.user] = sorted([*kept[one.user], one], key=lambda event: event.time)  # stable
                    counts[one.user] += 1
                    seen[one.user].add(one.event_id)
            assert await history.append(step) == expected
            kept = {user: kept[user][-CAP:] for user in USERS}
        for user, found in zip(USERS, await history.read(USERS), strict=True):
            assert found.records.tobytes() == b"".join(one.packed("") for one in kept[user])
            if not kept[user]:
                assert found.version == 0
            elif counts[user] > before[user]:
                assert found.version > versions[user]
                versions[user] = found.version
            else:
                assert found.version == versions[user]
    assert await history.pending() == sum(counts.values())
