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


def log_normaliser(queries: Tensor, vectors: Tensor, biases: Tensor, products: torch.dtype = torch.float32) -> Tensor:
    """log sum_i exp(query . v_i + b_i), (P,), from queries (P, r), vectors (N, r) and biases (N,).

    `products`: what the matrix products are computed in; sums and exponentials are always float32.
    """
    out: Tensor = _LogNormaliser.apply(queries, vectors, biases, products)  # type: ignore[no-untyped-call]
    return out


def half_if_faster(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it at a multiple of the speed, else float32.

    AVX-512's own bfloat16 does not: there this softmax takes 1.8 times as long in it.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that will do
    return torch.bfloat16 if known.get("amx_bf16") else torch.float32


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, biases: Tensor, products: torch.dtype) -> Tensor:
        out = torch.full_like(queries[:, 0], -torch.inf)
        queries, vectors = queries.to(products), vectors.to(products)
        for part in _chunks(queries, vectors):
            out = torch.logaddexp(out, _logits(queries, vectors[part], biases[part]).logsumexp(-1))
        ctx.save_for_backward(queries, vectors, biases, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, vectors, biases, out = ctx.saved_tensors
        to_queries = torch.zeros_like(queries, dtype=out.dtype)
        to_vectors, to_biases = torch.empty_like(vectors, dtype=out.dtype), torch.empty_like(biases)
        for part in _chunks(queries, vectors):
            shares = _logits(queries, vectors[part], biases[part]).sub_(out[:, None]).exp_().mul_(grads[0][:, None])
            torch.sum(shares, 0, out=to_biases[part])
            shares = shares.to(queries.dtype)
            to_queries += shares @ vectors[part]
            to_vectors[part] = shares.T @ queries
        return to_queries, to_vectors, to_biases, None


def _logits(queries: Tensor, vectors: Tensor, biases: Tensor) -> Tensor:
    if queries.dtype == biases.dtype:
        return torch.addmm(biases, queries, vectors.T)
    return (queries @ vectors.T).to(biases.dtype).add_(biases)


def _chunks(queries: Tensor, vectors: Tensor) -> Iterator[slice]:
    """Slices of the catalogue whose logits fit."""
    most = CACHED * (512 if queries.is_cuda else 1)
    size = max(64, most // max(1, len(queries)))
    return (slice(start, start + size) for start in range(0, len(vectors), size))
