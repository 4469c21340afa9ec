"""The outer loss: the softmax over the catalogue at what users went on to take.

Every position of every episode is a task: the events before it are the support set, it and by the horizon later ones
the targets. Over a large catalogue the softmax is sampled, with the log-q correction (Bengio & Senecal 2008; Yi et al.
2019).

Letters: B users, T events, P query positions, N items, r rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.episode import Support
from models.learner import Learner
from models.softmax import half_if_faster, log_normaliser

FEW_SHOTS = 8


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What counts as a target, how much, and against what."""

    positions: int = 1024  # query positions scored a meta-step; more are sampled down to these
    negatives: int = 8192  # items a sampled softmax draws
    full_softmax: int = 30_000  # catalogues up to this size are scored whole
    horizon: float = 0.8  # in an ordered episode, the weight of a target one event further ahead
    against: float = 0.5  # weight of the loss that pushes down what users spoke against
    smoothing: float = 0.0  # share of each target that is spread over the whole catalogue
    half: bool = False  # the softmax's products in bfloat16, where the processor is faster with it
    exclude_seen: bool = True  # leave what was taken out of the softmax, as the service leaves it out of answers


class Loss:
    """The loss of a learner on episodes. Its draws, where it samples, come from the generator it is given."""

    def __init__(self, learner: Learner, config: LossConfig, popularity: Tensor, generator: torch.Generator) -> None:
        """`popularity`: how often each item was taken, (N,); sampled negatives follow its square root."""
        self.learner, self.config, self.generator = learner, config, generator
        share = (popularity + 1).sqrt()
        self.share = share / share.sum()

    def __call__(self, batch: Support, scored: Tensor | None = None) -> Tensor:
        """Softmax loss of what users went on to take, and what it takes to push down what they spoke against.

        In an episode without order every later event is as good a target as the next; in an ordered one, later targets
        count less by `horizon` an event. Each position's targets sum to a weight of 1. Where there are more positions
        than are scored, those with few shots are preferred in episodes without order: they stand for new users.

        With `smoothing` s the target is (1 - s) of that, and s over all N items alike (label smoothing, Szegedy et al.
        2016), whose loss is log sum_i exp score_i - mean_i score_i.

        `scored`: which events are to be foretold, (B, T) bool; all of them unless given.
        """
        vectors, biases = self.learner.catalogue()
        users = self.learner(vectors, batch)[:, :-1]  # (B, T, r): what each event was predicted from
        weights = self._target_weights(batch)
        at = self._positions(batch, batch.mask if scored is None else scored)
        hits = users @ vectors[batch.rows].transpose(1, 2) + biases[batch.rows][:, None, :]  # (B, T, T)
        hit, weight = hits.flatten(0, 1)[at], weights.flatten(0, 1)[at]  # (P, T)
        queries = users.flatten(0, 1)[at]
        whole = normaliser = self.log_normaliser(queries, vectors, biases, batch.rows[batch.mask])
        if self.config.exclude_seen:
            share_seen = (_seen(batch).flatten(0, 1)[at] * (hit - normaliser[:, None]).exp()).sum(-1)
            normaliser = normaliser + torch.log1p(-share_seen.clamp(max=0.999))
        aimed = weight.sum(-1) > 0
        share = weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)
        losses = normaliser - (share * hit).sum(-1)
        if self.config.smoothing > 0:
            losses = losses.lerp(whole - queries @ vectors.mean(0) - biases.mean(), self.config.smoothing)
        loss: Tensor = (losses * aimed).sum() / aimed.sum().clamp(min=1)
        disliked = (batch.mask & (batch.preference < 0)).flatten()[at]
        if self.config.against > 0 and disliked.any():
            own = hits.diagonal(dim1=1, dim2=2).flatten()[at]
            p = (own - normaliser)[disliked].exp().clamp(max=1 - 1e-6)
            loss = loss - self.config.against * torch.log1p(-p).sum() / len(at)
        return loss

    def _target_weights(self, batch: Support) -> Tensor:
        """How much event s is a target of position t, (B, T, T)."""
        ahead = _ahead(batch)
        fading = torch.where(batch.ordered[:, None, None], self.config.horizon, 1.0) ** ahead.clamp(min=0)
        liked = batch.mask & (batch.preference > 0)
        return fading * (ahead >= 0) * liked[:, None, :]

    def _positions(self, batch: Support, scored: Tensor) -> Tensor:
        """The positions to score, (P,), of the B * T."""
        at = scored.flatten().nonzero().squeeze(1)
        if len(at) <= self.config.positions:
            return at
        shots = batch.mask.cumsum(1) - 1
        chance = torch.where(batch.ordered[:, None], 1.0, FEW_SHOTS / (shots + FEW_SHOTS / 2)).flatten()[at].cpu()
        return at[torch.multinomial(chance, self.config.positions, generator=self.generator).to(at.device)]

    def log_normaliser(self, queries: Tensor, vectors: Tensor, biases: Tensor, taken: Tensor) -> Tensor:
        """log sum_i exp score(query, i), (P,), over all items, or in a large catalogue an estimate of it.

        Of a large catalogue the rows of `taken`, which holds every target, are summed exactly, and the others through a
        sample of them: an item drawn with probability q counts 1 / (negatives q) times, so that the sum is unbiased.
        """
        products = half_if_faster(queries.device) if self.config.half else torch.float32
        if len(vectors) <= self.config.full_softmax:
            return log_normaliser(queries, vectors, biases, products)
        exact = torch.unique(taken)
        share = self.share.to(exact.device).index_fill(0, exact, 0.0)
        drawn = torch.multinomial(share.cpu(), self.config.negatives, replacement=True, generator=self.generator)
        drawn = drawn.to(exact.device)
        expected = torch.log(share[drawn] / share.sum() * self.config.negatives)
        rows = torch.cat([exact, drawn])
        corrected = biases.index_select(0, rows) - torch.cat([torch.zeros_like(exact, dtype=expected.dtype), expected])
        return log_normaliser(queries, vectors.index_select(0, rows), corrected, products)


def _ahead(batch: Support) -> Tensor:
    """How far event s lies ahead of position t, (T, T)."""
    index = torch.arange(batch.rows.shape[1], device=batch.rows.device)
    return index[None, :] - index[:, None]


def _seen(batch: Support) -> Tensor:
    """Whether event s was the last of its item before position t, (B, T, T): taken, and not to come again."""
    index = torch.arange(batch.rows.shape[1], device=batch.rows.device)
    same = batch.rows[:, :, None] == batch.rows[:, None, :]
    last = (same & batch.mask[:, None, :]).long().mul(index).amax(-1)
    return (last == index)[:, None, :] & (_ahead(batch) < 0) & batch.mask[:, None, :]
