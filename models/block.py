"""One adaptation block: inner loops over a user's events, then a feed-forward layer.

Letters: B users, T events, Q reading positions, d width, H heads, D key width a head, V value width.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import adapt

GATHERERS = 3
SHARP = 1.85  # the logit of a sharpness of 2


class Terms(NamedTuple):
    """What an inner loop's meta-parameters come to: the terms on which it adapts."""

    W0: Tensor  # (H, V, D), with 1 + D columns where it is local
    step_sizes: Tensor  # (K, H), each between 0 and 2
    shrinkage: Tensor  # (H, 1, 1), positive
    sharpness: Tensor  # (H, 1, 1), positive; of one that is not local, zeros that are not asked for


class InnerLoop(nn.Module):
    """The meta-parameters of fast weights: the prior W_0, a step size a step and head, what weighs the events.

    Adapting is given `terms` made of them, so that serving makes these once.
    """

    def __init__(
        self,
        heads: int,
        key_width: int,
        value_width: int,
        steps: int,
        slowest: float,
        fastest: float,
        local: bool,
        support_dropout: float = 0.0,
    ) -> None:
        """Args:
        slowest, fastest: the logits of the heads' fading an event, spread between these.
        local: whether a reader weighs events by how like its query their keys are, exp(sharpness q . k), and fits an
            affine map to them: keys and queries are [1, k] / sqrt(2) then. If not, the key is a constant.
        support_dropout: the share of the events that each local reader does without while training. What is left
            counts more, so that with several inner steps near 2 the errors may grow then.
        """
        super().__init__()
        self.W0 = nn.Parameter(torch.zeros(heads, value_width, key_width + local))
        self.step_logits = nn.Parameter(torch.zeros(steps, heads))
        self.decay_logits = nn.Parameter(torch.linspace(slowest, fastest, heads))
        self.shrinkage_logits = nn.Parameter(torch.zeros(heads))
        self.sharpness_logits = nn.Parameter(torch.full((heads,), SHARP)) if local else None
        self.support_dropout = support_dropout
        self.first_order = False  # whether training takes the inner gradients for constants; what is read is the same

    def terms(self, steps: int | None) -> Terms:
        """With the first so many inner steps, or all."""
        shrinkage = F.softplus(self.shrinkage_logits)[:, None, None]
        local = self.sharpness_logits
        sharpness = torch.zeros_like(shrinkage) if local is None else F.softplus(local)[:, None, None]
        return Terms(self.W0, 2 * torch.sigmoid(self.step_logits[:steps]), shrinkage, sharpness)

    def decay(self) -> Tensor:
        """The fading an event, (H,)."""
        return F.softplus(self.decay_logits)

    def forward(self, keys: Tensor, values: Tensor, queries: Tensor, remaining: Tensor, terms: Terms) -> Tensor:
        """Adapt to (keys, values), (B, H, T, D) and (B, H, T, V), and read at the queries of the last Q events.

        `remaining` is what remains of the events' strength, (B, H, Q, T). (B, H, Q, D) -> (B, H, Q, V).
        """
        likeness = torch.exp((terms.sharpness * queries) @ keys.transpose(-1, -2))
        weights = adapt.support_weights(remaining, terms.shrinkage, likeness)
        if self.training and self.support_dropout > 0:
            weights = F.dropout(weights, self.support_dropout)
        return adapt.read(terms.W0, keys, values, weights, terms.step_sizes, queries, first_order=self.first_order)

    def average(self, values: Tensor, remaining: Tensor, terms: Terms) -> Tensor:
        """The same with a constant key: values (B, T, V) or (B, H, T, V) to (B, H, Q, V)."""
        weights = adapt.support_weights(remaining, terms.shrinkage)
        return adapt.average(terms.W0[..., 0], values, weights, terms.step_sizes, first_order=self.first_order)

    def average_mapped(self, maps: Tensor, events: Tensor, remaining: Tensor, terms: Terms) -> Tensor:
        """`average` of each head's own map of the events, for one reader: maps (H, V, d), events (B, T, d).

        (B, H, 1, V).
        """
        weights = adapt.support_weights(remaining, terms.shrinkage)
        return adapt.average_mapped(terms.W0[..., 0], maps, events, weights, terms.step_sizes)


