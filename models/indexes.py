"""Which index a catalogue is searched with: by how large it is, and where."""

from __future__ import annotations

import torch
from torch import Tensor

from models.halved import Halved
from models.index import Exact, Index
from models.library import library
from models.panels import Panels
from models.quantised import Quantised
from models.scan import best_scan
from models.sieve import Sieve

LARGE = 200_000
"""Items from which on two goes are faster, on a processor: in C for any batch, by torch for one of 16 or more.
On a GPU it has not been measured: there the scores of a batch would not be held whole."""


def index_for(vectors: Tensor, biases: Tensor) -> Index:
    """The fastest index for a catalogue of this size, vectors (N, d) and biases (N,), on the device they are on."""
    large = len(biases) >= LARGE and vectors.shape[1] > 0
    if vectors.device.type != "cpu":
        return Halved(vectors, biases) if large else Exact(vectors, biases)
    if large and (best_scan() or hasattr(torch, "_int_mm")):
        return Quantised(vectors, biases)
    if library() is None:
        return Exact(vectors, biases)
    try:
        return Sieve(vectors, biases)
    except ValueError:
        return Panels(vectors, biases)
