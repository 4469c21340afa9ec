"""Words: what the text of known items lets expect of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models import words as module
from models.words import Words, weigh

N, C, D = 240, 8, 6


def world() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Films whose direction is their director's; the content vector knows nothing of directors."""
    g = torch.Generator().manual_seed(0)
    directors = torch.arange(N) % 12
    texts = [f"Film {n}. Directed by name{d} surname{d}. On a {n % 5} day" for n, d in enumerate(directors.tolist())]
    content = F.normalize(torch.randn(N, C, generator=g), dim=-1)
    targets = F.normalize(torch.randn(12, D, generator=g), dim=-1)[directors]
    return texts, content, targets


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(F.cosine_similarity(one, other, dim=-1).mean())


def test_a_rare_word_says_where_an_item_belongs() -> None:
    texts, content, targets = world()
    words, _ = Words.fit(texts[:200], content[:200], targets[:200], torch.full((200,), 0.9))
    assert likeness(words.expect(texts[200:], content[200:]), targets[200:]) > 0.9
    strangers = ["A story told by nobody", "Something else"]
    assert words.expect(strangers, content[:2]).norm(dim=-1).max() < words.expect(texts, content).norm(dim=-1).min()


def test_a_content_vector_says_so_too() -> None:
    _, content, _ = world()
    targets = F.normalize(content @ torch.randn(C, D, generator=torch.Generator().manual_seed(1)), dim=-1)
    words, _ = Words.fit(["same"] * 200, content[:200], targets[:200], torch.full((200,), 0.9))
    assert likeness(words.expect(["same"] * 40, content[200:]), targets[200:]) > 0.9


def test_of_a_known_item_it_says_what_the_others_let_expect() -> None:
    """The closed form equals fitting without the item, given the same vocabulary, centre and prior."""
    texts, content, targets = world()
    targets = targets - targets.mean(0)
    trust = torch.linspace(0.1, 1.0, N)
    targets = targets - (trust @ targets) / trust.sum()
    words, expected = Words.fit(texts, content, targets, trust)
    inside, (at, bounds, weights) = words.features(texts, content)
    bags = torch.zeros(N, len(words.names))
    owner = torch.bucketize(torch.arange(len(at)), bounds, right=True) - 1
    bags[owner, at] = weights
    kernel = module.ENCODER * inside @ inside.T + bags @ bags.T
    for left_out in (0, 17, 239):
        rest = torch.arange(N) != left_out
        ridge = torch.diag(module.RIDGE / trust[rest].sqrt())
        duals = torch.linalg.solve(kernel[rest][:, rest] + ridge, targets[rest])
        torch.testing.assert_close(expected[left_out], kernel[left_out, rest] @ duals, atol=1e-4, rtol=1e-3)
    assert (words.expect(texts, content) - targets).norm() < (expected - targets).norm()


def test_items_that_are_not_known_enough_are_expected_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FITTED", 100)
    texts, content, targets = world()
    trust = torch.cat([torch.full((100,), 0.9), torch.full((100,), 0.5), torch.zeros(40)])
    spoiled = torch.where((trust < 0.9)[:, None], torch.randn(N, D), targets)
    words, expected = Words.fit(texts, content, spoiled, trust)
    torch.testing.assert_close(expected[100:], words.expect(texts[100:], content[100:]))
    assert likeness(expected, targets) > 0.9


def test_nothing_is_expected_without_text() -> None:
    texts, content, targets = world()
    texts[3] = ""
    words, expected = Words.fit(texts, content, targets, torch.ones(N))
    assert expected[3].abs().sum() == 0
    assert words.expect(["", texts[0]], content[:2]).abs().sum(-1).tolist()[0] == 0
    for nothing in (Words.silent(C, D), Words.fit([""] * N, content, targets, torch.ones(N))[0]):
        assert torch.equal(nothing.expect(["Directed by name1", ""], content[:2]), torch.zeros(2, D))
    assert words.expect([], content[:0]).shape == (0, D)


def test_early_words_weigh_most_and_late_ones_are_not_read() -> None:
    weights = list(weigh(" ".join(f"w{n}" for n in range(module.READ + 50))).values())
    assert len(weights) == 2 * module.READ - 1
    assert weights == sorted(weights, reverse=True)
    assert weigh("The END, the end") == weigh("the end the end")


def test_it_comes_back_from_a_snapshot_nearly_as_it_was() -> None:
    texts, content, targets = world()
    words, _ = Words.fit(texts, content, targets, torch.ones(N))
    stored = words.tensors()
    assert stored["words.by_word"].dtype == stored["words.by_content"].dtype == torch.float16
    found = Words.of(stored)
    torch.testing.assert_close(found.expect(texts, content), words.expect(texts, content), atol=1e-3, rtol=1e-2)


def test_the_vocabulary_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    texts, content, targets = world()
    words, _ = Words.fit(texts, content, targets, torch.ones(N))
    assert len(words.names) == 10
    assert np.all(np.diff(words.names.numpy()) > 0)
