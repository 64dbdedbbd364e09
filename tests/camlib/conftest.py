"""Results are compared with those of a CPU, some to the bit: a GPU is hidden."""

import pytest
import torch


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
