"""Profiles: the device, runtime, precision and batch on which a latency means something."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archfront.space.errors import ArchfrontError, nearest

PROTOCOL = 1
"""Version of how latency is measured; raised when numbers of the old way must not stand beside new ones."""

RuntimeName = Literal["onnxruntime", "torch"]


class LatencyError(ArchfrontError):
    """Latency cannot be measured or predicted: says what failed, where, and what would work."""


class Profile(BaseModel):
    """Everything that decides what a latency in milliseconds means.

    Two results belong together only if their profiles have the same `digest`; `name` is a label and not part of it.

    Args:
        name: what people call the device.
        device: "cpu".
        processor: model name of the processor.
        cores: logical cores that this process may use.
        system: operating system, release and machine type.
        governor: frequency governor of the first core, None where the system does not say.
        runtime: what executes the network.
        runtime_version: its version.
        provider: the back end inside the runtime.
        threads: threads that compute one inference.
        precision: number format of weights and activations.
        batch: inputs an inference.
        layout: order of the input dimensions.
        protocol: version of the measuring protocol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1)
    device: Literal["cpu"] = "cpu"
    processor: str
    cores: int = Field(ge=1)
    system: str
    governor: str | None = None
    runtime: RuntimeName
    runtime_version: str
    provider: str
    threads: int = Field(default=1, ge=1)
    precision: Literal["fp32"] = "fp32"
    batch: Literal[1] = 1
    layout: Literal["NCHW"] = "NCHW"
    protocol: int = PROTOCOL

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify the profile, whatever its name."""
        text = json.dumps(self.model_dump(exclude={"name"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: Profile) -> list[str]:
        """What makes the digests differ, a text a field: `threads: 1 here, 2 there`; here is this profile."""
        mine, theirs = self.model_dump(exclude={"name"}), other.model_dump(exclude={"name"})
        return [f"{key}: {mine[key]!r} here, {theirs[key]!r} there" for key in mine if mine[key] != theirs[key]]

    def require(self, other: Profile, what: str) -> None:
        """Refuse to let `what`, which belongs to `other`, stand beside results of this profile.

        Raises:
            LatencyError: the digests differ; names the fields.
        """
        if self.digest != other.digest:
            raise LatencyError(
                f"{what} belongs to another profile ({'; '.join(self.differences(other))}); "
                "latencies of different profiles are never mixed: measure again on this one"
            )

    def to_toml(self) -> str:
        """The profile as TOML; fields that are None are left out."""
        values = self.model_dump(exclude_none=True)
        return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())

    def save(self, path: str | Path) -> None:
        """Write the profile as TOML."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")

    @staticmethod
    def load(path: str | Path) -> Profile:
        """Read a profile from TOML.

        Raises:
            LatencyError: unreadable, or a key that is unknown, missing or ill-typed, by name.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise LatencyError(f"cannot read profile {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LatencyError(f"profile {path} is not TOML: {error}") from None
        return Profile.from_dict(data, str(path))

    @staticmethod
    def from_dict(data: Mapping[str, object], where: str) -> Profile:
        """The profile that `model_dump` gave; `where` names its source in errors."""
        try:
            return Profile.model_validate(data)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise LatencyError(f"profile {where}: {'; '.join(problems)}") from None


# --------------------------------------------------------------------------- this machine


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("model name", "hardware"):
                return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.is_file() else None


PROVIDERS: dict[str, str] = {"onnxruntime": "CPUExecutionProvider", "torch": "eager"}


def local_profile(runtime: RuntimeName = "onnxruntime", threads: int = 1) -> Profile:
    """This machine's processor with `runtime`, as it is now.

    Raises:
        LatencyError: the runtime is unknown or not installed.
    """
    if runtime not in get_args(RuntimeName):
        raise LatencyError(f"unknown runtime {runtime!r}{nearest(str(runtime), get_args(RuntimeName))}")
    try:
        version = importlib.metadata.version(runtime)
    except importlib.metadata.PackageNotFoundError:
        raise LatencyError(f"runtime {runtime!r} is not installed: pip install {runtime}") from None
    return Profile(
        name="local-cpu" if runtime == "onnxruntime" else f"local-cpu-{runtime}",
        processor=_processor(),
        cores=_cores(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        governor=_governor(),
        runtime=runtime,
        runtime_version=version,
        provider=PROVIDERS[runtime],
        threads=threads,
    )


LOCAL: dict[str, Callable[[], Profile]] = {
    "local-cpu": local_profile,
    "local-cpu-torch": lambda: local_profile("torch"),
}
"""Profiles that are probed when they are asked for."""


def profile(name: str | Path) -> Profile:
    """The profile called `name` ("local-cpu": ONNX Runtime; "local-cpu-torch": eager), or the one in a `.toml` file.

    Raises:
        LatencyError: no such profile; lists what there is.
    """
    if str(name) in LOCAL:
        return LOCAL[str(name)]()
    if Path(name).suffix == ".toml":
        return Profile.load(name)
    raise LatencyError(f"unknown device {str(name)!r}{nearest(str(name), LOCAL)}; a path ending in .toml works too")


def require_local(asked: Profile) -> None:
    """Refuse to measure here what belongs to another machine, runtime version or protocol.

    Raises:
        LatencyError: `asked` does not describe this machine; names the fields.
    """
    local_profile(asked.runtime, asked.threads).require(asked, f"profile {asked.name!r}")
