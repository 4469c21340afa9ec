"""A learner's adapting as a single call of `models/native/adapt.c`, for serving on a CPU.

It takes a tenth of what torch takes for a few users, whose operations are too small to be worth being called one by
one, and has no more to do for users of unlike length.

Letters: B users, P events of all, N items, L events of one at most, r width of the vectors, d width of the blocks.
"""

from __future__ import annotations

import ctypes
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.block import GATHERERS, AdaptationBlock, Terms
from models.learner import Learner
from models.library import POINTER, REAL, WHOLE, called, library, place

Whole = NDArray[np.int64]
Real = NDArray[np.float32]

LANES = 16  # outputs of a matrix are padded to a multiple of it
RECALLS = {"never": 0, "unordered": 1, "always": 2}


class _Block(ctypes.Structure):
    """`Block` of learner.h."""

    _fields_ = [
        *((name, POINTER) for name in (
            "query", "query_bias", "key", "key_bias", "own", "prior", "constant", "steps", "shrinkage", "sharpness",
            "shared", "gather_prior", "gather_steps", "gather_shrinkage", "fading", "out", "up", "up_bias", "down",
            "down_bias",
        )),
        ("residual", WHOLE),
    ]  # fmt: skip


class _Learner(ctypes.Structure):
    """`Learner` of learner.h."""

    _fields_ = [
        *((name, WHOLE) for name in ("rank", "width", "heads", "blocks", "steps", "length")),
        *((name, POINTER) for name in (
            "enter", "leave", "priors", "kind_vectors", "kind_strengths", "block", "recall_prior", "recall_steps",
            "recall_shrinkage", "recall_fading", "recall_filter", "recall_voice",
        )),
        *((name, WHOLE) for name in ("places", "recalls")),
        *((name, REAL) for name in ("power", "evidence", "recall_evidence", "unordered")),
    ]  # fmt: skip


class Compiled:
    """The learner as it is now: what changes its parameters later is not seen."""

    @staticmethod
    def possible(learner: Learner) -> bool:
        """Whether there is a library, and the learner is where it computes."""
        return learner.prior.device.type == "cpu" and library() is not None

    @torch.no_grad()
    def __init__(self, learner: Learner) -> None:
        self._kept: list[Tensor] = []  # what the structures point to
        config = learner.config
        settled = learner.settle(config.length)
        fading = settled.fading[:, -1].flip(-1)  # by age
        each = config.heads + GATHERERS
        self._blocks = (_Block * config.blocks)()
        for number, (block, terms) in enumerate(zip(learner.blocks, settled.blocks, strict=True)):
            here = fading[number * each : (number + 1) * each]
            self._blocks[number] = self._block(cast(AdaptationBlock, block), *terms, here)
        recall: list[int | None] = [None] * 6
        if learner.recall is not None:
            recall = [
                *self._constant(*settled.recall), self._own(fading[config.blocks * each : -1]),
                self._own(learner.recall.filter), self._own(learner.recall.voice),
            ]  # fmt: skip
        self._learner = _Learner(
            config.rank, config.width, config.heads, config.blocks, config.steps, config.length,
            self._turned(learner.enter.weight * config.width**0.5),
            self._turned(learner.leave.weight * learner.out_norm.weight), self._own(settled.priors),
            self._own(settled.kind_vectors), self._own(settled.kind_strengths), ctypes.cast(self._blocks, POINTER),
            *recall, len(settled.priors) - 1, RECALLS[config.recall], float(learner.preference_power),
            float(F.softplus(learner.shrinkage_logit)),
            1.0 if learner.recall is None else float(F.softplus(learner.recall.shrinkage_logit)),
            float(settled.unordered),
        )  # fmt: skip
        self._address = ctypes.addressof(self._learner)
        self._between = (config.blocks - 1) * config.width

    def follow(
        self,
        vectors: Tensor,
        rows: Whole,
        kinds: Whole,
        preference: Real,
        ordered: NDArray[np.bool_],
        starts: Whole,
        counts: Whole,
        lead: Real | None = None,
    ) -> tuple[Real, Real]:
        """`Learner.user_vectors`, with all the steps that were learned, (B, r), and the trail of `Learner.follow`.

        A vector that is not finite is zero instead: it would make every score so, and zero leaves the biases.

        Args:
            vectors: item vectors, (N, r).
            rows, kinds, preference: columns of events, (P,) each.
            ordered: whether a user's events came in an order, (B,).
            starts, counts: which of the events are whose, oldest first, (B,): at most L of each.
            lead: the trails of all events but the newest, of users with an order, one after the other:
                (sum of counts - 1, (blocks - 1) d).
        Returns:
            The vectors, and the trails one after the other, (sum of counts, (blocks - 1) d).
        """
        ends = counts.cumsum()
        spans = np.array([starts, counts, ends - counts - np.arange(len(counts)), ends - counts], np.int64)
        users = np.empty((len(counts), vectors.shape[1]), np.float32)
        trails = np.empty((ends[-1], self._between), np.float32)
        called(
            "innerloop_adapt",
            self._address, len(counts), vectors.data_ptr(), place(rows), place(kinds), place(preference),
            place(ordered), place(spans), None if lead is None else place(lead), place(users), place(trails),
        )  # fmt: skip
        return users, trails

    def _block(self, block: AdaptationBlock, relate: Terms, gather: Terms, fading: Tensor) -> _Block:
        heads, d = block.heads, block.d
        norm = block.norm.weight  # goes into the maps that follow it, as those of the other norms do
        query, key = (block.query_key.weight * norm).chunk(2)
        query_bias, key_bias = block.query_key.bias.chunk(2)
        value = block.value.weight * norm
        own, shared = value[:d], value[d:]
        up, down = cast(torch.nn.Linear, block.feed[0]), cast(torch.nn.Linear, block.feed[3])
        return _Block(
            self._turned(query), self._own(query_bias), self._turned(key), self._own(key_bias),
            self._turned(own.view(heads, d // heads, d)), self._turned(relate.W0[..., 1:]),
            self._own(relate.W0[..., 0]), self._own(relate.step_sizes), self._own(relate.shrinkage),
            self._own(relate.sharpness), self._turned(shared.view(GATHERERS, d, d)), *self._constant(gather),
            self._own(fading), self._turned(block.out.weight), self._turned(up.weight * block.feed_norm.weight),
            self._own(up.bias), self._turned(down.weight), self._own(down.bias), block.residual,
        )  # fmt: skip

    def _constant(self, terms: Terms) -> list[int]:
        """W_0, step sizes and shrinkage of an inner loop with a constant key."""
        return [self._own(terms.W0[..., 0]), self._own(terms.step_sizes), self._own(terms.shrinkage)]

    def _own(self, tensor: Tensor) -> int:
        """Where a copy of it stands."""
        self._kept.append(tensor.detach().float().clone(memory_format=torch.contiguous_format))
        return self._kept[-1].data_ptr()

    def _turned(self, maps: Tensor) -> int:
        """The same of maps, (..., outputs, inputs), as matrix.h has them: (..., inputs, outputs), padded."""
        turned = maps.transpose(-1, -2)
        return self._own(F.pad(turned, (0, -turned.shape[-1] % LANES)))
