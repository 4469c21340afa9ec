"""One adaptation block: inner loops over a user's events, then a feed-forward layer.

Letters: B users, T events, Q reading positions, d width, H heads, D key width a head, V value width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import adapt
from models.episode import Support

GATHERERS = 3
SHARP = 1.85  # the logit of a sharpness of 2


class InnerLoop(nn.Module):
    """Fast weights with their meta-parameters: the prior W_0, a step size a step and head, what weighs the events."""

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
            affine map to them: keys and queries are [1, k] / sqrt(2) then.
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

    def forward(
        self, keys: Tensor, values: Tensor, queries: Tensor, strength: Tensor, support: Support, steps: int | None
    ) -> Tensor:
        """Adapt to (keys, values), (B, H, T, D) and (B, H, T, V), and read at the queries of the last Q events.

        The many readers of training go through the dual form; the one reader of serving forms the fast weights.
        (B, H, Q, D) -> (B, H, Q, V).
        """
        readers = queries.shape[2]
        likeness = None
        if self.sharpness_logits is not None:
            sharpness = F.softplus(self.sharpness_logits)[:, None, None]
            likeness = torch.exp((sharpness * queries) @ keys.transpose(-1, -2))
            keys, queries = (F.pad(one, (1, 0), value=1.0) * 0.5**0.5 for one in (keys, queries))
        weights = self.weigh(strength, support, readers, likeness)
        if self.training and self.support_dropout > 0:
            weights = F.dropout(weights, self.support_dropout)
        etas = self.step_sizes(steps)
        if readers > 1:
            return adapt.read(self.W0, keys, values, weights, etas, queries, first_order=self.first_order)
        fast = adapt.adapt(self.W0, keys, values, weights[:, :, 0], etas, first_order=self.first_order)
        return queries @ fast.transpose(-1, -2)

    def average(self, values: Tensor, strength: Tensor, support: Support, readers: int, steps: int | None) -> Tensor:
        """The same with a constant key: values (B, T, V) or (B, H, T, V) to (B, H, Q, V) at the last Q events."""
        weights = self.weigh(strength, support, readers)
        return adapt.average(self.W0[..., 0], values, weights, self.step_sizes(steps), first_order=self.first_order)

    def average_mapped(
        self, maps: Tensor, events: Tensor, strength: Tensor, support: Support, steps: int | None
    ) -> Tensor:
        """`average` of each head's own map of the events, for one reader: maps (H, V, d), events (B, T, d).

        An average is affine in the values, W_0 + g (sum_t a_t v_t - m W_0): the events are averaged first and mapped
        once, together with a 1 that turns into g m. (B, H, 1, V).
        """
        prior = self.W0[..., 0]
        marked = F.pad(events, (0, 1), value=1.0)
        nothing = marked.new_zeros(len(prior), marked.shape[2])
        summed = adapt.average(nothing, marked, self.weigh(strength, support, 1), self.step_sizes(steps))
        moved, share = summed[:, :, 0, :-1], summed[..., -1:]
        mapped = (moved.transpose(0, 1) @ maps.transpose(-1, -2)).transpose(0, 1)[:, :, None]  # no copy of a map a user
        out: Tensor = prior[:, None] + mapped - share * prior[:, None]
        return out

    def step_sizes(self, steps: int | None) -> Tensor:
        """(K, H), each between 0 and 2."""
        return 2 * torch.sigmoid(self.step_logits[:steps])

    def weigh(self, strength: Tensor, support: Support, readers: int, likeness: Tensor | None = None) -> Tensor:
        """What each of the last Q events makes of those before it, (B, H, Q, T); as `likeness` is."""
        return adapt.support_weights(
            strength,
            support.mask,
            support.ordered,
            F.softplus(self.decay_logits),
            F.softplus(self.shrinkage_logits),
            readers,
            likeness,
        )


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
        self.heads, self.residual = heads, residual
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

    def forward(
        self, stream: Tensor, sign: Tensor, strength: Tensor, support: Support, last: bool, steps: int | None
    ) -> Tensor:
        """(B, T, d) -> (B, T, d), or (B, 1, d) for the newest event alone when `last`."""
        target = stream[:, -1:] if last else stream
        normed = self.norm(stream)
        queries, keys = self.query_key(normed * sign).chunk(2, -1)
        d = stream.shape[2]
        own, shared = self.value.weight[:d], self.value.weight[d:]
        queries = F.normalize(self.split(queries[:, -target.shape[1] :]), dim=-1)
        values = self.split(F.linear(normed, own))
        related = self.relate(F.normalize(self.split(keys), dim=-1), values, queries, strength, support, steps)
        if last:
            summed = self.gather.average_mapped(shared.view(GATHERERS, d, d), normed, strength, support, steps)
        else:
            gathered = F.linear(normed, shared).view(*normed.shape[:2], GATHERERS, d).transpose(1, 2)
            summed = self.gather.average(gathered, strength, support, target.shape[1], steps)
        reading = torch.cat([related.transpose(1, 2).flatten(2), summed.transpose(1, 2).flatten(2)], -1)
        mixed: Tensor = self.dropout(self.out(reading))
        if self.residual:
            mixed = target + mixed
        fed: Tensor = self.dropout(self.feed(self.feed_norm(mixed)))
        return mixed + fed

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, H, T, D)."""
        B, T, d = x.shape
        heads: Tensor = x.view(B, T, self.heads, d // self.heads).transpose(1, 2)
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

    def forward(
        self, taken: Tensor, preference: Tensor, strength: Tensor, support: Support, readers: int, steps: int | None
    ) -> Tensor:
        """Item vectors of the events, (B, T, rank), and their preference, (B, T), to (B, readers, rank)."""
        voice = self.voice[0] + self.voice[1] * preference
        read: Tensor = self.loop.average(voice[:, :, None] * taken, strength, support, readers, steps)
        return (read * self.filter[:, None]).sum(1)
