"""References of torch's own to tensors that are given to a compiled call, so that it runs to its end on its own.

Where the last reference but Python's goes, torch takes the interpreter's lock to say so. A trace drops each input after
its last use: without another reference it would stop there and wait for a busy event loop, 0.2 ms at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor


def held(*tensors: Tensor | None) -> torch.ScriptList[Tensor]:
    """What to keep until the call is back."""
    return torch.ScriptList([tensor for tensor in tensors if tensor is not None])
