"""The GPU's benchmark runs without one, as small as can be: so it will where there is one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu


def test_it_measures_every_part_on_any_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gpu.json"
    sizes = "--items 3000 --widths 64 --batches 1 3 --known 60 --copied 100000 --repetitions 1"
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", *sizes.split(), "--json", str(out)])
    gpu.main()
    found = json.loads(out.read_text())["figures"]
    assert found["copy_gb_a_second"] > 0
    for part in ("adapt", "score", "batch"):
        assert [figure["batch"] for figure in found[part]] == [1, 3]
    assert all(figure["recall"] == 1.0 for figure in found["score"])
