"""Which index a catalogue is searched with: by how large it is, and where."""

from __future__ import annotations

import torch
from torch import Tensor

from models.halved import Halved
from models.index import Exact, Index
from models.quantised import Quantised

LARGE = 200_000
"""Items from which on two goes are faster, on a processor; below, a whole batch's float32 scores are nearly as quick.
On a GPU it has not been measured: there the scores of a batch would not be held whole."""


def index_for(vectors: Tensor, biases: Tensor) -> Index:
    """The fastest index for a catalogue of this size, vectors (N, d) and biases (N,), on the device they are on."""
    if len(biases) < LARGE or not vectors.shape[1]:
        return Exact(vectors, biases)
    if vectors.device.type != "cpu":
        return Halved(vectors, biases)
    return Quantised(vectors, biases) if hasattr(torch, "_int_mm") else Exact(vectors, biases)
