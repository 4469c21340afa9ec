"""The meta-learned network: item tower, adaptation blocks, one user vector.

Each block IS an inner loop. Every event makes a key (what it was about) and a value (what it says); fast weights adapt
to the pairs seen so far and are read at the event's own query. An event that speaks against its item enters the stream
negated; keys and queries undo the sign, values keep it, so that "disliked this" and "liked this" are about the same
thing and say the opposite. What the blocks say at the newest event, and what the recall of the items' own vectors,
where it speaks, says beside them, make the user vector u; score(u, i) = u . v_i + b_i.

Letters: B users, T events, N items, M new items, C content width, d width of the blocks, r rank of item and user
vectors, P first places in a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import adapt
from models.block import GATHERERS, AdaptationBlock, InnerLoop, Recall
from models.episode import Support
from models.items import ItemTower
from models.settled import Settled
from models.snapshot import EXPECTED, Snapshot
from models.words import Words

Recalls = Literal["always", "unordered", "never"]
"""Of which histories the recall speaks: of all, of those without an order, or of none, so that there is none."""
PLACES = 20  # users with fewer events than this have a prior each, by how many
KIND_SLOTS = 32  # room for kinds to come, so that adding one does not change a snapshot's shapes


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """The shape of a learner, whose sizes `models.sizes.sized` chooses by the data.

    A snapshot carries it, so every field must be plain JSON.
    """

    width: int = 64  # of the stream in the blocks
    rank: int = 64  # of item and user vectors
    heads: int = 4
    blocks: int = 2
    steps: int = 1
    length: int = 100
    dropout: float = 0.2
    support_dropout: float = 0.0  # of the events, for each reader that weighs by likeness, while training
    residual_dropout: float = 0.2
    unit: bool = True  # item vectors have unit length; else one that is learned
    recall: Recalls = "always"

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """The fields this class knows, from a manifest's config; others are ignored."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})


