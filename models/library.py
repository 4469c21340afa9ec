"""The calls compiled from `models/native`: built where the package is installed, if a C compiler is at hand there.

On x86 that must be gcc 12 or later with glibc, and the processor of x86-64-v3, with AVX2: else torch is faster. Where
there are none, torch does the same in more steps (`models.traced`, `models.index`, `models.chunked`), or Python does
(`app.support`, `app.names`).
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

log = logging.getLogger(__name__)

VERSION = 8
"""Of the sources and of what calls them. A library with another number was built from others."""

POINTER, WHOLE, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_CALLS: dict[str, list[type]] = {
    "innerloop_adapt": [POINTER, WHOLE, *[POINTER] * 9],
    "innerloop_decode": [POINTER, WHOLE, *[POINTER] * 2, *[WHOLE] * 2, *[POINTER] * 7],
    "innerloop_join": [*[POINTER] * 2, *[WHOLE] * 2, *[POINTER] * 8],
    "innerloop_search": [
        *[WHOLE] * 2, *[POINTER] * 2, WHOLE, *[POINTER] * 2, WHOLE, *[POINTER] * 2, WHOLE, REAL, *[POINTER] * 2,
    ],
    "innerloop_sieve": [POINTER, WHOLE, POINTER, WHOLE, *[POINTER] * 2, WHOLE, REAL, *[POINTER] * 2],
    "innerloop_scan": [
        *[WHOLE] * 3, *[POINTER] * 4, *[WHOLE] * 2, POINTER, WHOLE, *[POINTER] * 4, WHOLE, *[POINTER] * 3,
    ],
}  # fmt: skip


@cache
def library() -> ctypes.CDLL | None:
    """The calls, each of which lets go of the interpreter; None where they were not built or torch would be faster."""
    spec = find_spec("models._native")
    if spec is None or spec.origin is None:
        return None
    try:
        found = ctypes.CDLL(spec.origin)
        version, suits = found.innerloop_version(), found.innerloop_suits()
    except (OSError, AttributeError):
        log.warning("%s cannot be used: install the package again", spec.origin, exc_info=True)
        return None
    if version != VERSION:
        log.warning("%s is of another version of the sources: install the package again", spec.origin)
        return None
    for name, given in _CALLS.items():
        getattr(found, name).argtypes = given
    if not suits:
        log.info("%s is not used: torch is faster on this processor, or than what this compiler made", spec.origin)
        return None
    return found


def place(array: NDArray[Any]) -> int:
    """Where a contiguous array begins."""
    return int(array.ctypes.data)


def called(name: str, *given: object) -> None:
    """Make a call of a library that is there.

    Raises:
        MemoryError: there was none for it to work in.
    """
    if getattr(library(), name)(*given):
        raise MemoryError(f"{name} found no memory to work in")
