"""What goes wrong with a candidate is that candidate's affair; what goes wrong with the machine is not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from archfront.hw_profiles.metrics import Measurement
from archfront.search.evaluation import attempt
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.files import StorageError
from archfront.space.presets import preset_named
from archfront.space.types import Image

ARCHITECTURE = preset_named("micro").make(Image(1, 8, 8), 10).sample(0)


@pytest.mark.parametrize(
    "error",
    [
        ArchfrontError("diverged"),
        RuntimeError("shapes differ"),
        MemoryError(),
        ZeroDivisionError("a mean of nothing"),
        AssertionError("embed_dim must be divisible"),
        TypeError("unsupported operand"),
        KeyError("bias"),
    ],
)
def test_a_candidate_that_raises_whatever_its_blocks_raise_has_failed_with_that_reason(error: Exception) -> None:
    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        raise error

    outcome = attempt(evaluate, ARCHITECTURE)
    assert outcome.measurements == {}
    assert outcome.reason == f"{type(error).__name__}: {error}"


def test_a_dimension_that_torch_does_not_find_fails_the_candidate() -> None:
    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        return {"accuracy": Measurement(float(torch.zeros(2, 3).sum(dim=2)), "measured")}

    assert attempt(evaluate, ARCHITECTURE).reason.startswith("IndexError: Dimension out of range")


@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), OSError("no file handles left"), KeyboardInterrupt()]
)
def test_a_machine_that_fails_ends_the_search(error: BaseException) -> None:
    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        raise error

    with pytest.raises(type(error)):
        attempt(evaluate, ARCHITECTURE)
