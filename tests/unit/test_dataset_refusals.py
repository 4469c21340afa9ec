"""A row that is refused is counted, with its line and the reason; a file that cannot be read says what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.dataset import Columns, DatasetError, read
from models.dataset.report import KEPT_REFUSALS
from tests.unit.test_dataset import written


def refused(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, encoding="utf-8")
    report = read(path).report
    assert report.refused_count == len(report.refused)
    assert report.rows == report.interactions + report.duplicates + report.refused_count
    return [(refusal.line, refusal.reason) for refusal in report.refused]


HEADER = "user,item,kind,rating,timestamp\n"
GOOD = "u,i,view,,1714564800\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",i,view,,1", "missing user"),
        ("u,  ,view,,1", "missing item"),
        ("u,i,rating,abc,1", "value is not a number: 'abc'"),
        ("u,i,rating,inf,1", "value is not a number: 'inf'"),
        ("u,i,rating,nan,1", "value is not a number: 'nan'"),
        ("u,i,rating,1e300,1", "value is not a number: '1e300'"),
        ("u,i,stare,,1", "unknown kind 'stare': allowed are view, click, like,"),
        ("u,i,view,,", "missing timestamp"),
        ("u,i,view,,soon", "unreadable timestamp 'soon': expected seconds"),
        ("u,i,view,,2024-02-30", "unreadable timestamp '2024-02-30'"),
        ("u,i,view,,01/02/2024", "unreadable timestamp '01/02/2024'"),
        ("u,i,view", "wrong number of columns: 3 where 5 are expected"),
        ("u,i,view,,1,more", "wrong number of columns: 6 where 5 are expected"),
        ('u,"i,view,,1', "a double quote that is out of place or never closed"),
        ('u,"i"x,view,,1', "a double quote that is out of place or never closed"),
    ],
)
def test_one_bad_row_between_good_ones(tmp_path: Path, row: str, reason: str) -> None:
    found = refused(tmp_path / "a.csv", f"{HEADER}{GOOD}\n{row}\nv,i,click,,1714564801\n")
    assert [line for line, _ in found] == [4]
    assert found[0][1].startswith(reason)


def test_a_stray_quote_swallows_no_rows(tmp_path: Path) -> None:
    rows = [f"u,i{number},view,,{number}" for number in range(2000)]
    rows[10] = 'u,"i10,view,,10'
    rows[1990] = 'u,"i1990,view,,1990'
    assert [line for line, _ in refused(tmp_path / "a.csv", HEADER + "\n".join(rows))] == [12, 1992]


def test_quoted_line_breaks_keep_the_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = 'user,item,title\na,x,"two\n\nlines, ""quoted"""\n\nb,,t\nc,y,5" pipe\n'
    assert refused(path, text) == [(6, "missing item")]
    assert [item.title for item in read(path).items] == ['two\n\nlines, "quoted"', '5" pipe']


def test_items_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user,item\na,x\n")
    (tmp_path / "items.csv").write_text("item,title\nx,One\n,Nameless\nx,Two\ny,Three,extra\n")
    dataset = read(tmp_path)
    assert [(refusal.file, refusal.line, refusal.reason) for refusal in dataset.report.refused] == [
        ("items.csv", 3, "missing item"),
        ("items.csv", 4, "item 'x' is already described on an earlier line"),
        ("items.csv", 5, "wrong number of columns: 3 where 2 are expected"),
    ]
    assert [item.title for item in dataset.items] == ["One"]


def test_a_user_without_items_in_sequences(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text("1 2 3\n4\n5 6\n")
    report = read(tmp_path).report
    assert [(refusal.line, refusal.reason) for refusal in report.refused] == [
        (2, "missing item: the line holds a user and no items")
    ]
    assert (report.rows, report.interactions) == (4, 3)


def test_all_refusals_are_counted_and_the_first_are_kept(tmp_path: Path) -> None:
    many = KEPT_REFUSALS + 50
    path = tmp_path / "a.csv"
    path.write_text("user,item\na,x\n" + "b,\n" * many)
    report = read(path).report
    assert report.refused_count == many
    assert len(report.refused) == KEPT_REFUSALS
    lines = report.lines(shown=3)
    assert f"rows refused   {many:,}" in lines
    assert lines[-1].endswith(f"and {many - 3:,} more")
    assert lines[-2].endswith("a.csv:5: missing item")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "who,what\na,x\n", ["no column was recognised as the user", "who, what", "user,item,rating"]),
        ("a.csv", "user,what\na,x\n", ["no column was recognised as the item", "user, what"]),
        ("a.csv", "user,item,rating\na,x,lots\n", ["no valid row", "a.csv:2", "'lots'"]),
        ("a.csv", "user,item\n", ["no valid row", "no rows"]),
        ("a.csv", "", ["empty"]),
        ("a.csv", "\0\1\2", ["not text"]),
        ("a.jsonl", "nonsense\n", ["no line is a JSON object"]),
        ("a.parquet", "nonsense", ["not a readable Parquet file"]),
        ("a.xlsx", "x", ["'.xlsx' is no known format", ".parquet"]),
        ("a.inter", "user_id:token\n1\n", ["no column was recognised as the item"]),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(tmp_path: Path, name: str, text: str, says: list[str]) -> None:
    with pytest.raises(DatasetError) as caught:
        read(written(tmp_path / name, text))
    assert all(word in str(caught.value) for word in [*says, "columns wanted"])


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        read(tmp_path / "nothing")
    written(tmp_path / "items.csv", "id,title\nx,y\n")
    with pytest.raises(DatasetError, match=r"no file of interactions.*items\.csv"):
        read(tmp_path)
    path = written(tmp_path / "a.csv", "user,item\na,x\n")
    with pytest.raises(DatasetError, match="no column 'when' for the time"):
        read(path, Columns(time="when"))
    with pytest.raises(DatasetError, match="no such file"):
        read(path, items=tmp_path / "gone.csv")
