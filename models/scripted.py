"""A function of tensors as one call of torch's own, which lets go of the interpreter once: see `models.traced`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch


@cache
def scripted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, compiled when it is first asked for. It may read no constants of its module."""
    with warnings.catch_warnings():
        # That it has successors: those need a compiler where the service runs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(Callable[..., Any], torch.jit.script(function))
