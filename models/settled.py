"""What a learner's meta-parameters come to, whoever is adapted to: made once for serving, at each step of training.

Letters: B users, T events, L events at most, Q readers, H heads of some inner loops, S of all, d width of the blocks,
r width of the vectors, P first places in a history.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.block import Terms


class Settled(NamedTuple):
    """The kinds of event, the priors, the voice of what has no order, and the terms of every inner loop."""

    kind_vectors: Tensor  # what each kind adds to the stream, (KIND_SLOTS, d)
    kind_strengths: Tensor  # and to the log of the strength, (KIND_SLOTS,)
    priors: Tensor  # of users with 0 events, 1 and so on, the last of all others, (P + 1, r)
    unordered: Tensor  # how much of what is said counts where events have no order, ()
    fading: Tensor  # of all blocks' heads, the recall's, and one that fades nothing, (S + 1, L, L)
    blocks: tuple[tuple[Terms, Terms], ...]
    recall: tuple[Terms, ...]  # none or one

    def remaining(self, strength: Tensor, ordered: Tensor | None, heads: slice, readers: int) -> Tensor:
        """What remains of the events' strength, (B, T), for those at the last Q of them to read: (B, H, Q, T).

        `ordered`: False for users whose events came in no particular order, (B,): none of theirs fades. None: all have.
        """
        fading = self.fading[:, -readers:, -strength.shape[1] :]
        kernel = fading[heads]
        if ordered is not None:
            kernel = torch.where(
                ordered[:, None, None, None], kernel, fading[-1:].detach()
            )  # a constant: it has nothing to learn
        return kernel * strength.unsqueeze(1).unsqueeze(1)
