"""A figure a user, or whose it is, packed into a string of JSON: a committed result can be bootstrapped again."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[np.floating[Any]]) -> str:
    """(U,) to four decimals, deflated, in base 85; whole numbers are exact up to 2^24."""
    return base64.b85encode(zlib.compress(np.round(values, 4).astype("<f4").tobytes(), 9)).decode()


def unpack(text: str) -> NDArray[np.float64]:
    """(U,), as `pack` had it."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), "<f4").astype(np.float64)
