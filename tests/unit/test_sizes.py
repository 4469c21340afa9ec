"""What of the recipe depends on the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.dataset import Dataset, read
from models.recipe import plan
from models.sizes import sized
from tests.worlds import many_users

ORDERED = {"shuffled": 0.0, "horizon": 0.0, "settling": 0, "ordered": True}


def walks(folder: Path) -> Dataset:
    """Few users with short histories."""
    file = folder / "walks.csv"
    lines = [f"u{user},i{(user + at) % 30},{at}" for user in range(60) for at in range(20)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    return read(file)


def test_few_users_have_a_recall_and_narrow_blocks(tmp_path: Path) -> None:
    size = sized(walks(tmp_path))
    assert (size["length"], size["batch_size"], size["dropout"], size["recall"]) == (20, 128, 0.5, "always")
    assert (size["rank"], size["width"], size["refreshing"]) == (384, 16, 0.5)


def test_a_choice_takes_the_place_of_a_size(tmp_path: Path) -> None:
    assert plan(sized(walks(tmp_path)) | {"length": 7}).learner.length == 7


def test_an_ordered_recipe_differs_in_what_serves_histories_without_an_order_alone(tmp_path: Path) -> None:
    few, short, long = (
        walks(tmp_path), many_users(tmp_path, items=50, events=4), many_users(tmp_path, items=150, events=60)
    )  # fmt: skip
    assert sized(few, ordered=True) == sized(few, ordered=False) | ORDERED
    assert sized(short, ordered=True) == sized(short, ordered=False) | ORDERED
    longest = {"recall": "never", "positions": 4096, "residual_dropout": 0.0}
    assert sized(long, ordered=True) == sized(long, ordered=False) | ORDERED | longest


@pytest.mark.parametrize(("at_once", "ordered"), [(0, True), (10, True), (11, False), (1001, False)])
def test_many_short_histories_choose_by_how_many_of_them_have_an_order(
    at_once: int, ordered: bool, tmp_path: Path
) -> None:
    short = many_users(tmp_path, items=50, events=4, timed=True, at_once=at_once)
    assert sized(short) == sized(short, ordered=ordered)
    assert sized(short, ordered=True) != sized(short, ordered=False)


def test_days_in_which_much_is_done_are_no_order(tmp_path: Path) -> None:
    file = tmp_path / "days.csv"
    rows = [f"u{user},i{(user + at) % 50},{at // 2}" for user in range(1001) for at in range(4)]
    file.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    assert sized(read(file)) == sized(read(file), ordered=False)


def test_the_order_of_rows_is_no_order_of_events(tmp_path: Path) -> None:
    short = many_users(tmp_path, items=50, events=4)
    assert sized(short) == sized(short, ordered=False)


def test_sequences_have_an_order(tmp_path: Path) -> None:
    file = tmp_path / "sequences.txt"
    file.write_text("\n".join(f"{user} {user % 50} {user % 50 + 1} {user % 50 + 2}" for user in range(1001)) + "\n")
    assert sized(read(file)) == sized(read(file), ordered=True)


def test_single_events_say_nothing_of_order(tmp_path: Path) -> None:
    alone = many_users(tmp_path, items=50, events=1, timed=True)
    assert sized(alone) == sized(alone, ordered=False)
    with (tmp_path / "many.csv").open("a") as file:
        file.write("u0,i1,7\n")  # of whom one says something
    assert sized(read(tmp_path / "many.csv")) == sized(alone, ordered=False)


def test_long_histories_and_few_users_are_served_both_ways(tmp_path: Path) -> None:
    few, long = walks(tmp_path), many_users(tmp_path, items=150, events=60, timed=True)
    assert sized(few) == sized(few, ordered=False)
    assert sized(long) == sized(long, ordered=False)
