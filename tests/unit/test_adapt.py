"""The inner loop against itself in its other form, against one-by-one, and against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.adapt import adapt, average, average_mapped, fading, read, support_weights

B, H, T, D, V = 3, 2, 7, 5, 4


def problem(steps: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    return {
        "W0": normal(H, V, D),
        "keys": F.normalize(normal(B, H, T, D), dim=-1),
        "values": normal(B, H, T, V),
        "weights": torch.rand(B, H, T, generator=g, dtype=dtype) / T,
        "step_sizes": 0.2 + torch.rand(steps, H, generator=g, dtype=dtype),
    }


@pytest.mark.parametrize("readers", [1, 6])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_gradient_form_equals_dual_form(steps: int, readers: int) -> None:
    p = problem(steps, torch.float32)
    queries = torch.randn(B, H, readers, D, generator=torch.Generator().manual_seed(1))
    primal = queries @ adapt(**p).transpose(-1, -2)
    shared = p | {"weights": p["weights"][:, :, None].expand(B, H, readers, T)}
    torch.testing.assert_close(read(**shared, queries=queries), primal, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_an_average_is_a_reading_with_a_constant_key(steps: int, first_order: bool) -> None:
    """In value and in outer gradient."""
    p = problem(steps)
    p |= {"W0": p["W0"][..., :1].clone(), "weights": torch.rand(B, H, 3, T, dtype=torch.float64) / T}
    given = [p[name].requires_grad_() for name in ("W0", "values", "weights", "step_sizes")]
    one = torch.ones(B, H, T, 1, dtype=torch.float64)
    W0, values, weights, step_sizes = given
    found = average(W0[..., 0], values, weights, step_sizes, first_order=first_order)
    expected = read(W0, one, values, weights, step_sizes, one[:, :, :3], first_order=first_order)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(*(_slopes(out, given) for out in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def _slopes(out: Tensor, given: list[Tensor]) -> list[Tensor]:
    """The gradient of some function of `out`, zeros where there is none."""
    found = torch.autograd.grad(out.sin().sum(), given, allow_unused=True)
    return [torch.zeros_like(one) if slope is None else slope for one, slope in zip(given, found, strict=True)]


def test_an_average_takes_values_that_the_heads_share() -> None:
    p = problem(2)
    weights = p["weights"][:, :, None]
    shared = p["values"][:, 0]
    apart = shared[:, None].expand(-1, H, -1, -1)
    arguments = p["W0"][..., 0], weights, p["step_sizes"]
    torch.testing.assert_close(
        average(arguments[0], shared, *arguments[1:]), average(arguments[0], apart, *arguments[1:])
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_each_reader_of_the_dual_form_has_weights_of_its_own(steps: int) -> None:
    p = problem(steps)
    queries = torch.randn(B, H, T, D, dtype=torch.float64)
    causal = p["weights"][:, :, None] * torch.ones(T, T, dtype=torch.float64).tril()
    together = read(**(p | {"weights": causal}), queries=queries)
    for t in range(T):
        fast = adapt(
            p["W0"], p["keys"][:, :, : t + 1], p["values"][:, :, : t + 1], p["weights"][:, :, : t + 1], p["step_sizes"]
        )
        torch.testing.assert_close(together[:, :, t], (fast @ queries[:, :, t, :, None]).squeeze(-1))


def test_adapt_follows_autograd_down_the_stated_loss() -> None:
    p = problem(2)
    W = p["W0"].expand(B, H, V, D).clone()
    for step_size in p["step_sizes"]:
        W.requires_grad_()
        errors = W @ p["keys"].transpose(-1, -2) - p["values"].transpose(-1, -2)
        loss = 0.5 * (p["weights"][:, :, None] * errors.square()).sum()
        W = (W - step_size[:, None, None] * torch.autograd.grad(loss, W)[0]).detach()
    torch.testing.assert_close(adapt(**p), W)


def test_a_batch_equals_one_by_one() -> None:
    p = problem(3)
    alone = [
        adapt(p["W0"], p["keys"][b : b + 1], p["values"][b : b + 1], p["weights"][b : b + 1], p["step_sizes"])
        for b in range(B)
    ]
    torch.testing.assert_close(adapt(**p), torch.cat(alone))


def test_no_step_returns_the_prior() -> None:
    p = problem(0)
    torch.testing.assert_close(adapt(**p), p["W0"].expand(B, H, V, D), atol=0, rtol=0)
    queries = torch.randn(B, H, 2, D, dtype=torch.float64)
    weights = p["weights"][:, :, None].expand(B, H, 2, T)
    torch.testing.assert_close(read(**(p | {"weights": weights}), queries=queries), queries @ p["W0"].transpose(-1, -2))


def test_empty_slots_change_nothing() -> None:
    p = problem(3)
    junk = {
        "keys": torch.cat([torch.full((B, H, 4, D), 7.0, dtype=torch.float64), p["keys"]], 2),
        "values": torch.cat([torch.full((B, H, 4, V), -9.0, dtype=torch.float64), p["values"]], 2),
        "weights": F.pad(p["weights"], (4, 0)),
    }
    torch.testing.assert_close(adapt(**(p | junk)), adapt(**p))


def test_many_steps_reach_the_weighted_least_squares_solution() -> None:
    p = problem(1) | {"step_sizes": torch.full((4000, H), 1.5, dtype=torch.float64)}
    A = torch.diag_embed(p["weights"])
    K, Y = p["keys"], p["values"]
    solved = torch.linalg.solve(K.transpose(-1, -2) @ A @ K, K.transpose(-1, -2) @ A @ Y).transpose(-1, -2)
    torch.testing.assert_close(adapt(**p), solved, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["W0", "keys", "values", "weights", "step_sizes"])
@pytest.mark.parametrize("steps", [1, 2])
def test_second_order_outer_gradient_against_finite_differences(name: str, steps: int) -> None:
    p = problem(steps)

    def outer(x: Tensor) -> Tensor:
        return adapt(**(p | {name: x})).sin().sum()

    assert torch.autograd.gradcheck(outer, p[name].clone().requires_grad_())


def test_first_order_outer_gradient_against_finite_differences_with_the_inner_gradient_held_fixed() -> None:
    p = problem(2)
    W = p["W0"].expand(B, H, V, D)
    moves = []
    for step_size in p["step_sizes"]:
        after = adapt(W, p["keys"], p["values"], p["weights"], step_size[None])
        moves.append((after - W) / step_size[:, None, None])
        W = after

    def held(W0: Tensor, step_sizes: Tensor) -> Tensor:
        return (W0 + sum(eta[:, None, None] * move for eta, move in zip(step_sizes, moves, strict=True))).sin().sum()

    W0, etas = p["W0"].clone().requires_grad_(), p["step_sizes"].clone().requires_grad_()
    adapt(**(p | {"W0": W0, "step_sizes": etas}), first_order=True).sin().sum().backward()
    epsilon = 1e-6
    for parameter, build in ((W0, lambda x: held(x, p["step_sizes"])), (etas, lambda x: held(p["W0"], x))):
        estimate = torch.zeros_like(parameter)
        for index in range(parameter.numel()):
            nudge = torch.zeros(parameter.numel(), dtype=torch.float64)
            nudge[index] = epsilon
            nudge = nudge.view_as(parameter)
            estimate.view(-1)[index] = (build(parameter.detach() + nudge) - build(parameter.detach() - nudge)) / (
                2 * epsilon
            )
        torch.testing.assert_close(parameter.grad, estimate, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("readers", [1, T])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_both_forms_have_the_same_outer_gradient(steps: int, first_order: bool, affine: bool, readers: int) -> None:
    """With weights of each reader's own: the gradient form adapts to one reader after another."""
    p = problem(steps)
    g = torch.Generator().manual_seed(1)
    queries = torch.randn(B, H, readers, D, generator=g, dtype=torch.float64)
    p["W0"] = torch.randn(H, V, D + affine, generator=g, dtype=torch.float64)
    p["weights"] = torch.rand(B, H, readers, T, generator=g, dtype=torch.float64).tril(T - readers) / T
    inputs = {name: tensor.requires_grad_() for name, tensor in (p | {"queries": queries}).items()}

    def primal(
        W0: Tensor, keys: Tensor, values: Tensor, weights: Tensor, step_sizes: Tensor, queries: Tensor
    ) -> Tensor:
        keys, queries = (_with_one(one) if affine else one for one in (keys, queries))
        fast = [
            adapt(W0, keys, values, weights[:, :, reader], step_sizes, first_order=first_order)
            for reader in range(readers)
        ]
        return torch.stack([(W @ queries[:, :, at, :, None]).squeeze(-1) for at, W in enumerate(fast)], 2)

    def slopes(out: Tensor) -> dict[str, Tensor | None]:
        found = torch.autograd.grad(out.sin().sum(), list(inputs.values()), allow_unused=True)
        return dict(zip(inputs, found, strict=True))

    ours, expected = read(**inputs, first_order=first_order), primal(**inputs)
    torch.testing.assert_close(ours, expected)
    dual, by_hand = slopes(ours), slopes(expected)
    reached = {"W0", "step_sizes", "queries"} if first_order else set(inputs)
    assert {name for name, slope in dual.items() if slope is not None} == reached
    for name in reached:
        torch.testing.assert_close(dual[name], by_hand[name])


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_averaging_before_a_map_is_averaging_what_is_mapped(steps: int) -> None:
    p = problem(steps)
    g = torch.Generator().manual_seed(1)
    maps = torch.randn(H, V, D, generator=g, dtype=torch.float64)
    events = torch.randn(B, T, D, generator=g, dtype=torch.float64)
    weights = p["weights"][:, :, None]
    prior = p["W0"][..., 0]
    mapped = events[:, None] @ maps.transpose(-1, -2)
    found = average_mapped(prior, maps, events, weights, p["step_sizes"])
    torch.testing.assert_close(found, average(prior, mapped, weights, p["step_sizes"]))


