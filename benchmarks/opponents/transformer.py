"""SASRec's network (Kang & McAuley 2018, arXiv:1808.09781), pre-normalised.

With `normalised`, item vectors have unit length and the logits a learned temperature.

Letters: B users, T events, N items, d width, H heads, D = d / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.episode import Support


class Layer(nn.Module):
    """Causal self-attention and a feed-forward layer, both residual."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d); `visible`, (B, 1, T, T): which events each position sees."""
        query, key, value = (
            self.query_key_value(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        chance = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible, dropout_p=chance)
        x = x + F.dropout(self.out(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + F.dropout(self.feed(self.feed_norm(x)), self.dropout, self.training)


class Transformer(nn.Module):
    """From histories to a vector after each event, to score all items with."""

    def __init__(
        self, items: int, width: int, blocks: int, heads: int, length: int, dropout: float, normalised: bool
    ) -> None:
        super().__init__()
        self.width, self.length, self.normalised = width, length, normalised
        self.items = nn.Parameter(torch.randn(items, width) * (width**-0.5 if normalised else 0.02))
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)  # counted back from the newest slot
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def place(self, directions: Tensor) -> None:
        """Begin with the items at these unit vectors, (N, d); those at 0 stay where they are."""
        placed = directions * (1.0 if self.normalised else self.items.norm(dim=-1).mean())
        self.items.copy_(torch.where(directions.any(-1, keepdim=True), placed, self.items))

    def table(self) -> Tensor:
        """The item vectors, (N, d)."""
        return F.normalize(self.items, dim=-1) if self.normalised else self.items

    def forward(self, table: Tensor, support: Support) -> Tensor:
        """What follows each event, (B, T, d): the logits are its products with `table`, (N, d)."""
        T = support.rows.shape[1]
        x = self.dropout(table[support.rows] * self.width**0.5 + self.positions[-T:])
        x = x * support.mask[:, :, None]
        causal = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
        itself = torch.eye(T, dtype=torch.bool, device=x.device)  # an empty slot sees itself, lest softmax see nothing
        visible = (causal & support.mask[:, None, None, :]) | itself
        for layer in self.layers:
            x = layer(x, visible)
        out: Tensor = self.norm(x)
        return out * self.log_temperature.exp() if self.normalised else out
