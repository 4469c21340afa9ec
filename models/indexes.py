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
"""Items from which on two goes are faster, on a processor: in C for any batch, by torch for one of 16 or more."""
LARGE_ON_GPU = 1_000_000
"""The same on a GPU (benchmarks/results/gpu.json, an H200): of a million items for 64 queries or more, of ten for 4."""


def index_for(vectors: Tensor, biases: Tensor) -> Index:
    """The fastest index for a catalogue of this size, vectors (N, d) and biases (N,), on the device they are on."""
    on_gpu = vectors.device.type != "cpu"
    large = len(biases) >= (LARGE_ON_GPU if on_gpu else LARGE) and vectors.shape[1] > 0
    if on_gpu:
        return Halved(vectors, biases) if large else Exact(vectors, biases)
    if large and (best_scan() or hasattr(torch, "_int_mm")):
        return Quantised(vectors, biases)
    if library() is None:
        return Exact(vectors, biases)
    try:
        return Sieve(vectors, biases)
    except ValueError:
        return Panels(vectors, biases)