def test_first_and_second_order_differ_but_adapt_alike() -> None:
    p = problem(2)
    gradients = []
    for first_order in (False, True):
        W0 = p["W0"].clone().requires_grad_()
        out = adapt(**(p | {"W0": W0}), first_order=first_order)
        torch.testing.assert_close(out, adapt(**p))
        gradients.append(torch.autograd.grad(out.square().sum(), W0)[0])
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-2)


def test_support_weights_fade_shrink_and_hide() -> None:
    strength = torch.tensor([[0.0, 1.0, 2.0, 1.0]])  # the first slot is empty
    left = fading(torch.tensor([0.0, 1.0]), 2, 4) * strength[:, None, None]
    weights = support_weights(left, torch.ones(2, 1, 1))
    assert weights.shape == (1, 2, 2, 4)
    torch.testing.assert_close(weights[0, 0], torch.tensor([[0, 0.25, 0.5, 0], [0, 0.2, 0.4, 0.2]]))
    newest = weights[0, 1, 1]
    e = torch.e
    torch.testing.assert_close(newest, torch.tensor([0, e**-2, 2 * e**-1, 1]) / (e**-2 + 2 * e**-1 + 1 + 1))


def test_the_last_of_a_longer_table_fade_as_those_of_a_shorter_one() -> None:
    decay = torch.tensor([0.0, 0.3, 2.0])
    torch.testing.assert_close(fading(decay, 9, 9)[:, -2:, -5:], fading(decay, 2, 5))


