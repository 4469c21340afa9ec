"""The index's benchmark, as small as can be: what it counts, and that every way here gets figures and a series."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import index, index_faiss
from benchmarks.index_plot import STYLES, draw
from models.library import library

OURS = {"plain", "exact", "quantised"} | ({"panels"} if library() else set())


@pytest.fixture
def threads() -> Iterator[None]:
    """The benchmark sets the process to one thread: back to what it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_recall_counts_each_true_row_once() -> None:
    truth = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert index.recall(truth.flip(1), truth) == 1.0
    assert index.recall(torch.tensor([[1, 1, 1, 1], [-1, -1, 5, 6]]), truth) == 3 / 8
    assert index.recall(torch.tensor([[1, 5], [1, 5]]), truth) == 2 / 8


def test_every_way_that_is_here_is_measured_and_drawn(tmp_path: Path, threads: None) -> None:
    out, plot = tmp_path / "deep" / "index.json", tmp_path / "plots" / "index.svg"
    sizes = "--items 3000 --users 10 --batch 4 --repetitions 2 --ways exact panels quantised"
    index.main([*sizes.split(), "--json", str(out), "--plot", str(plot)])
    found = json.loads(out.read_text())
    assert set(found["figures"]) == OURS
    assert set(found["skipped"]) == {"panels"} - OURS
    assert (found["asked"]["items"], found["asked"]["users"], found["asked"]["batch"]) == (3000, 10, 4)
    for entry in found["figures"].values():
        assert entry["recall"] >= 0.99
        assert entry["ms_a_user"] > 0
        assert entry["alone_ms"] > 0
        assert entry["bytes_in_all"] >= 4 * 65  # whatever is searched, float32 vectors and biases decide in the end
    assert found["figures"]["plain"]["against plain"] == 1.0
    drawn = plot.read_text()
    for way, (label, _, _) in STYLES.items():
        assert (f"<!-- {label} -->" in drawn) == (way in OURS)
    draw(found, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == drawn


@pytest.mark.skipif(not find_spec("faiss"), reason="faiss is not installed")
@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of SWIG
def test_the_approximate_ways_find_nearly_all_at_their_most_thorough(capfd: pytest.CaptureFixture[str]) -> None:
    vectors, biases, users = index.catalogue(3000, 64, 50)
    options = index.parse(["--items", "3000", "--probes", "1", "9999", "--efforts", "10", "400"])
    truth = torch.addmm(biases, users, vectors.T).topk(10).indices
    for name, make in index.makers(options, lambda _: None).items():
        if name not in index.APPROXIMATE:
            continue
        way = make(vectors, biases)
        quick, thorough = (index.recall(search(users), truth) for search in way.searches.values())
        assert quick < thorough
        assert thorough > {"ivf8": 0.99, "ivf4": 0.9, "hnsw": 0.99}[name]
        assert 4 * 64 / 8 < way.held() < 2000
    assert list(way.searches) == [10, 400]
    assert "WARNING" not in "".join(capfd.readouterr())  # that clustering has too few items


def test_lists_grow_with_the_root_of_the_catalogue() -> None:
    assert [index_faiss.lists_for(items) for items in (1, 1000, 20_000, 1_000_000)] == [1, 16, 256, 4096]


def test_what_it_cannot_measure_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--users", "10"], ["--items", "10"], ["--ways", "annoy"]):
        with pytest.raises(SystemExit):
            index.parse(given)
    assert "annoy" in capsys.readouterr().err
