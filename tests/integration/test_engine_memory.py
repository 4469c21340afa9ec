"""Whom the engine remembers, what of, and until when; with a real learner."""

from __future__ import annotations

import asyncio
from inspect import signature
from typing import Any

import pytest

from app.engine import Engine
from app.query import Entry, Query
from app.served import Served
from models.item import Item
from tests.stores import Store, busy, held
from tests.worlds import COURSE, Seen, content_of, served_of, snapshot_of


@pytest.fixture
def adapted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with how many users are adapted to, each time any are."""
    sizes: list[int] = []
    real = COURSE.follow

    def counted(*given: Any) -> Any:
        users, trails = real(*given)
        sizes.append(len(users))
        return users, trails

    monkeypatch.setattr(COURSE, "follow", counted)
    return sizes


async def test_who_asks_again_with_no_new_event_is_not_computed_again(
    mindful: Engine, store: Store, seen: Seen, served: Served
) -> None:
    store.histories = {"a": [1003, 1008]}
    first = await mindful.ask(Query(user="a"))
    assert await mindful.ask(Query(user="a")) is first
    assert seen.batches == [1]
    store.histories["a"].append(1030)
    second = await mindful.ask(Query(user="a"))
    assert second == served.answer([Query(user="a")], [store.records("a")])[0] != first
    assert seen.batches == [1, 1]


async def test_another_question_of_the_same_user_starts_from_the_vector(
    mindful: Engine, store: Store, adapted: list[int]
) -> None:
    store.histories = {"a": [1003, 1008]}
    plain = await mindful.ask(Query(user="a", k=20))
    adapted.clear()
    assert (await mindful.ask(Query(user="a", k=5))).items == plain.items[:5]
    for _ in range(2):
        assert (await mindful.ask(Query(user="a", k=20))).items == plain.items, "after other questions too"
        odd = await mindful.ask(Query(user="a", k=20, categories=["odd"], exclude=[plain.items[0]]))
        assert {int(item[1:]) % 2 for item in odd.items} == {1}
        assert plain.items[0] not in odd.items
        everything = await mindful.ask(Query(user="a", k=20, include_seen=True))
        assert {"i3", "i8"} & set(everything.items) or everything.items != plain.items
    assert (await mindful.ask(Query(user="a", k=20))).items == plain.items
    assert not adapted
    await mindful.ask(Query(user="b"))
    store.histories["a"].append(1030)
    await mindful.ask(Query(user="a"))
    assert adapted == [1]


async def test_many_who_ask_the_same_at_once_are_computed_once(mindful: Engine, store: Store, served: Served) -> None:
    store.histories = {"a": [1003]}
    tasks = await held(mindful, store, Query(user="z"), *[Query(user="a")] * 3)
    store.gate.set()
    found = await asyncio.gather(*tasks)
    assert store.asked[1:] == [["a"]]
    assert found[1] == found[2] == found[3] == served.answer([Query(user="a")], [store.records("a")])[0].items


async def test_only_so_many_users_are_remembered(mindful: Engine, store: Store, seen: Seen) -> None:
    store.histories = {user: [1000 + number] for number, user in enumerate("abc")}
    for user in "abccba":
        await mindful.ask(Query(user=user))
    assert len(seen.batches) == 4, "a made way for c and came again"
    assert len(mindful._memory.adapted) == 2


async def test_a_swap_forgets_every_vector(mindful: Engine, store: Store) -> None:
    store.histories = {"a": [1003]}
    await mindful.ask(Query(user="a"))
    other = served_of(snapshot_of(seed=1))
    mindful.swap(other)
    answer = await mindful.ask(Query(user="a"))
    assert answer == other.answer([Query(user="a")], [store.records("a")])[0]


async def test_a_vector_brought_before_a_swap_is_not_used_after_it(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003, 1008], "b": [1010]}
    await mindful.ask(Query(user="a"))
    other = served_of(snapshot_of(seed=1))
    with busy(monkeypatch) as computing:
        ahead = asyncio.create_task(mindful.ask(Query(user="b")))
        await asyncio.to_thread(computing.wait, 10)
        late = asyncio.create_task(mindful.ask(Query(user="a", k=20)))
        await asyncio.sleep(0.1)  # it is read, knows its vector, and waits for the device
        mindful.swap(other)
    await ahead
    for k, answer in ((20, await late), (5, await mindful.ask(Query(user="a", k=5)))):
        assert answer == other.answer([Query(user="a", k=k)], [store.records("a")])[0]
    again = await mindful.ask(Query(user="b"))
    assert again == other.answer([Query(user="b")], [store.records("b")])[0], "what was computed before is not kept"


async def test_an_answer_of_the_catalogue_before_is_not_kept(
    mindful: Engine, store: Store, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003, 1008]}
    gone = (await mindful.ask(Query(user="a"))).items[0]
    handles = {item.id: 1000 + row for row, item in enumerate(served.items)}
    fewer = served.renewed([Entry(0, Item(gone, available=False), None)], handles, 2)
    with busy(monkeypatch) as computing:
        ahead = asyncio.create_task(mindful.ask(Query(user="a", k=20)))
        await asyncio.to_thread(computing.wait, 10)
        mindful.swap(fewer)
    assert gone in (await ahead).items
    assert gone not in (await mindful.ask(Query(user="a", k=20))).items


async def test_a_new_event_goes_on_from_where_the_last_one_led(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[bool] = []
    real = COURSE.follow

    def noted(*given: Any) -> Any:
        followed.append(len(given) == len(signature(real).parameters) and given[-1] is not None)
        return real(*given)

    async def ask() -> bool:
        followed.clear()
        answer = await mindful.ask(Query(user="a"))
        (way,) = followed
        assert answer == mindful.served.answer([Query(user="a")], [store.records("a")])[0]
        return way

    monkeypatch.setattr(COURSE, "follow", noted)
    store.histories = {"a": [1003, 1008]}
    assert not await ask()
    store.histories["a"].append(1030)
    assert await ask()
    store.histories["a"].append(1031)
    assert await ask(), "and on from there"
    store.histories["a"].insert(1, 1032)
    assert not await ask(), "it came in the middle"
    store.histories["a"] += [1033, 1034]
    assert not await ask(), "there are two"
    mindful.forget("a")
    store.histories["a"].append(1035)
    assert not await ask(), "nothing is known of a user who was forgotten"
    mindful.swap(served_of(snapshot_of(seed=1)))
    store.histories["a"].append(1036)
    assert not await ask(), "another snapshot goes other ways"


async def test_a_vector_that_is_being_computed_is_forgotten_too(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003], "b": [1004]}
    with busy(monkeypatch) as computing:
        asked = [asyncio.create_task(mindful.ask(Query(user=user))) for user in "ab"]
        await asyncio.to_thread(computing.wait, 10)
        mindful.forget("a")
    assert all(len(answer.items) == 10 for answer in await asyncio.gather(*asked))
    assert list(mindful._memory.adapted._known) == ["b"]
    mindful.forget()
    assert not len(mindful._memory.adapted)


async def test_a_renewed_catalogue_keeps_the_vectors_and_not_the_answers(
    mindful: Engine, store: Store, adapted: list[int]
) -> None:
    store.histories = {"whole": [1003, 1008], "part": [1003, 9_999]}
    before = {user: await mindful.ask(Query(user=user)) for user in ("whole", "part")}
    served = mindful.served
    new = Entry(9_999, Item("new", "New"), content_of(1, seed=7)[0])
    handles = {f"i{n}": 1000 + n for n in range(60)} | {"new": 9_999}
    gone = Entry(1000, Item(before["whole"].items[0], "Gone", available=False), None)
    mindful.swap(served.renewed([new, gone], handles, 2))
    adapted.clear()  # of nobody, once, for those who have no history
    answers = {user: await mindful.ask(Query(user=user, k=60)) for user in ("whole", "part")}
    assert adapted == [1], "only the one whose history names the new item"
    assert before["whole"].items[0] not in answers["whole"].items
    assert "new" in answers["whole"].items
    assert "new" not in answers["part"].items
    for user, answer in answers.items():
        assert answer == mindful.served.answer([Query(user=user, k=60)], [store.records(user)])[0]
