"""What starting the demo makes of a snapshot that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.demo import prepare


def test_one_that_cannot_be_read_is_left_and_its_folder_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current = tmp_path / "snapshots" / "current"
    current.mkdir(parents=True)
    (current / "manifest.json").write_text('{"format": 1}')
    prepare(tmp_path / "demo", tmp_path / "snapshots")
    assert f"if the demo made {tmp_path / 'snapshots'}, remove it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "snapshots"]
