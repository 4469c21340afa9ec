"""The encoder's process: real vectors, no stall, and neither its death nor ours leaves anything behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import pytest

from app.encoding import Encoding
from app.errors import Unavailable
from models.content import DEFAULT_MODEL


@pytest.fixture
async def encoding(tmp_path: Path) -> AsyncIterator[Encoding]:
    one = Encoding(tmp_path)
    yield one
    one.close()


def encoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


async def test_it_encodes_elsewhere_while_the_loop_runs_on_and_its_process_is_replaced_when_it_dies(
    encoding: Encoding,
) -> None:
    before = set(encoders())
    working = asyncio.create_task(encoding.encode(DEFAULT_MODEL, ["a film about space", "a recipe for soup"]))
    longest, last = 0.0, perf_counter()
    while not working.done():
        await asyncio.sleep(0.005)
        now = perf_counter()
        longest, last = max(longest, now - last), now
    vectors = await working
    assert vectors.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert longest < 1.0

    (process,) = set(encoders()) - before
    process.kill()
    process.wait()
    again = await encoding.encode(DEFAULT_MODEL, ["a film about space"])  # from the cache: no model is loaded
    np.testing.assert_allclose(again[0], vectors[0], atol=1e-3)
    (successor,) = set(encoders()) - before
    started = perf_counter()
    encoding.close()
    assert perf_counter() - started < 2
    assert not successor.is_running()
    with pytest.raises(Unavailable, match="stopped"):
        await encoding.encode(DEFAULT_MODEL, ["too late"])


async def test_a_model_that_is_not_there_is_said_to_be(encoding: Encoding, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        await encoding.encode(str(tmp_path / "nowhere"), ["a text"])


async def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, psutil\n"
        "from app.encoding import Encoding\n"
        "async def main():\n"
        "    encoding = Encoding()\n"
        "    task = asyncio.create_task(encoding.encode('/nowhere', ['text']))\n"
        "    await asyncio.wait([task])\n"
        "    print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    file = tmp_path / "parent.py"
    file.write_text(script)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(file), stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert parent.stdout is not None
    children = [psutil.Process(int(pid)) for pid in (await parent.stdout.readline()).split()]
    assert children
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=5)
    assert not alive
