"""Every format is read as it should be; small files written here."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.dataset import Columns, Dataset, read
from models.interaction import KINDS

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(dataset: Dataset) -> list[tuple[str, str, str, float | None, float]]:
    """The interactions as plain tuples, by user and time."""
    log = dataset.interactions
    return [
        (
            log.users[user],
            log.items[item],
            KINDS[kind],
            None if np.isnan(value) else round(float(value), 4),
            float(time),
        )
        for user, item, kind, value, time in zip(log.user, log.item, log.kind, log.value, log.time, strict=True)
    ]


def test_the_seed_csv(tmp_path: Path) -> None:
    path = written(tmp_path / "user_item_interactions.csv", "user,item,rating\nu_1,i_2,5\nu_2,i_1,3.5\nu_1,i_1,1\n")
    dataset = read(path)
    assert rows(dataset) == [
        ("u_1", "i_2", "rating", 5.0, 0.0),
        ("u_1", "i_1", "rating", 1.0, 2.0),
        ("u_2", "i_1", "rating", 3.5, 1.0),
    ]
    assert dataset.interactions.users == ("u_1", "u_2")
    assert dataset.interactions.items == ("i_2", "i_1") == tuple(item.id for item in dataset.items)
    assert (dataset.scale.low, dataset.scale.high) == (1.0, 5.0)
    assert dataset.report.first is None
    assert not dataset.report.timed
    assert "time           none given: as the rows come" in dataset.report.lines()
    assert dataset.name == "user_item_interactions"


def test_users_and_items_are_numbered_by_first_appearance_in_time(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", "user,item,timestamp\nlate,x,1700000300\nearly,y,1700000100\nlate,z,1700000200\n"
    )
    dataset = read(path)
    assert dataset.interactions.users == ("early", "late")
    assert dataset.interactions.items == ("y", "z", "x")
    assert [row[:2] for row in rows(dataset)] == [("early", "y"), ("late", "z"), ("late", "x")]
    assert (dataset.report.first, dataset.report.last) == (1700000100.0, 1700000300.0)


def test_movielens(tmp_path: Path) -> None:
    folder = tmp_path / "ml-tiny"
    written(folder / "ratings.csv", "userId,movieId,rating,timestamp\r\n1,10,4.0,964982703\r\n1,20,0.5,964982704\r\n")
    written(
        folder / "movies.csv",
        "movieId,title,genres\r\n"
        '10,"American President, The (1995)",Comedy|Drama\r\n'
        '20,Heat (1995),(no genres listed)\r\n30,"Say ""A""",War\r\n',
    )
    tags = "1,10,Funny,1445714994\r\n2,10,president,1445714994\r\n3,10,PRESIDENT,1445714999\r\n"
    written(folder / "tags.csv", "userId,movieId,tag,timestamp\r\n" + tags)
    dataset = read(folder)
    assert dataset.report.rows == 2
    assert dataset.report.refused_count == 0
    president, heat, war = dataset.items
    assert (president.title, president.categories) == ("American President, The (1995)", ("Comedy", "Drama"))
    assert president.text == "president, funny."
    assert (heat.title, heat.categories, heat.text) == ("Heat (1995)", (), "")
    assert (war.id, war.title) == ("30", 'Say "A"')  # nobody rated it: it comes last
    assert (dataset.scale.low, dataset.scale.high) == (0.5, 4.0)
    assert dataset.name == "ml-tiny"


def test_movielens_before_it_was_csv(tmp_path: Path) -> None:
    written(tmp_path / "ratings.dat", "1::10::5::978300760\n2::10::3::978302109\n", "latin-1")
    written(tmp_path / "movies.dat", '10::Misérables, Les (1995)::Drama|Musical\n11::"Quoted" (1999)::War\n', "latin-1")
    dataset = read(tmp_path)
    assert len(dataset.interactions) == 2
    assert [item.title for item in dataset.items] == ["Misérables, Les (1995)", '"Quoted" (1999)']
    assert any("Latin-1" in note for note in dataset.report.notes)
    assert read(tmp_path / "ratings.dat").checksum == dataset.checksum


