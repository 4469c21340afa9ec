"""Where a model runs: it is the same on a GPU, and what has no GPU says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.device import find
from models.episode import History, pack
from models.halved import Halved
from models.index import Barred, Exact
from models.learner import Learner, LearnerConfig, Recalls
from models.softmax import log_normaliser
from models.traced import Traced
from tests.worlds import gpu

N = 40


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert find("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_with_what_to_do() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"no device '{absent}' here: take cpu, or auto for what there is"):
        find(absent)
    with pytest.raises(ValueError, match="no device 'abacus' here"):
        find("abacus")


def walks(users: int, seed: int) -> list[History]:
    """Users walk around one of two circles of 20 items; of every third nobody knows in which order."""
    rng = np.random.default_rng(seed)
    kinds, liked = np.zeros(8, np.int64), np.ones(8, np.float32)
    return [
        History((half * 20 + (start + np.arange(8)) % 20).astype(np.int64), kinds, liked, at % 3 > 0)
        for at, (half, start) in enumerate(rng.integers(0, [2, 20], (users, 2)))
    ]


def learner(recall: Recalls) -> Learner:
    torch.manual_seed(0)
    config = LearnerConfig(width=16, rank=16, heads=2, length=10, recall=recall)
    made = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    for parameter in made.parameters():  # away from the zeros some start at
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@gpu
@pytest.mark.parametrize("recall", ["always", "unordered", "never"])
def test_users_have_the_same_vectors_on_a_gpu(recall: Recalls) -> None:
    made, support = learner(recall), pack(walks(9, 0), 10)
    with torch.inference_mode():
        expected = made.user_vectors(made.catalogue()[0], support)
        made.cuda()
        vectors, _ = made.catalogue()
        torch.testing.assert_close(made.user_vectors(vectors, support.to("cuda")).cpu(), expected, atol=1e-4, rtol=1e-4)
        for _ in range(3):  # the first calls of a trace are still being planned
            traced, _ = Traced(made).follow(vectors, support)
            torch.testing.assert_close(traced.cpu(), expected, atol=1e-4, rtol=1e-4)


@gpu
def test_the_normaliser_and_its_gradients_are_the_same_on_a_gpu() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(50, 16), torch.randn(3000, 16), torch.randn(3000)]
    found = []
    for device in ("cpu", "cuda"):
        given = [part.to(device).requires_grad_() for part in parts]
        out = log_normaliser(*given)
        found.append([out.detach().cpu(), *(slope.cpu() for slope in torch.autograd.grad(out.sum(), given))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@gpu
def test_a_search_in_half_precision_finds_what_an_exact_one_finds() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(20_000, 32), dim=-1).cuda()
    biases = torch.randn(20_000).cuda()
    users = 8 * torch.nn.functional.normalize(torch.randn(33, 32), dim=-1).cuda()
    allowed = torch.rand(33, 20_000).cuda() > 0.5
    barred = Barred(torch.arange(33).cuda(), torch.arange(33).cuda() * 7)
    for given in ((None, None), (allowed, None), (None, barred), (allowed, barred)):
        found = Halved(vectors, biases).search(users, given[0], 10, given[1])
        exact = Exact(vectors, biases).search(users, given[0], 10, given[1])
        assert float((found.rows == exact.rows).float().mean()) > 0.99
