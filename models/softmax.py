"""The logarithm of the softmax's normaliser over a large catalogue, without ever holding all its logits.

The catalogue is passed in chunks small enough to stay in a processor's cache, once forward and once more backward,
where the logits are made again: a fourth matrix product costs less than writing (P, N) numbers and reading them back.

Letters: P queries, N items, r width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CACHED = 2**17
"""Logits of a chunk on a CPU: half a MiB of float32. A GPU is given 512 times as many."""


def log_normaliser(queries: Tensor, vectors: Tensor, biases: Tensor) -> Tensor:
    """log sum_i exp(query . v_i + b_i), (P,), from queries (P, r), vectors (N, r) and biases (N,)."""
    out: Tensor = _LogNormaliser.apply(queries, vectors, biases)  # type: ignore[no-untyped-call]
    return out


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, biases: Tensor) -> Tensor:
        out = torch.full_like(queries[:, 0], -torch.inf)
        for part in _chunks(queries, vectors):
            out = torch.logaddexp(out, torch.addmm(biases[part], queries, vectors[part].T).logsumexp(-1))
        ctx.save_for_backward(queries, vectors, biases, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, vectors, biases, out = ctx.saved_tensors
        to_queries = torch.zeros_like(queries)
        to_vectors, to_biases = torch.empty_like(vectors), torch.empty_like(biases)
        for part in _chunks(queries, vectors):
            logits = torch.addmm(biases[part], queries, vectors[part].T)
            shares = logits.sub_(out[:, None]).exp_().mul_(grads[0][:, None])
            to_queries.addmm_(shares, vectors[part])
            torch.mm(shares.T, queries, out=to_vectors[part])
            torch.sum(shares, 0, out=to_biases[part])
        return to_queries, to_vectors, to_biases


def _chunks(queries: Tensor, vectors: Tensor) -> Iterator[slice]:
    """Slices of the catalogue whose logits fit."""
    most = CACHED * (512 if queries.is_cuda else 1)
    size = max(64, most // max(1, len(queries)))
    return (slice(start, start + size) for start in range(0, len(vectors), size))