def test_recbole(tmp_path: Path) -> None:
    inter = (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
    )
    item = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    written(tmp_path / "tiny.inter", inter)
    written(tmp_path / "tiny.item", item + '242\tKolya "K"\t1996\tComedy Film-Noir\n302\tL.A. Confidential\t1997\t\n')
    dataset = read(tmp_path)
    assert dataset.name == "tiny"
    assert rows(dataset)[1] == ("186", "302", "rating", 3.0, 891717742.0)
    assert dataset.items[0].title == 'Kolya "K" (1996)'
    assert dataset.items[0].categories == ("Comedy", "Film-Noir")
    assert read(tmp_path / "tiny.inter").checksum == dataset.checksum


def test_a_line_a_user(tmp_path: Path) -> None:
    path = written(tmp_path / "beauty" / "sequences.txt", "1 30 10 30\n2 10 20\n")
    dataset = read(path.parent)
    assert dataset.name == "beauty"
    assert rows(dataset) == [
        ("1", "30", "view", None, 0.0),
        ("1", "10", "view", None, 1.0),
        ("1", "30", "view", None, 2.0),
        ("2", "10", "view", None, 0.0),
        ("2", "20", "view", None, 1.0),
    ]
    assert dataset.report.first is None
    assert dataset.report.timed
    assert "time           an order, no clock" in dataset.report.lines()
    assert read(path).checksum == dataset.checksum


def test_parquet_with_positions_and_missing_ratings(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4, None, 2], "position": [1, 0, 0]},
        schema={"user_id": pl.Int16, "item_id": pl.Int16, "rating": pl.Int8, "position": pl.Int16},
    )
    frame.write_parquet(tmp_path / "interactions.parquet")
    pl.DataFrame(
        {"item_id": [7], "ml_title": ["Heat (1995)"], "genres": ["Crime, Drama"], "director": ["Michael Mann"],
         "actors": ["Al Pacino"], "plot": ["A robbery goes wrong"], "certificate": ["R"]}
    ).write_parquet(tmp_path / "items.parquet")  # fmt: skip
    pl.DataFrame({"user_id": [1], "gender": ["F"]}).write_parquet(tmp_path / "users.parquet")
    dataset = read(tmp_path)
    assert rows(dataset) == [
        ("1", "8", "view", None, 0.0),
        ("1", "7", "rating", 4.0, 1.0),
        ("2", "7", "rating", 2.0, 0.0),
    ]
    assert dataset.report.first is None
    heat = next(item for item in dataset.items if item.id == "7")
    assert heat.categories == ("Crime", "Drama")
    assert heat.text == "Directed by Michael Mann. With Al Pacino. A robbery goes wrong."


def test_parquet_keeps_ids_whole_and_reads_its_own_times(tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "customer": [1.0, None, 3.0],
            "sku": ["a", "b", "c"],
            "day": [date(2024, 5, 1)] * 3,
            "tags": [["x"], [], ["y"]],
        }
    ).write_parquet(tmp_path / "a.parquet")
    dataset = read(tmp_path / "a.parquet", Columns(time="day"))
    assert rows(dataset)[0] == ("1", "a", "view", None, NOON - 12 * 3600)
    assert [(refusal.line, refusal.reason) for refusal in dataset.report.refused] == [(2, "missing user")]


def test_jsonl(tmp_path: Path) -> None:
    lines = [
        json.dumps({"user": 1, "item": "é", "action": "Add_To_Cart", "ts": "2024-05-01T12:00:00Z"}, ensure_ascii=True),
        json.dumps({"user": "u2", "item": 2, "action": "view", "ts": NOON * 1000, "note": None}),
        "{broken",
        '["a list"]',
    ]
    dataset = read(written(tmp_path / "a.jsonl", "\n".join(lines) + "\n\n"))
    assert rows(dataset) == [("1", "é", "cart", None, NOON), ("u2", "2", "view", None, NOON)]
    assert [(refusal.line, refusal.reason) for refusal in dataset.report.refused] == [
        (3, "not a JSON object"),
        (4, "not a JSON object"),
    ]
    assert dataset.report.rows == 4


