"""The meta-learned network: item tower, adaptation blocks, one user vector.

Each block IS an inner loop. Every event makes a key (what it was about) and a value (what it says); fast weights adapt
to the pairs seen so far and are read at the event's own query. An event that speaks against its item enters the stream
negated; keys and queries undo the sign, values keep it, so that "disliked this" and "liked this" are about the same
thing and say the opposite. The newest event's stream gives the user vector u, and score(u, i) = u . v_i + b_i.

Letters: B users, T events, N items, d width, H heads, D = d / H.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import adapt
from models.episode import Support
from models.items import ItemTower
from models.snapshot import Snapshot

KIND_SLOTS = 32  # room for kinds to come, so that adding one does not change a snapshot's shapes


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """The shape of a learner. A snapshot carries it, so every field must be plain JSON."""

    width: int = 64
    heads: int = 2
    blocks: int = 2
    steps: int = 1
    length: int = 50
    dropout: float = 0.2
    residual_dropout: float = 0.1

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """The fields this class knows, from a manifest's config; others are ignored."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})


class AdaptationBlock(nn.Module):
    """An inner loop over the events, then a feed-forward layer; both residual, both on a normalised stream."""

    def __init__(self, config: LearnerConfig) -> None:
        super().__init__()
        d, self.heads = config.width, config.heads
        self.norm = nn.RMSNorm(d)
        self.query_key = nn.Linear(d, 2 * d)  # its bias lets a head read all events alike
        self.value = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.W0 = nn.Parameter(torch.zeros(self.heads, d // self.heads, d // self.heads))
        self.step_logits = nn.Parameter(torch.zeros(config.steps, self.heads))
        self.decay_logits = nn.Parameter(torch.linspace(-4.0, -0.5, self.heads))
        self.shrinkage_logits = nn.Parameter(torch.zeros(self.heads))
        self.feed_norm = nn.RMSNorm(d)
        self.feed = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(4 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, stream: Tensor, sign: Tensor, strength: Tensor, mask: Tensor, last: bool, steps: int | None
    ) -> Tensor:
        """(B, T, d) -> (B, T, d), or (B, 1, d) for the newest event alone when `last`.

        The many readers of training go through the dual form; the one reader of serving forms the fast weights.
        """
        keys, values = self.keys_values(stream, sign)
        target = stream[:, -1:] if last else stream
        queries = self.queries(target, sign[:, -1:] if last else sign)
        weights = adapt.recency_weights(
            strength, mask, F.softplus(self.decay_logits), F.softplus(self.shrinkage_logits), target.shape[1]
        )
        etas = 2 * torch.sigmoid(self.step_logits[:steps])
        if last:
            fast = adapt.adapt(self.W0, keys, values, weights[:, :, 0], etas)  # (B, H, D, D)
            reading = queries @ fast.transpose(-1, -2)
        else:
            reading = adapt.read(self.W0, keys, values, weights, etas, queries)
        mixed: Tensor = target + self.dropout(self.out(reading.transpose(1, 2).flatten(2)))
        fed: Tensor = self.dropout(self.feed(self.feed_norm(mixed)))
        return mixed + fed

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, H, T, D)."""
        B, T, d = x.shape
        heads: Tensor = x.view(B, T, self.heads, d // self.heads).transpose(1, 2)
        return heads

    def keys_values(self, stream: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
        """Keys of unit length and values, (B, H, T, D) each."""
        normed = self.norm(stream)
        d = stream.shape[-1]
        keys = F.linear(normed * sign, self.query_key.weight[d:], self.query_key.bias[d:])
        return F.normalize(self.split(keys), dim=-1), self.split(self.value(normed))

    def queries(self, stream: Tensor, sign: Tensor) -> Tensor:
        """Queries of unit length, (B, H, T, D)."""
        d = stream.shape[-1]
        return F.normalize(
            self.split(F.linear(self.norm(stream) * sign, self.query_key.weight[:d], self.query_key.bias[:d])), dim=-1
        )


class Learner(nn.Module):
    """From a user's support set to one vector to score every item with."""

    def __init__(self, config: LearnerConfig, content: Tensor) -> None:
        """`content`: content vectors, (N, C); a row of zeros for an item without any."""
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"width {config.width} does not divide into {config.heads} heads")
        self.config = config
        self.tower = ItemTower(content, config.width, config.residual_dropout)
        self.kind_vectors = nn.Parameter(torch.zeros(KIND_SLOTS, config.width))
        self.kind_strengths = nn.Parameter(torch.zeros(KIND_SLOTS))
        self.preference_power = nn.Parameter(torch.tensor(0.5))
        self.blocks = nn.ModuleList(AdaptationBlock(config) for _ in range(config.blocks))
        self.out_norm = nn.RMSNorm(config.width)
        self.prior = nn.Parameter(torch.zeros(config.width))
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Learner:
        """The learner a snapshot holds, on the CPU, ready to serve."""
        learner = cls(
            LearnerConfig.from_dict(snapshot.manifest.config["learner"]), snapshot.tensors["tower.content"].float()
        )
        learner.load_state_dict({name: snapshot.tensors[name].float() for name in learner.state_dict()})
        return learner.eval()

    def grown(self, content: Tensor) -> Learner:
        """The same learner with M more items, from their content vectors (M, C); what it makes of all is unchanged."""
        grown = Learner(self.config, torch.cat([self.tower.content, content.to(self.tower.content)]))
        state = self.state_dict()
        new = len(content)
        state["tower.content"] = grown.tower.content
        state["tower.residual"] = torch.cat(
            [state["tower.residual"], state["tower.residual"].new_zeros(new, self.config.width)]
        )
        state["tower.bias"] = torch.cat([state["tower.bias"], state["tower.cold_bias"].expand(new)])
        grown.load_state_dict(state)
        return grown.train(self.training)

    def tensors(self) -> dict[str, Tensor]:
        """What a snapshot keeps: every parameter and the content vectors, detached, on the CPU."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        state["tower.content"] = state["tower.content"].half()
        return state

    def catalogue(self, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Item vectors (N + M, d) and biases (N + M,); `extra` holds content vectors (M, C) of items new since."""
        vectors, biases = self.tower()
        if extra is None or not len(extra):
            return vectors, biases
        new_vectors, new_biases = self.tower.cold(extra.to(vectors))
        return torch.cat([vectors, new_vectors]), torch.cat([biases, new_biases])

    def forward(self, vectors: Tensor, support: Support, steps: int | None = None) -> Tensor:
        """User vectors before each event and after the last, (B, T + 1, d): entry t has seen events 0 to t - 1."""
        stream = self.adapt_stream(vectors, support, last=False, steps=steps)
        users = torch.where(support.mask[:, :, None], self.prior + self.out_norm(stream), self.prior)
        return torch.cat([self.prior.expand(len(users), 1, -1), users], 1)

    def user_vectors(self, vectors: Tensor, support: Support, steps: int | None = None) -> Tensor:
        """Adapt to each user: (B, d). An empty history gives the prior.

        Args:
            vectors: item vectors, (N, d), as `catalogue` gives them.
            support: the users' histories, (B, T).
            steps: inner steps to take, at most as many as were learned (the default). 0 reads the prior weights.
        """
        stream = self.adapt_stream(vectors, support, last=True, steps=steps)[:, -1]
        return torch.where(support.mask[:, -1:], self.prior + self.out_norm(stream), self.prior)

    def adapt_stream(self, vectors: Tensor, support: Support, last: bool, steps: int | None) -> Tensor:
        """Events through the blocks: (B, T, d), or (B, 1, d) when only the newest is asked for."""
        sign = torch.sign(support.preference)[:, :, None]  # 0 in an empty slot
        scale = self.config.width**0.5
        stream: Tensor = self.dropout(sign * vectors[support.rows] * scale) + self.kind_vectors[support.kinds]
        size = support.preference.abs().clamp(min=1e-3)
        strength = torch.exp(self.kind_strengths[support.kinds] + self.preference_power * torch.log(size))
        for number, block in enumerate(self.blocks):
            stream = block(stream, sign, strength, support.mask, last and number == len(self.blocks) - 1, steps)
        return stream
