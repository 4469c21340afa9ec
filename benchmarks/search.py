"""The search of settings: the defaults first, then random draws without repetition, as many for every contender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np


def draw(space: Mapping[str, Sequence[Any]], trials: int, seed: int = 0) -> list[dict[str, Any]]:
    """The settings to try, at most `trials`, all different (Bergstra & Bengio 2012: random beats a coarse grid).

    The first is the default, the first value of each setting. A larger budget draws the same settings and more, so that
    a finished search can be carried further; a space of at most `trials` points is searched whole, in its own order.
    """
    size = prod(len(values) for values in space.values())
    if size <= trials:
        chosen = list(range(size))
    else:
        rng = np.random.default_rng(seed)
        chosen = [0]
        while len(chosen) < trials:
            point = int(rng.integers(size))
            if point not in chosen:
                chosen.append(point)
    return [_settings(space, point) for point in chosen]


def _settings(space: Mapping[str, Sequence[Any]], point: int) -> dict[str, Any]:
    """The point's settings, the points of the grid counted with the last setting fastest."""
    out: dict[str, Any] = {}
    for name, values in reversed(list(space.items())):
        point, at = divmod(point, len(values))
        out[name] = values[at]
    return dict(reversed(list(out.items())))