def test_jsonl_items_join_their_lists(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", "user,asin\na,1\nb,2\n")
    first = {"asin": "1", "name": "Pan", "categories": [["Home", "Kitchen"]], "features": ["Iron", 'So "heavy"']}
    items = [first, {"asin": "2", "name": "[REC]", "categories": []}]
    path = written(tmp_path / "things.jsonl", "\n".join(json.dumps(item) for item in items))
    pan, rec = read(log, items=path).items
    assert (pan.title, pan.categories) == ("Pan", ("Home", "Kitchen"))
    assert pan.text == 'Iron, So "heavy"'
    assert (rec.title, rec.categories) == ("[REC]", ())


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"], ids=["plain", "with a BOM", "Latin-1", "UTF-16"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["user,item,rating,title", 'zoë,i1,4,"Où, là"', "bob,i2,2,Café", ""])
    dataset = read(written(tmp_path / "a.csv", text, encoding))
    assert [row[:4] for row in rows(dataset)] == [("zoë", "i1", "rating", 4.0), ("bob", "i2", "rating", 2.0)]
    assert [item.title for item in dataset.items] == ["Où, là", "Café"]
    assert bool(dataset.report.notes) == (encoding == "latin-1")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_guessed(tmp_path: Path, separator: str) -> None:
    lines = (("user id", "Product ID", "stars"), ("a", "x", "4"), ("b", "y", "2"))
    dataset = read(written(tmp_path / "a.csv", "\n".join(separator.join(line) for line in lines)))
    assert [row[:4] for row in rows(dataset)] == [("a", "x", "rating", 4.0), ("b", "y", "rating", 2.0)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1714564800", NOON),
        ("1714564800.5", NOON + 0.5),
        ("1714564800000", NOON),
        ("1714564800000000", NOON),
        ("2024-05-01T12:00:00Z", NOON),
        ("2024-05-01 12:00", NOON),
        ("2024-05-01T12:00:00.250+00:00", NOON + 0.25),
        ("2024-05-01T14:00:00+0200", NOON),
        ("2024/05/01 12:00:00 UTC", NOON),
        ("2024-05-01", NOON - 12 * 3600),
        ("-86400", -86400.0),
    ],
)
def test_times(tmp_path: Path, text: str, seconds: float) -> None:
    # Beside a time of the other sort, as files that were put together have it.
    path = written(tmp_path / "a.csv", f"user,item,time\na,x,{text}\nb,x,2020-01-01\nc,x,1600000000\n")
    assert rows(read(path))[[row[0] for row in rows(read(path))].index("a")][4] == seconds


def test_exact_repeats_are_dropped_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "user,item,kind,time\na,x,view,5\na,x,view,5\na,x,click,5\na,x,view,6\n")
    dataset = read(path)
    assert len(dataset.interactions) == 3
    assert (dataset.report.rows, dataset.report.duplicates, dataset.report.refused_count) == (4, 1, 0)


@pytest.mark.parametrize(
    ("ratings", "low", "high"), [("2 8", 2.0, 8.0), ("1 1", 0.0, 1.0), ("", 1.0, 5.0)], ids=["range", "one", "none"]
)
def test_the_scale_comes_from_the_ratings(tmp_path: Path, ratings: str, low: float, high: float) -> None:
    lines = [f"a,i{number},{value}" for number, value in enumerate(ratings.split() or [""])]
    dataset = read(written(tmp_path / "a.csv", "\n".join(["user,item,rating", *lines])))
    assert (dataset.scale.low, dataset.scale.high) == (low, high)


def test_a_rating_that_is_always_the_same_speaks_for_its_item(tmp_path: Path) -> None:
    dataset = read(written(tmp_path / "a.csv", "user,item,rating\na,x,1\na,y,1\nb,x,1\n"))
    assert dataset.scale.preference(dataset.interactions.kind, dataset.interactions.value).tolist() == [1.0, 1.0, 1.0]


def test_items_beside_interactions_and_prose_of_any_name(tmp_path: Path) -> None:
    written(tmp_path / "events.csv", "user,item\na,x\n")
    written(
        tmp_path / "products.csv",
        "id,name,category,blurb,care,url,code\n"
        "x,Mug,Home|Kitchen,A big mug.,Wash by hand only,https://a.b/c d e,Q1\ny,Cup,Home,,,,\n",
    )
    mug, cup = read(tmp_path).items
    assert (mug.title, mug.categories) == ("Mug", ("Home", "Kitchen"))
    assert mug.text == "A big mug. Wash by hand only."
    assert (cup.id, cup.text) == ("y", "")


def test_the_checksum_is_of_the_contents(tmp_path: Path) -> None:
    one = read(written(tmp_path / "1" / "a.csv", "user,item\na,x\n")).checksum
    same = read(written(tmp_path / "2" / "a.csv", "user,item\na,x\n")).checksum
    other = read(written(tmp_path / "3" / "a.csv", "user,item\na,y\n")).checksum
    assert one == same != other
