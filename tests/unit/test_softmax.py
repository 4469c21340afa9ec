"""The chunked normaliser is the normaliser, and so is its gradient."""

from __future__ import annotations

import pytest
import torch

from models import softmax


@pytest.mark.parametrize("items", [1, 63, 1000])
def test_it_agrees_with_the_whole_matrix(items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "CACHED", 256)
    torch.manual_seed(0)
    given = [torch.randn(9, 8) * 5, torch.randn(items, 8), torch.randn(items) * 3]
    weights = torch.randn(9)
    found = []
    for function in (softmax.log_normaliser, lambda q, v, b: torch.logsumexp(q @ v.T + b, -1)):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        out = function(*leaves)
        out.backward(weights)
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-4)


def test_products_in_half_precision_are_near() -> None:
    torch.manual_seed(0)
    given = [torch.randn(9, 32), torch.nn.functional.normalize(torch.randn(500, 32), dim=-1), torch.randn(500)]
    gradients = []
    for products in (torch.float32, torch.bfloat16):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        out = softmax.log_normaliser(*leaves, products)
        assert out.dtype == torch.float32
        out.sum().backward()
        gradients.append(torch.cat([leaf.grad.flatten() for leaf in leaves if leaf.grad is not None]))
    assert (gradients[1] - gradients[0]).norm() < 0.01 * gradients[0].norm()


def test_scores_far_apart_do_not_overflow() -> None:
    queries = torch.tensor([[1000.0], [-1000.0]])
    out = softmax.log_normaliser(queries, torch.tensor([[1.0], [-1.0]]), torch.zeros(2))
    torch.testing.assert_close(out, torch.tensor([1000.0, 1000.0]))