class Learner(nn.Module):
    """From a user's support set to one vector to score every item with."""

    kind_shares: Tensor
    unordered_voice: Tensor
    beginning: Tensor

    def __init__(self, config: LearnerConfig, expected: Tensor, words: Words | None = None) -> None:
        """Args:
        expected: what the items' texts let expect of them, (N, r + 1); a row of zeros for an item without any.
        words: what says so of further items; without them nothing is expected of any.
        """
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"width {config.width} does not divide into {config.heads} heads")
        if config.recall not in get_args(Recalls):
            raise ValueError(f"recall is {config.recall!r}; it may be {', '.join(get_args(Recalls))}")
        self.config = config
        self.words = words or Words.silent(0, config.rank + 1)
        self.tower = ItemTower(expected, config.rank, config.residual_dropout, config.unit)
        self.enter = nn.Linear(config.rank, config.width, bias=False)
        self.leave = nn.Linear(config.width, config.rank, bias=False)
        self.recall = Recall(config.rank, config.steps) if config.recall != "never" else None
        quiet = config.recall == "always"  # the blocks begin beside it; else at full voice, for they speak alone
        self.kind_vectors = nn.Parameter(torch.zeros(KIND_SLOTS, config.width))
        self.kind_strengths = nn.Parameter(torch.zeros(KIND_SLOTS))
        self.register_buffer("kind_shares", torch.zeros(KIND_SLOTS))
        self.preference_power = nn.Parameter(torch.zeros(()))
        self.blocks = nn.ModuleList(
            AdaptationBlock(
                config.width,
                config.heads,
                config.steps,
                config.dropout,
                config.support_dropout,
                residual=not quiet or number < config.blocks - 1,
                quiet=quiet,
            )
            for number in range(config.blocks)
        )
        self.out_norm = nn.RMSNorm(config.width)
        self.prior = nn.Parameter(torch.zeros(config.rank))
        self.register_buffer("unordered_voice", torch.ones(()))  # see models.voice
        self.register_buffer("beginning", torch.zeros(min(PLACES, config.length), config.rank))  # see models.beginning
        self.shrinkage_logit = nn.Parameter(torch.tensor(2.5 if quiet else -3.0))
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():  # the blocks begin on the leading directions
            torch.nn.init.eye_(self.enter.weight)
            torch.nn.init.eye_(self.leave.weight).mul_(0.1 if quiet else 1.0)

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Learner:
        """The learner a snapshot holds, on the CPU, ready to serve."""
        config = LearnerConfig.from_dict(snapshot.manifest.config["learner"])
        learner = cls(config, snapshot.tensors[EXPECTED].float(), Words.of(snapshot.tensors))
        learner.load_state_dict({name: snapshot.tensors[name].float() for name in learner.state_dict()})
        return learner.eval()

    def differentiate(self, first_order: bool) -> None:
        """Whether an outer gradient takes the inner gradients for constants (first-order MAML) or goes through them."""
        for module in self.modules():
            if isinstance(module, InnerLoop):
                module.first_order = first_order

    @torch.no_grad()
    def meet(self, kinds: Tensor) -> None:
        """Make room for the kinds of event that occur, given how often each does, (KIND_SLOTS,).

        What a kind says is learned relative to the average event, so one that was never trained on is read as such.
        """
        if not self.kind_shares.any():
            self.kind_shares.copy_(kinds / kinds.sum().clamp(min=1))
            return
        new = (kinds > 0) & (self.kind_shares == 0)
        self.kind_vectors[new] = self.kind_shares @ self.kind_vectors
        self.kind_strengths[new] = self.kind_shares @ self.kind_strengths
        self.kind_shares[new] = 1e-6

    def kinds(self) -> tuple[Tensor, Tensor]:
        """What each kind adds to the stream, (KIND_SLOTS, d), and to the log of the strength, (KIND_SLOTS,)."""
        known = self.kind_shares > 0
        vectors = (self.kind_vectors - self.kind_shares @ self.kind_vectors) * known[:, None]
        return vectors, (self.kind_strengths - self.kind_shares @ self.kind_strengths) * known

    def expect(self, texts: Sequence[str], content: Tensor) -> Tensor:
        """What new items' texts and content vectors, (M, C), let expect of them, (M, r + 1), on the CPU."""
        return self.words.expect(texts, content)

    def grown(self, expected: Tensor) -> Learner:
        """The same learner with M more items, (M, r + 1), as `expect` gives them; what it makes of all is unchanged."""
        expected = expected.to(self.tower.expected)
        grown = Learner(self.config, torch.cat([self.tower.expected, expected]), self.words)
        state = self.state_dict()
        new = len(expected)
        state[EXPECTED] = grown.tower.expected
        state["tower.residual"] = torch.cat(
            [state["tower.residual"], state["tower.residual"].new_zeros(new, self.config.rank)]
        )
        _, hopeful = self.tower.cold(expected)
        state["tower.bias"] = torch.cat([state["tower.bias"], hopeful.detach()])
        grown.load_state_dict(state)
        return grown.train(self.training)

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Turn item vectors v to rotation v, and user vectors with them: no score changes. `rotation`: (r, r).

        The recall's filter weighs the directions one by one, and stays as it is.
        """
        self.tower.turn(rotation)
        self.words = self.words.turned(rotation)
        self.enter.weight.copy_(self.enter.weight @ rotation.T)
        self.leave.weight.copy_(rotation @ self.leave.weight)
        self.prior.copy_(rotation @ self.prior)
        self.beginning.copy_(self.beginning @ rotation.T)
        if self.recall is not None:
            self.recall.loop.W0.copy_(rotation @ self.recall.loop.W0)

    def tensors(self) -> dict[str, Tensor]:
        """What a snapshot keeps: every parameter and what texts let expect, detached, on the CPU."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        state[EXPECTED] = state[EXPECTED].half()
        return state | self.words.tensors()

    def catalogue(self, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Item vectors (N + M, r) and biases (N + M,); `extra`, (M, r + 1), is what is expected of items new since."""
        vectors, biases = self.tower()
        if extra is None or not len(extra):
            return vectors, biases
        new_vectors, new_biases = self.tower.cold(extra.to(vectors))
        return torch.cat([vectors, new_vectors]), torch.cat([biases, new_biases])

    def priors(self) -> Tensor:
        """Of users with 0 events, 1 and so on, the last of all others: (P + 1, r); in training that alone."""
        prior = self.prior.unsqueeze(0)
        return prior if self.training else torch.cat([prior + self.beginning, prior])

    def settle(self, length: int, steps: int | None = None) -> Settled:
        """For histories of up to `length` events, with the first so many inner steps, or all."""
        blocks = [cast(AdaptationBlock, block) for block in self.blocks]
        decays = [block.decay() for block in blocks]
        decays += [] if self.recall is None else [self.recall.loop.decay()]
        decays.append(decays[0].new_zeros(1))
        return Settled(
            *self.kinds(),
            self.priors(),
            torch.ones_like(self.unordered_voice) if self.training else self.unordered_voice,
            adapt.fading(torch.cat(decays), length, length),
            tuple((block.relate.terms(steps), block.gather.terms(steps)) for block in blocks),
            () if self.recall is None else (self.recall.loop.terms(steps),),
        )

    def forward(self, vectors: Tensor, support: Support, steps: int | None = None) -> Tensor:
        """User vectors before each event and after the last, (B, T + 1, r): entry t has seen events 0 to t - 1."""
        settled = self.settle(support.rows.shape[1], steps)
        users, _ = self.follow(vectors, support, settled, last=False, mixed=support.mixed)
        first = torch.where(support.ordered[:, None], settled.priors[0], settled.priors[-1])
        return torch.cat([first[:, None], users], 1)

    def user_vectors(self, vectors: Tensor, support: Support, steps: int | None = None) -> Tensor:
        """Adapt to each user: (B, r). An empty history gives the prior of those who begin.

        Args:
            vectors: item vectors, (N, r), as `catalogue` gives them.
            support: the users' histories, (B, T).
            steps: inner steps to take, at most as many as were learned (the default). 0 reads the prior weights.
        """
        settled = self.settle(support.rows.shape[1], steps)
        users, _ = self.follow(vectors, support, settled, last=True, mixed=support.mixed)
        return users[:, -1]

    def follow(
        self,
        vectors: Tensor,
        support: Support,
        settled: Settled,
        *,
        last: bool,
        mixed: bool,
        trail: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The user's vector after each event, (B, T, r), or after the newest alone, (B, 1, r); and the trail.

        Blocks and recall each move it from the prior by a share of what they say, s / (s + shrinkage) with s the
        events' summed strength: one event says less than ten, and none says nothing. With an order the prior is that
        of so many events; without one, only a share of what is said counts. `mixed` decides between two courses, and
        nothing else depends on what is in the tensors: each course can be traced.

        The trail, (B, T, (blocks - 1) d), is what each event was when it entered the blocks but the first. It is made
        of that event and those before it, so a new event changes nothing of it: given the trail of all events but the
        newest, (B, T - 1, (blocks - 1) d), the newest alone is taken through the blocks.

        Args:
            settled: for at least T events.
            mixed: whether a history without an order may be among them; one is read as if it had one if not.
        """
        scale = self.config.width**0.5
        sign = torch.sign(support.preference).unsqueeze(2)  # 0 in an empty slot
        taken = F.embedding(support.rows, vectors)
        stream: Tensor = self.dropout(sign * scale * self.enter(taken))
        stream = stream + F.embedding(support.kinds, settled.kind_vectors)
        size = support.preference.abs().clamp(min=1e-3)
        kinds = F.embedding(support.kinds, settled.kind_strengths.unsqueeze(1)).squeeze(2)
        strength = kinds + self.preference_power * torch.log(size)
        strength = torch.exp(strength) * support.mask
        ordered = support.ordered if mixed else None
        final, each = len(self.blocks) - 1, self.config.heads + GATHERERS
        before = None if trail is None else trail.chunk(max(final, 1), -1)
        entered: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            alone = before is not None or (last and number == final)
            heads = slice(number * each, (number + 1) * each)
            remaining = settled.remaining(strength, ordered, heads, 1 if alone else stream.shape[1])
            stream = block(stream, sign, remaining, settled.blocks[number], alone)
            if number < final:
                stream = stream if before is None else torch.cat([before[number], stream], 1)
                entered.append(stream)
        trail = torch.cat(entered, -1) if entered else taken[..., :0]
        readers = 1 if last else stream.shape[1]
        evidence = strength.cumsum(-1)[:, -readers:, None]
        said = self.leave(self.out_norm(stream))
        users: Tensor = evidence / (evidence + F.softplus(self.shrinkage_logit)) * said
        if self.recall is not None and (mixed or self.config.recall == "always"):
            share = evidence / (evidence + F.softplus(self.recall.shrinkage_logit))
            if self.config.recall == "unordered":
                share = share * ~support.ordered[:, None, None]
            remaining = settled.remaining(strength, ordered, slice(len(self.blocks) * each, -1), readers)
            recalled: Tensor = self.recall(taken, support.preference, remaining, *settled.recall)
            users = users + share * recalled
        if ordered is not None:
            users = users * torch.where(ordered, 1.0, settled.unordered)[:, None, None]
        if len(settled.priors) == 1:
            return settled.priors[0] + users, trail
        place = support.mask.long().cumsum(-1)[:, -readers:].clamp(max=len(settled.priors) - 1)
        if ordered is not None:
            place = place.where(ordered[:, None], len(settled.priors) - 1)
        return F.embedding(place, settled.priors) + users, trail
