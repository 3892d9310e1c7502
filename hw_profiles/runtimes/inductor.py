"""Torch's own compiler: at run time (torch.compile), and ahead of time into a package that needs no Python."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Any

import torch

from ..profile import LatencyError, Profile
from .base import Runtime, Source
from .eager import Eager
from .quiet import quiet


def require_compiler() -> None:
    """Inductor writes C++ and has it compiled.

    Raises:
        LatencyError: there is no C++ compiler.
    """
    command = os.environ.get("CXX", "g++")
    if shutil.which(shlex.split(command)[0]) is None:
        raise LatencyError(
            f"torch's compiler needs a C++ compiler, and {command!r} is not on the PATH: install one "
            "(apt-get install g++), or name it in the environment variable CXX"
        )


class TorchCompile(Eager):
    """torch.compile with its defaults; every fresh process compiles again, from Inductor's cache where that is on."""

    name = "torch-compile"

    def require(self, profile: Profile) -> None:
        super().require(profile)
        require_compiler()

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        model, _ = super().convert(source)
        return model, "inductor"


class AotInductor(Runtime):
    """torch.export, then compiled ahead of time for the processor of this machine."""

    name = "aotinductor"
    precisions = ("fp32", "fp16", "bf16")

    def require(self, profile: Profile) -> None:
        super().require(profile)
        require_compiler()
        if profile.transport != "local":
            raise LatencyError("AOTInductor compiles for this machine's processor: use another runtime for a device")

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        module, inputs = source.cast()
        with quiet():
            program = torch.export.export(module, inputs)
            file = torch._inductor.aoti_compile_and_package(program, package_path=str(source.file(".pt2")))
        dtype = str(source.dtype).removeprefix("torch.")
        return {"kind": "aotinductor", "file": file, "shapes": source.shapes, "dtype": dtype}, "aotinductor"
