"""Arguments and answers on the two sides of the pipe: tensors there, plain values here."""

from typing import Any

import numpy as np
import torch


def as_torch(value: Any) -> Any:
    """Arrays as torch tensors of their own memory, whatever they are nested in."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, list):
        return [as_torch(item) for item in value]
    if isinstance(value, tuple):
        return tuple(as_torch(item) for item in value)
    if isinstance(value, dict):
        return {key: as_torch(item) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """A value as it looks after the pipe: tensors are arrays, tuples lists."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
