"""The compiled calls are there where they can be, and where they cannot be used torch does without them."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from app.adapting import Adapting
from models import compiled
from models import library as library_module
from models.index import Exact
from models.indexes import index_for
from models.library import called, library
from tests.unit.test_traced import learner
from tests.worlds import need_library


@pytest.fixture
def anew() -> Iterator[None]:
    """The library is looked for again, then and afterwards."""
    library.cache_clear()
    yield
    library.cache_clear()


def compiles() -> bool:
    """Whether what builds extensions here makes a library that is faster than torch."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    if sys.platform != "linux" or not compiler or shutil.which(compiler[0]) is None:
        return False
    said = subprocess.run([compiler[0], "--version"], capture_output=True, text=True, check=False).stdout
    version = subprocess.run([compiler[0], "-dumpversion"], capture_output=True, text=True, check=False).stdout
    return (
        "Free Software Foundation" in said
        and version.split(".")[0].strip().isdigit()
        and int(version.split(".")[0]) >= 12
    )


@pytest.mark.skipif(
    not compiles() or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="gcc 12 or later makes one for Linux on x86 that is sure to be used, where there is AVX2",
)
def test_it_is_there_where_it_can_be() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert (library() is not None) == ({"avx", "avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c"} <= flags)


@pytest.mark.usefixtures("anew")
def test_one_of_other_sources_is_left_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    need_library()
    library.cache_clear()
    monkeypatch.setattr(library_module, "VERSION", -1)
    assert library() is None
    assert "install the package again" in caplog.text


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("content", ["not a library", None])
def test_without_one_torch_answers(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "_native.so"
    spec = None
    if content is not None:
        path.write_text(content)
        spec = ModuleSpec("models._native", None, origin=str(path))
    monkeypatch.setattr(library_module, "find_spec", lambda name: spec)
    assert library() is None
    assert ("cannot be used" in caplog.text) == (content is not None)
    assert isinstance(index_for(torch.eye(3), torch.zeros(3)), Exact)
    vector = Adapting(learner()).prior(torch.zeros(1, 24))
    assert len(vector) == 24 * 4


def test_a_learner_is_laid_out_alike_on_both_sides() -> None:
    need_library()
    found = library()
    assert found is not None
    assert found.innerloop_layout() == ctypes.sizeof(compiled._Block) + ctypes.sizeof(compiled._Learner)


def test_a_call_without_memory_says_so() -> None:
    need_library()
    huge = 1 << 50  # items: there is no room for as many chains
    with pytest.raises(MemoryError, match="innerloop_search"):
        called("innerloop_search", huge, 1, None, None, 0, None, None, 0, None, None, 1, 1.0, None, None)
