"""Where and of what state of the code a run is."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.task import Limits

TELLING = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512_f", "avx2")
"""Instructions that trainings are quicker with; the first of them that a processor has is told of it."""


def machine(limits: Limits) -> str:
    """The kind of machine, without names."""
    where = f"{platform.machine()}{_instructions()}, {psutil.cpu_count()} cores"
    where += f", {torch.get_num_threads()} threads of torch"
    if limits.device.startswith("cuda"):
        where += f", {torch.cuda.get_device_name()}"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"


@cache
def revision() -> str:
    """The commit of the code that runs, and whether files differ from it; nothing where git does not know."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


def _instructions() -> str:
    """` with` the best of TELLING that torch finds."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that will do
    return next((f" with {one}" for one in TELLING if known.get(one)), "")
