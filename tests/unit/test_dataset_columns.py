"""Which column is which: guessed, named, or not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.dataset import Columns, read
from tests.unit.test_dataset import NOON, rows, written


@pytest.mark.parametrize(
    "header", ["user,item", "userId,movieId", "customer_id,asin", "Visitor ID,SKU", "reviewerID,product_id"]
)
def test_names_are_guessed(tmp_path: Path, header: str) -> None:
    assert rows(read(written(tmp_path / "a.csv", f"{header}\na,x\n"))) == [("a", "x", "view", None, 0.0)]


def test_named_columns_win_over_guesses(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", "user,who,thing,did,points,rating,at,label,about\n1,ann,x,like,7,5,2024-05-01,Tea,Hot\n"
    )
    columns = Columns(user="who", item="thing", kind="did", value="points", time="at", title="label", text=("about",))
    dataset = read(path, columns)
    assert rows(dataset) == [("ann", "x", "like", 7.0, NOON - 12 * 3600)]
    assert (dataset.items[0].title, dataset.items[0].text) == ("Tea", "Hot.")


def test_columns_that_say_nothing_here_are_named(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", "user,sku,when,title,qty\nu,a,2024-05-01,Heat,2\n")
    assert read(log).report.notes == ("log.csv: columns not used: when, qty",)
    assert read(log, Columns(time="when")).report.notes == ("log.csv: columns not used: qty",)
    items = written(tmp_path / "items.csv", "sku,title,url\na,Heat,http://a\n")
    notes = read(log, Columns(time="when"), items).report.notes
    assert notes == ("log.csv: columns not used: title, qty", "items.csv: columns not used: url")
    sequences = written(tmp_path / "sequences.txt", "u a\n")
    assert read(sequences, items=items).report.notes == ("items.csv: columns not used: url",)
    written(items, "sku,title," + ",".join(f"f{at}" for at in range(12)) + "\na,Heat" + ",0" * 12 + "\n")
    (said,) = read(sequences, items=items).report.notes
    assert said.endswith("f8, f9 and 2 more")
