"""Whatever is written as CSV by Python's own writer is read back, row for row."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dataset import DatasetError, read
from models.dataset.delimited import split
from models.dataset.lines import LINE
from models.dataset.report import Refusals

FIELD = st.text(st.sampled_from('ab ",;\t|\né1'), max_size=6)
ROWS = st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


@given(ROWS, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.sampled_from(",;\t|"))
def test_quoting_is_undone(rows: list[tuple[str, str, str]], quoting: int, separator: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator="\n", delimiter=separator)
    writer.writerows([("a", "b", "c"), *rows])
    refusals = Refusals()
    frame = split(out.getvalue(), "a.csv", refusals, separator=separator)
    assert refusals.count == 0
    assert frame.drop(LINE).fill_null("").rows() == rows
    assert frame[LINE].is_sorted()


@given(st.text(st.sampled_from('ab1,"\n'), max_size=60))
def test_every_line_is_read_or_refused(text: str) -> None:
    refusals = Refusals()
    frame = split("user,item\n" + text, "a.csv", refusals, separator=",")
    lines = {number for number, line in enumerate(text.split("\n"), 2) if line.strip()}
    seen = [*frame[LINE], *(refusal.line for refusal in refusals.kept)]
    assert len(seen) == len(set(seen))
    assert set(seen) <= lines
    # Only a quoted line break joins lines: each one lost is inside a field.
    inside = sum(str(value).count("\n") for column in frame.drop(LINE) for value in column.drop_nulls())
    assert len(lines) - len(seen) <= inside


@given(text=st.text(max_size=200) | st.text(st.sampled_from('{}[]":,ua1 \n'), max_size=80))
def test_no_text_breaks_the_readers(folder: Path, text: str) -> None:
    for suffix in (".csv", ".jsonl", ".txt", ".inter"):
        path = folder / f"a{suffix}"
        path.write_text(text, encoding="utf-8", errors="replace")
        with suppress(DatasetError):
            assert len(read(path).interactions) > 0


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 3)), min_size=1, max_size=30)
)
def test_the_columns_of_a_dataset_fit_together(folder: Path, rows: list[tuple[str, str, int]]) -> None:
    path = folder / "rows.parquet"
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_parquet(path)
    dataset = read(path)
    log = dataset.interactions
    assert log.items == tuple(item.id for item in dataset.items)
    found = {(log.users[u], log.items[i], int(t)) for u, i, t in zip(log.user, log.item, log.time, strict=True)}
    assert found == set(rows)
    assert len(log) == len(found)
    assert dataset.report.duplicates == len(rows) - len(found)
    first = sorted(range(len(rows)), key=lambda number: rows[number][2])
    assert log.users == tuple(dict.fromkeys(rows[number][0] for number in first))
