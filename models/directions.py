"""Where interactions alone put the items: the principal directions of who took what.

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
    """Items by who took them: the leading singular vectors of the user-item matrix, and their strengths.

    A user's and an item's entries are scaled by the fourth root of how many there are, halfway to equal weight: so
    busy users and hits count for more, but not for everything. The first direction is popularity; it is dropped, as
    the biases have it. Exact for up to EXACT users, by a randomised range finder beyond (Halko et al. 2011).

    Returns:
        (N, rank) unit vectors, zeros for an untouched item, and singular values (rank,), zeros past the last there is.
    """
    rows = np.concatenate([np.unique(history.rows) for history in histories])
    users = np.repeat(np.arange(len(histories)), [len(np.unique(history.rows)) for history in histories])
    popularity = np.bincount(rows, minlength=items)
    sizes = np.bincount(users, minlength=len(histories))
    values = torch.from_numpy((sizes[users] * popularity[rows]).astype(np.float64) ** -0.25).float()
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([users, rows])), values, (len(histories), items), check_invariants=True
    )
    if len(histories) <= EXACT:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR")  # torch multiplies by way of a format it calls beta
            gram = torch.sparse.mm(matrix, matrix.T).to_dense().double()
        squares, across = torch.linalg.eigh(gram)
        kept = (squares > 1e-9 * squares[-1]).nonzero().squeeze(1).flip(0)[: rank + 1]
        strengths = squares[kept].sqrt().float()
        directions = torch.sparse.mm(matrix.T, across[:, kept].float()) / strengths
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, strengths, directions = torch.svd_lowrank(matrix, q=min(rank + 1, *matrix.shape), niter=4)
    found = len(strengths) - 1
    out, sigma = torch.zeros(items, rank), torch.zeros(rank)
    out[:, :found] = torch.nn.functional.normalize(directions[:, 1:] * strengths[1:], dim=-1)
    sigma[:found] = strengths[1:]
    return out * torch.from_numpy(popularity > 0)[:, None], sigma