def test_a_reader_who_weighs_by_likeness_reads_as_softmax_attention_does() -> None:
    """One whole step from 0 with a constant key; the shrinkage is a logit that says nothing."""
    g = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(B, H, T, D, generator=g, dtype=torch.float64) for _ in range(3))
    logits = 2 * queries @ keys.transpose(-1, -2)
    left = fading(torch.zeros(H, dtype=torch.float64), T, T)
    weights = support_weights(left, torch.ones(H, 1, 1, dtype=torch.float64), torch.exp(logits))
    found = average(torch.zeros(H, D, dtype=torch.float64), values, weights, torch.ones(1, H, dtype=torch.float64))
    hidden = logits.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf)
    attention = torch.cat([hidden, torch.zeros(B, H, T, 1, dtype=torch.float64)], -1).softmax(-1)[..., :-1]
    torch.testing.assert_close(found, attention @ values)


@pytest.mark.parametrize("readers", [1, T])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_affine_map_is_a_linear_one_of_keys_with_a_one(readers: int, steps: int) -> None:
    p = problem(steps)
    g = torch.Generator().manual_seed(1)
    W0 = torch.randn(H, V, 1 + D, generator=g, dtype=torch.float64)
    queries = F.normalize(torch.randn(B, H, readers, D, generator=g, dtype=torch.float64), dim=-1)
    weights = p["weights"][:, :, None].expand(B, H, readers, T)
    fast = adapt(W0, _with_one(p["keys"]), p["values"], p["weights"], p["step_sizes"])
    expected = _with_one(queries) @ fast.transpose(-1, -2)
    torch.testing.assert_close(read(W0, p["keys"], p["values"], weights, p["step_sizes"], queries), expected)


def _with_one(keys: Tensor) -> Tensor:
    return F.pad(keys, (1, 0), value=1.0) / 2**0.5
