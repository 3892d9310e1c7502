"""ResNet-50 with deformable convolutions against the sum of its parts."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.references import references


def test_offsets_add_one_convolution_to_each_of_thirteen_blocks() -> None:
    blocks = {128: 4, 256: 6, 512: 3}
    reference = references["ResNet-50 + DCNv2 (c3-c5)"]
    with torch.device("meta"):
        params = sum(p.numel() for p in reference.architecture().build().parameters())
    added = sum(n * (9 * c + 1) * 27 for c, n in blocks.items())
    assert params == reference.params == references["resnet50"].params + added
    assert f"{params / 1e6:.2f}" == "26.43"
    positions = {128: 28**2, 256: 14**2, 512: 7**2}
    macs = cost(references["resnet50"].architecture()).contractions
    macs += sum(n * 9 * c * 27 * positions[c] for c, n in blocks.items())
    found = cost(reference.architecture()).contractions
    assert found == macs
    assert found / 1e9 == pytest.approx(4.28, rel=0.001)
