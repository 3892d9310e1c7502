"""Architectures: networks with nothing left to choose."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from .errors import SpecError
from .network import Part, leaves
from .serial import SCHEMA, check_schema, decode, encode
from .spec import Spec
from .types import FeatureType


@dataclass(frozen=True, eq=True)
class Architecture:
    """One network: its spec and the type of its input. Hashable; `digest` is the same on every machine.

    Raises:
        SpecError: `network` still holds choices.
        ShapeError: `network` does not take `input`.
    """

    input: FeatureType
    network: Spec

    def __post_init__(self) -> None:
        if self.network.has_choices:
            raise SpecError("an architecture has nothing left to choose; Space(input=..., network=...) takes choices")
        self.output  # noqa: B018 - checks every shape

    @classmethod
    def known_good(cls, input: FeatureType, network: Spec) -> Architecture:
        """An architecture whose shapes a space has checked already."""
        new = object.__new__(cls)
        new.__dict__.update(input=input, network=network)
        return new

    @cached_property
    def output(self) -> FeatureType:
        """The feature type that the network yields."""
        return self.network.output(self.input)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are counted, measured and shared one by one, in the order of the forward pass."""
        return tuple(leaves(self.network, self.input))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that identify the architecture."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build(self) -> nn.Module:
        """The stand-alone module, freshly initialised."""
        return self.network.build(self.input)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back."""
        return {"schema": SCHEMA, "input": self.input.to_dict(), "network": encode(self.network)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Architecture:
        """The architecture that `to_dict` wrote."""
        check_schema(data, "architecture", "input", "network")
        network = decode(data["network"], "network")
        if not isinstance(network, Spec):
            raise SpecError(f"network: expected a spec, got {network!r}")
        return Architecture(FeatureType.from_dict(data["input"]), network)

    def save(self, path: str | Path) -> None:
        """Write the architecture as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    @staticmethod
    def load(path: str | Path) -> Architecture:
        """Read an architecture from JSON or YAML."""
        from .serial import read

        return Architecture.from_dict(read(path))
