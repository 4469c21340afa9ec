"""What an item's text lets expect of it: where users would put it, and how popular it would be.

A director, a series, a brand: who took one film of a director takes the next, and an encoder's vector hardly holds a
name. So the words and pairs of words of a text, the rare and the early ones weighing most, stand beside its content
vector in one kernel, and ridge regression with it says what the items already known let expect of such a text:

    f(x) = m + k(x, .) a      a = (K + ridge / sqrt(trust))^-1 (Y - m)      k(x, y) = ENCODER c_x . c_y + t_x . t_y

Of an item it is fitted to it tells what the others let expect (leave-one-out, exact in closed form: Y - a / the
diagonal of the inverse), so that what it says of a known item is as good as what it says of a new one, and training
learns how far to believe it. Only f is kept, as the sum over what a text has: a row a word, a row a content dimension.

Letters: N items, M texts, C content width, V words, Y targets a text: for the item tower, its direction and log
popularity.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

FITTED = 8192
"""Items the kernel is fitted to, at most: those that are best known."""
KEPT = 2**15
"""Words kept, at most: those that most items have."""
FEWEST = 3
"""Items that must have a word for it to be kept."""
READ = 128
"""Words of a text that are read: as with the encoder, its beginning."""
EARLY = 20.0
"""The place in a text at which a word weighs half as much as the first."""
ENCODER = 0.25
RIDGE = 1.0
PREFIX = "words."


def weigh(text: str) -> dict[int, float]:
    """The words of a text and its pairs of neighbours, as hashes, each with a weight that falls with its place."""
    words = [word.encode() for word in re.findall(r"\w+", text.lower())[:READ]]
    out: dict[int, float] = {}
    for place, word in enumerate(words):
        weight = 1 / (1 + place / EARLY)
        out.setdefault(crc32(word), weight)
        if place + 1 < len(words):
            out.setdefault(crc32(word + b" " + words[place + 1]), weight)
    return out


@dataclass(frozen=True, eq=False)
class Words:
    """Known words with their weights, and what they let expect. A value: fitted once, then only read."""

    names: Tensor  # (V,) int64, ascending
    rarity: Tensor  # (V,), the logarithm of how few items have the word
    centre: Tensor  # (C,), of the content vectors
    prior: Tensor  # (Y,), what is expected of any text
    by_content: Tensor  # (C, Y)
    by_word: Tensor  # (V, Y)

    @classmethod
    def silent(cls, width: int, targets: int) -> Words:
        """Words that expect nothing of any text; `width`: C, `targets`: Y."""
        none = torch.zeros(0)
        by_content, by_word = torch.zeros(width, targets), torch.zeros(0, targets)
        return cls(none.long(), none, torch.zeros(width), torch.zeros(targets), by_content, by_word)

    @classmethod
    def fit(cls, texts: Sequence[str], content: Tensor, targets: Tensor, trust: Tensor) -> tuple[Words, Tensor]:
        """Learn what words lead to, and say of each of these items what the others let expect of its text, (N, Y).

        Args:
            texts: (N,); an empty one says nothing, and nothing is expected of it.
            content: content vectors, (N, C).
            targets: what is known of the items, (N, Y).
            trust: how well it is known, from 0, for not at all, to 1, (N,).
        """
        described = torch.tensor([bool(text) for text in texts], dtype=torch.bool)
        known = (described & (trust > 0)).nonzero().squeeze(1)
        fitted = known[trust[known].argsort(descending=True, stable=True)[:FITTED]].sort().values
        silent = cls.silent(content.shape[1], targets.shape[1])
        if not len(fitted):
            return silent, torch.zeros(len(texts), targets.shape[1])
        names, rarity = _vocabulary([weigh(text) for text in texts])
        centre, prior = content[described].mean(0), (trust[fitted] @ targets[fitted]) / trust[fitted].sum()
        blank = cls(names, rarity, centre, prior, silent.by_content, targets.new_zeros(len(names), targets.shape[1]))
        inside, (at, bounds, weights) = blank.features([texts[row] for row in fitted], content[fitted])
        bags = sparse.csr_matrix((weights.numpy(), at.numpy(), [*bounds.tolist(), len(at)]), (len(fitted), len(names)))
        kernel = ENCODER * inside @ inside.T + torch.from_numpy((bags @ bags.T).toarray())
        kernel.diagonal().add_(RIDGE / trust[fitted].sqrt())
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        duals = inverse @ (targets[fitted] - prior)  # a row a fitted item, (F, Y)
        by_word = torch.from_numpy(np.asarray(bags.T @ duals.numpy(), np.float32))
        words = cls(names, rarity, centre, prior, ENCODER * inside.T @ duals, by_word)
        expected = words.expect(texts, content)
        expected[fitted] = targets[fitted] - duals / inverse.diagonal()[:, None]
        return words, expected

    def expect(self, texts: Sequence[str], content: Tensor) -> Tensor:
        """What items of these texts would be like, (M, Y), from the texts and their content vectors, (M, C).

        Nothing, zeros, of an empty text.
        """
        inside, (at, bounds, weights) = self.features(texts, content)
        described = torch.tensor([bool(text) for text in texts])
        said = F.embedding_bag(at, self.by_word, bounds, mode="sum", per_sample_weights=weights)
        out: Tensor = (self.prior + inside @ self.by_content + said) * described[:, None]
        return out

    def turned(self, rotation: Tensor) -> Words:
        """The same, where the first r targets are vectors v that are turned to rotation v, (r, r)."""

        def turn(rows: Tensor) -> Tensor:
            r = len(rotation)
            return torch.cat([rows[..., :r].to(rotation) @ rotation.T, rows[..., r:].to(rotation)], -1).to(rows)

        by_content, by_word = turn(self.by_content), turn(self.by_word)
        return replace(self, prior=turn(self.prior), by_content=by_content, by_word=by_word)

    def features(self, texts: Sequence[str], content: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Centred content vectors of unit length, (M, C), and the texts' words, weighted to unit length.

        The words of all texts in a row: which they are, where each text begins, (M,), and their weights.
        """
        names, rarity = self.names.numpy(), self.rarity.numpy()
        found, weights, bounds = [np.empty(0, np.int64)], [np.empty(0, np.float32)], [0]
        for text in texts:
            at, weight = _found(weigh(text), names)
            weight = weight * rarity[at]
            found.append(at)
            weights.append((weight / max(float(np.linalg.norm(weight)), 1e-9)).astype(np.float32))
            bounds.append(bounds[-1] + len(at))
        bags = (np.concatenate(found), np.array(bounds[:-1], np.int64), np.concatenate(weights))
        return F.normalize(content - self.centre, dim=-1), tuple(map(torch.from_numpy, bags))  # type: ignore[return-value]

    def tensors(self) -> dict[str, Tensor]:
        """As a snapshot keeps them, the large ones in float16."""
        out = {PREFIX + field.name: getattr(self, field.name) for field in fields(self)}
        return out | {PREFIX + name: getattr(self, name).half() for name in ("by_content", "by_word")}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Words:
        """What `tensors` gave, from a snapshot's. Raises KeyError where one is missing."""
        kept = {field.name: tensors[PREFIX + field.name] for field in fields(cls)}
        return cls(**{name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in kept.items()})


def _found(weights: Mapping[int, float], names: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where those of the words stand that are known, and their weights."""
    wanted = np.fromiter(weights, np.int64, len(weights))
    at = np.searchsorted(names, wanted)
    at[at == len(names)] = 0
    known = names[at] == wanted if len(names) else np.zeros(len(wanted), np.bool_)
    return at[known], np.fromiter(weights.values(), np.float64, len(weights))[known]


def _vocabulary(bags: Sequence[Mapping[int, float]]) -> tuple[Tensor, Tensor]:
    """The words that a few items have and not most, ascending, and their rarity."""
    counts = Counter(word for bag in bags for word in bag)
    few = [(word, count) for word, count in counts.items() if FEWEST <= count < max(len(bags) / 2, FEWEST + 1)]
    few = sorted(sorted(few, key=lambda pair: (-pair[1], pair[0]))[:KEPT])
    names = torch.tensor([word for word, _ in few], dtype=torch.int64)
    return names, torch.log(len(bags) / torch.tensor([float(count) for _, count in few]))
