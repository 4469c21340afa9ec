"""The inner loop: a support set in, fast weights out. Pure, and the only inner loop in the project.

Fast weights are a linear map W from keys to values. Starting at the meta-learned W_0, each inner step goes down the
gradient of the weighted squared error over the support set,

    L(W) = 1/2 sum_t a_t |W k_t - v_t|^2        W_(j+1) = W_j - eta_j sum_t a_t (W_j k_t - v_t) k_t^T,

which is MAML's inner loop (Finn et al. 2017, arXiv:1703.03400) with learned step sizes (Li et al. 2017, Meta-SGD,
arXiv:1707.09835), the gradient written out by hand. `adapt` returns W_K. `read` returns W_K q without ever forming W_K,
for many reading positions that each weigh the support set in their own way, or for one; the two agree.

Letters: B users, H heads, T support events, Q reading positions, D key width, V value width, K inner steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

HALF = 0.5**0.5


def adapt(
    W0: Tensor, keys: Tensor, values: Tensor, weights: Tensor, step_sizes: Tensor, *, first_order: bool = False
) -> Tensor:
    """Move W0 down the gradient of the weighted squared error, one step for each step size.

    Args:
        W0: the prior, (H, V, D) or (B, H, V, D).
        keys: (B, H, T, D).
        values: (B, H, T, V).
        weights: how much each event counts, (B, H, T); 0 for an empty slot.
        step_sizes: (K, H). With K = 0 the prior comes back unchanged.
        first_order: treat each inner gradient as a constant, as first-order MAML does. The outer gradient then reaches
            W0 and the step sizes, but not the keys, values and weights.
    Returns:
        The fast weights W_K, (B, H, V, D).
    """
    W = W0.expand(keys.shape[0], *W0.shape[-3:])
    for step_size in step_sizes:
        errors = keys @ W.transpose(-1, -2) - values  # (B, H, T, V)
        gradient = (weights.unsqueeze(-1) * errors).transpose(-1, -2) @ keys  # (B, H, V, D)
        W = W - step_size[:, None, None] * (gradient.detach() if first_order else gradient)
    return W


def read(
    W0: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    step_sizes: Tensor,
    queries: Tensor,
    *,
    first_order: bool = False,
) -> Tensor:
    """Adapt and read in the dual form: what `adapt` would give at each query, without forming the fast weights.

    The error after a step is linear in the error before it, E_(j+1) = (I - eta_j G A) E_j from E_0 = V - K W_0^T on,
    with G the keys' Gram matrix and A = diag(a), so W_K q = W_0 q + E_0^T c with one coefficient an event. Horner's
    rule gives c from the last step to the first, u_j = eta_j A s + u_(j+1) - eta_j A G u_(j+1) with s = K q: after the
    first step, a further one costs one (Q, T) x (T, T) product, whatever the widths. With K = 1 this is linear
    attention with the delta rule's error (Schlag et al. 2021, arXiv:2102.11174); with several steps it is batch
    test-time training (Sun et al. 2024, arXiv:2407.04620).

    Args:
        W0: (H, V, D), or (H, V, 1 + D) for an affine map: keys and queries then stand for [1, k] / sqrt(2), of unit
            length where k is, and these are never formed.
        keys: (B, H, T, D).
        values: (B, H, T, V).
        weights: each reader's own weights, (B, H, Q, T); 0 hides an event from a reader (the future, an empty slot).
        step_sizes: (K, H).
        queries: (B, H, Q, D).
        first_order: as in `adapt`: the outer gradient reaches W0, the step sizes and the queries alone. Horner's rule
            has eta_j twice: as the size of step j, and in the errors of the steps after it, which are constants then.
    Returns:
        (B, H, Q, V).
    """
    affine = W0.shape[-1] > keys.shape[-1]
    held, past = W0, step_sizes
    if first_order:
        held, keys, values, weights, past = (given.detach() for given in (held, keys, values, weights, past))
    if len(step_sizes) == 0:
        return _prior(W0, queries, 1.0)
    matches = queries @ keys.transpose(-1, -2)
    etas, past = step_sizes[..., None, None], past[..., None, None]
    # A s, (B, H, Q, T); of an affine map s is 1 / 2 + q . k / 2, and the half is left to the step sizes
    matches = torch.addcmul(weights, weights, matches) if affine else weights * matches
    pulls = 0.5 * etas if affine else etas
    coefficients = pulls[-1] * matches
    if len(step_sizes) > 1:
        gram = keys @ keys.transpose(-1, -2)  # (B, H, T, T)
        gram = 0.5 + 0.5 * gram if affine else gram
        for pull, before in zip(reversed(pulls[:-1].unbind()), reversed(past[:-1].unbind()), strict=True):
            coefficients = pull * matches - before * weights * (coefficients @ gram) + coefficients
    if queries.shape[2] == 1 and not first_order:  # one reader: all events are brought to one before they are mapped
        told = coefficients.sum(-1, keepdim=True)
        return coefficients @ values + _prior(W0, queries - coefficients @ keys, 1 - told)
    return _prior(W0, queries, 1.0) + coefficients @ (values - _prior(held, keys, 1.0))


def _prior(W0: Tensor, x: Tensor, share: Tensor | float) -> Tensor:
    """What the prior says at x, (B, H, Q, D), or at [share, x] / sqrt(2) where it is affine: (B, H, Q, V)."""
    if W0.shape[-1] == x.shape[-1]:
        return x @ W0.transpose(-1, -2)
    constant, linear = W0[..., None, :, 0], W0[..., 1:].transpose(-1, -2)
    return HALF * (x @ linear + share * constant)


def average(W0: Tensor, values: Tensor, weights: Tensor, step_sizes: Tensor, *, first_order: bool = False) -> Tensor:
    """`read` where every key and query is the number 1: the fast weights are one vector a head, drawn to the values.

    With m = sum_t a_t the errors stay the same for all events but for their values, and Horner's rule runs on a single
    number a reader: W_K = W_0 + g (sum_t a_t v_t - m W_0), g = eta_K, then g <- eta_j + g - eta_j g m.

    Args:
        W0: (H, V).
        values: (B, T, V), shared by the heads, or (B, H, T, V).
        weights: (B, H, Q, T).
        step_sizes: (K, H).
        first_order: as in `read`.
    Returns:
        (B, H, Q, V).
    """
    prior = W0.unsqueeze(1)
    if len(step_sizes) == 0:
        return prior.expand(*weights.shape[:3], -1)
    held, past = prior, step_sizes
    if first_order:
        held, values, weights, past = (given.detach() for given in (prior, values, weights, past))
    moved = _gain(weights.sum(-1, keepdim=True), step_sizes, past) * weights
    flat = moved if values.ndim == 4 else moved.flatten(1, 2)
    summed = (flat @ values).view(*moved.shape[:3], -1)
    told = moved.sum(-1, keepdim=True)
    if first_order:
        return prior + torch.addcmul(summed, told, held, value=-1)
    return torch.addcmul(summed, 1 - told, prior)


def average_mapped(W0: Tensor, maps: Tensor, events: Tensor, weights: Tensor, step_sizes: Tensor) -> Tensor:
    """`average` of each head's own map of the events, for one reader, without an outer gradient of first order.

    It is affine in the values, W_0 + g (sum_t a_t v_t - m W_0): the events are averaged first and mapped once.

    Args:
        W0: (H, V).
        maps: (H, V, d).
        events: (B, T, d).
        weights: (B, H, 1, T).
        step_sizes: (K, H).
    Returns:
        (B, H, 1, V).
    """
    prior = W0.unsqueeze(1)
    if len(step_sizes) == 0:
        return prior.expand(*weights.shape[:3], -1)
    moved = _gain(weights.sum(-1, keepdim=True), step_sizes, step_sizes) * weights
    averaged = moved.squeeze(2) @ events  # (B, H, d)
    mapped = (averaged.transpose(0, 1) @ maps.transpose(1, 2)).transpose(0, 1)  # no copy of a map a user
    return mapped.unsqueeze(2) + (1 - moved.sum(-1, keepdim=True)) * prior


def _gain(mass: Tensor, step_sizes: Tensor, past: Tensor) -> Tensor:
    """g of `average`, of events that weigh `mass` together, (B, H, Q, 1); (H, 1, 1) after a single step.

    `past`: the step sizes, (K, H), as the errors know them.
    """
    etas, past = (sizes.unsqueeze(-1).unsqueeze(-1) for sizes in (step_sizes, past))
    out = etas[-1]
    for eta, before in zip(reversed(etas[:-1].unbind()), reversed(past[:-1].unbind()), strict=True):
        out = eta + out - before * out * mass
    return out


def fading(decay: Tensor, readers: int, T: int) -> Tensor:
    """How much of T events remains for each of the last Q to read: exp(-decay age), 0 of those after it.

    Args:
        decay: the fading an event, per head, (H,), at least 0.
        readers: Q; the readers sit at the last Q events, each seeing itself and what came before.
    Returns:
        (H, Q, T).
    """
    event = torch.arange(T, device=decay.device)
    age = (event[T - readers :, None] - event).to(decay.dtype)
    return torch.exp(-decay[:, None, None] * age.clamp(min=0)) * (age >= 0)


def support_weights(remaining: Tensor, shrinkage: Tensor, likeness: Tensor | None = None) -> Tensor:
    """Weights a_(q, t) of the events for each reader, from what is left of their strength.

    The weights of one reader sum to less than 1, for they are divided by their sum plus a shrinkage: the fewer events
    a user has, the nearer to the prior the fast weights stay, and step sizes up to 2 cannot diverge on unit keys.

    With a likeness each reader fits the events like itself best, and others hardly (locally weighted learning, Atkeson
    et al. 1997). Where that is exp(beta q . k) and the key a constant, one whole step from 0 is softmax attention.

    Args:
        remaining: an event's strength times its fading for the reader, (B, H, Q, T); 0 hides it.
        shrinkage: pseudo-events behind the prior, per head, (H, 1, 1), positive.
        likeness: of each event to each reader, (B, H, Q, T), positive; 1 for a pseudo-event.
    Returns:
        (B, H, Q, T).
    """
    if likeness is not None:
        remaining = remaining * likeness
    return remaining / (remaining.sum(-1, keepdim=True) + shrinkage)
