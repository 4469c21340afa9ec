"""Where interactions alone put the items: the principal directions of who took what.

With x_u the items of user u as zeros and ones, s_u how many they are and n_i how many users took item i, the matrix is

    M_ui = x_ui (s_u n_i)^(-1/4)

whose powers are halfway to equal weight, so that busy users and hits count for more, but not for everything. Its
singular vectors on the items' side are the directions. The first is popularity; it is dropped, as the biases have it.

Letters: U users, N items.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.episode import History

EXACT = 4096
"""Users up to which the singular vectors are computed in full."""


def principal_directions(histories: Sequence[History], items: int, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """The leading directions and their strengths, as `read_directions` gives them."""
    return read_directions(*summarise(histories, items, rank, seed))


def read_directions(factor: Tensor, takers: Tensor) -> tuple[Tensor, Tensor]:
    """What a summary says.

    Returns:
        (N, rank) unit vectors, zeros for an untouched item, and singular values (rank,), zeros past the last there is.
    """
    scaled = factor[:, 1:] * takers.clamp(min=1)[:, None] ** -0.25
    return torch.nn.functional.normalize(scaled, dim=-1) * (takers > 0)[:, None], scaled.norm(dim=0)


def summarise(histories: Sequence[History], items: int, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """All that is needed of the histories: a factor B and the items' takers n.

    B B^T is the nearest to sum_u s_u^(-1/2) x_u x_u^T, how often two items were taken together, that its width allows;
    its columns are M's right singular vectors by their singular values and n^(1/4), the strongest first. Exact for up
    to EXACT users, by a randomised range finder beyond (Halko et al. 2011).

    Returns:
        B, (N, rank + 1), zeros past the last direction there is, and n, (N,).
    """
    rows = np.concatenate([np.unique(history.rows) for history in histories])
    users = np.repeat(np.arange(len(histories)), [len(np.unique(history.rows)) for history in histories])
    takers = np.bincount(rows, minlength=items)
    sizes = np.bincount(users, minlength=len(histories))
    values = torch.from_numpy((sizes[users] * takers[rows]).astype(np.float64) ** -0.25).float()
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([users, rows])), values, (len(histories), items), check_invariants=True
    )
    if len(histories) <= EXACT:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR")  # torch multiplies by way of a format it calls beta
            gram = torch.sparse.mm(matrix, matrix.T).to_dense().double()
        squares, across = torch.linalg.eigh(gram)
        kept = (squares > 1e-9 * squares[-1]).nonzero().squeeze(1).flip(0)[: rank + 1]
        scaled = torch.sparse.mm(matrix.T, across[:, kept].float())
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, strengths, directions = torch.svd_lowrank(matrix, q=min(rank + 1, *matrix.shape), niter=4)
        scaled = directions * strengths
    factor = torch.zeros(items, rank + 1)
    counts = torch.from_numpy(takers).float()
    factor[:, : scaled.shape[1]] = scaled * counts[:, None] ** 0.25
    return factor, counts


def summarise_more(factor: Tensor, takers: Tensor, changed: Sequence[tuple[History, History]]) -> tuple[Tensor, Tensor]:
    """The summary after users' histories have changed, each given as it was, empty for a new user, and as it is.

    What changes is sum_u s'_u^(-1/2) x'_u x'_u^T - s_u^(-1/2) x_u x_u^T, a few signed rows beside B, so the new
    singular vectors lie in the span of both: an eigenproblem as wide as B and twice the users (as in Brand 2006), and
    no other history is needed. Exact as long as B's width keeps all directions and the histories are whole.

    Args:
        factor: (N, r).
        takers: (N,).
    Returns:
        The same, anew.
    """
    users, items, values, signs = [], [], [], list[float]()
    takers = takers.clone()
    for was, now in changed:
        for sign, history in ((1.0, now), (-1.0, was)):
            found = torch.from_numpy(np.unique(history.rows).astype(np.int64))
            if len(found):
                takers[found] += sign
                users.append(torch.full_like(found, len(signs)))
                items.append(found)
                values.append(torch.full((len(found),), len(found) ** -0.25))
                signs.append(sign)
    if not signs:
        return factor, takers
    takers.clamp_(min=0)
    weight = takers.clamp(min=1) ** -0.25
    at = torch.cat(items)
    rows = torch.sparse_coo_tensor(
        torch.stack([torch.cat(users), at]),
        torch.cat(values) * weight[at],
        (len(signs), len(takers)),
        check_invariants=True,
    )
    scaled = factor * weight[:, None]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR")
        across, among = torch.sparse.mm(rows, scaled), torch.sparse.mm(rows, rows.T).to_dense()
    gram = torch.cat([torch.cat([scaled.T @ scaled, across.T], 1), torch.cat([across, among], 1)])  # X X^T
    squares, vectors = torch.linalg.eigh(gram.double())  # in single precision many equal values may defeat it
    kept = squares > 1e-6 * squares[-1]
    squares, vectors = squares[kept].sqrt(), vectors[:, kept]
    signed = torch.cat([torch.ones(factor.shape[1]), torch.tensor(signs)]).double()
    core = vectors.T * squares[:, None] @ (signed[:, None] * vectors * squares)  # the sum, in a basis of X^T's span
    strengths, turned = torch.linalg.eigh(core)
    best = strengths.clamp(min=0).sqrt().flip(0)[: factor.shape[1]]
    mix = (vectors / squares @ turned.flip(1)[:, : len(best)] * best).float()
    found = scaled @ mix[: factor.shape[1]] + torch.sparse.mm(rows.T, mix[factor.shape[1] :])
    out = torch.zeros_like(factor)
    out[:, : len(best)] = found / weight[:, None]
    return out, takers
