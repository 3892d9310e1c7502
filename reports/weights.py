"""Reading weights with nothing but torch: the one function that every exported file carries along."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a .safetensors file into `network`: the length of a JSON header (8 bytes), the header, the raw tensors."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    state = {}
    for key, entry in json.loads(data[8:start]).items():
        if key != "__metadata__":
            first, last = entry["data_offsets"]
            values = torch.frombuffer(data[start + first : start + last], dtype=DTYPES[entry["dtype"]])
            state[key] = values.reshape(entry["shape"])
    network.load_state_dict(state)
    return network
