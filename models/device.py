"""Where a model runs: on a GPU where there is one, unless told."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device was asked for that is not there."""


def find(name: str) -> torch.device:
    """The device that is called so; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises:
        DeviceError: this torch sees no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):  # the latter from a torch that is built without
        raise DeviceError(f"torch sees no device {name!r} here: take cpu, or auto for what there is") from None