class AdaptationBlock(nn.Module):
    """Two inner loops over the events, then a feed-forward layer; all residual, on a normalised stream.

    `relate` has learned keys and is local: what do the events that are like this one say? `gather` has one constant
    key, so that its fast weights are a vector: what do all events say together?
    """

    def __init__(
        self, d: int, heads: int, steps: int, dropout: float, support_dropout: float, residual: bool, quiet: bool
    ) -> None:
        """`quiet`: begin beside a recall, as `start` has it."""
        super().__init__()
        self.d, self.heads, self.residual = d, heads, residual
        self.norm = nn.RMSNorm(d)
        self.query_key = nn.Linear(d, 2 * d)
        self.value = nn.Linear(d, (1 + GATHERERS) * d, bias=False)
        self.out = nn.Linear((1 + GATHERERS) * d, d, bias=False)
        D = d // heads
        self.relate = InnerLoop(heads, D, D, steps, -4.0, -0.5, local=True, support_dropout=support_dropout)
        self.gather = InnerLoop(GATHERERS, 1, d, steps, -6.0, 1.0, local=False)
        self.feed_norm = nn.RMSNorm(d)
        self.feed = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * d, d))
        self.dropout = nn.Dropout(dropout)
        if quiet:
            self.start()
        else:
            torch.nn.init.normal_(self.value.weight, std=d**-0.5)

    @torch.no_grad()
    def start(self) -> None:
        """Begin as almost nothing but the average: training then starts from "like what was taken", not from noise.

        The slowest gathering head passes the events' vectors through as they are, and in a block without a residual its
        reading is the outcome; everything else begins small.
        """
        d, feed_out = self.out.out_features, cast(nn.Linear, self.feed[3])
        self.out.weight.mul_(0.1)
        feed_out.weight.mul_(0.1)
        feed_out.bias.zero_()
        torch.nn.init.eye_(self.value.weight[d : 2 * d])
        if not self.residual:
            self.out.weight[:, d : 2 * d] += torch.eye(d)

    def decay(self) -> Tensor:
        """The fading of both inner loops' heads, (H + GATHERERS,)."""
        return torch.cat([self.relate.decay(), self.gather.decay()])

    def forward(
        self, stream: Tensor, sign: Tensor, remaining: Tensor, terms: tuple[Terms, Terms], last: bool
    ) -> Tensor:
        """(B, T, d) -> (B, T, d), or (B, 1, d) for the newest event alone when `last`.

        Args:
            sign: (B, T, 1).
            remaining: what remains of the events' strength for each head and reader, (B, H + GATHERERS, T or 1, T).
            terms: of `relate` and `gather`.
        """
        to_relate, to_gather = terms
        target = stream[:, -1:] if last else stream
        normed = self.norm(stream)
        queries, keys = self.query_key(normed * sign).chunk(2, -1)
        if last:
            queries = queries[:, -1:]
        of_each, of_all = torch.split(remaining, [self.heads, GATHERERS], 1)
        own, shared = torch.split(self.value.weight, [self.d, GATHERERS * self.d])
        queries = F.normalize(self.split(queries), dim=-1)
        values = self.split(F.linear(normed, own))
        related = self.relate(F.normalize(self.split(keys), dim=-1), values, queries, of_each, to_relate)
        if last:
            summed = self.gather.average_mapped(shared.view(GATHERERS, self.d, self.d), normed, of_all, to_gather)
        else:
            gathered = torch.unflatten(F.linear(normed, shared), -1, (GATHERERS, self.d)).transpose(1, 2)
            summed = self.gather.average(gathered, of_all, to_gather)
        reading = torch.cat([related.transpose(1, 2).flatten(2), summed.transpose(1, 2).flatten(2)], -1)
        mixed: Tensor = self.dropout(self.out(reading))
        if self.residual:
            mixed = target + mixed
        fed: Tensor = self.dropout(self.feed(self.feed_norm(mixed)))
        return mixed + fed

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, H, T, D)."""
        heads: Tensor = torch.unflatten(x, -1, (self.heads, self.d // self.heads)).transpose(1, 2)
        return heads


class Recall(nn.Module):
    """An inner loop over the items' own vectors, in their full rank: what do all events say together, unmixed?

    Its keys are constant, so its fast weights are one vector a head: a weighted mean of the items the user took, each
    with a voice that goes by the preference. Read through a filter over the directions this is a linear item-item
    model, as EASE is (Steck 2019, arXiv:1905.03375); the learner shrinks it by the evidence. Neural blocks on the same
    few users cannot learn what it begins with; what they learn is added.
    """

    def __init__(self, rank: int, steps: int) -> None:
        super().__init__()
        self.loop = InnerLoop(GATHERERS, 1, rank, steps, -5.0, 0.0, local=False)
        self.voice = nn.Parameter(torch.tensor([0.5, 0.7]))  # even a low rating says what a user looks at
        self.filter = nn.Parameter(torch.zeros(GATHERERS, rank))
        self.shrinkage_logit = nn.Parameter(torch.tensor(2.5))

    @torch.no_grad()
    def start(self, strengths: Tensor, ridge: float = 0.4, size: float = 9.6) -> None:
        """Begin as ridge regression would read the directions, sigma^2 / (sigma^2 + ridge), mostly of what is recent.

        Item vectors carry sigma on both sides already, which leaves 1 / (sigma^2 + ridge). How the heads share it
        matters only where events have an order: there the first hardly fades, the last fades within a few events.

        Args:
            strengths: singular values sigma of the directions, the largest first, 0 for one that is not there, (rank,).
            ridge: relative to the largest strength's square.
            size: of the filter at the strongest direction.
        """
        shares = (strengths / strengths.max().clamp(min=1e-9)).square()
        whole = size * (1 + ridge) / (shares + ridge) * (strengths > 0)
        self.filter.copy_(whole * torch.tensor([0.2, 0.4, 0.4]).to(whole)[:, None])

    def forward(self, taken: Tensor, preference: Tensor, remaining: Tensor, terms: Terms) -> Tensor:
        """Item vectors of the events, (B, T, rank), and their preference, (B, T), to (B, Q, rank).

        `remaining`: what remains of the events' strength, (B, GATHERERS, Q, T).
        """
        voice = self.voice[0] + self.voice[1] * preference
        read: Tensor = self.loop.average(voice[:, :, None] * taken, remaining, terms)
        return (read * self.filter[:, None]).sum(1)
