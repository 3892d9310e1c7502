"""Profiles: the device, runtime, precision and batch on which a latency means something."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from archfront.space.errors import ArchfrontError, nearest
from archfront.space.files import write_text

from . import worker

PROTOCOL = 3
"""Version of how latency is measured; raised when numbers of the old way must not stand beside new ones."""

RuntimeName = Literal["onnxruntime", "torch", "torch-compile", "aotinductor", "openvino", "executorch", "litert"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
TransportName = Literal["local", "ssh", "adb"]


class LatencyError(ArchfrontError):
    """Latency cannot be measured or predicted: says what failed, where, and what would work."""


class Profile(BaseModel):
    """Everything that decides what a latency in milliseconds means, and what was measured once on the device.

    Two results belong together only if their profiles have the same `digest`, which covers the fields in `DECISIVE`:
    those that decide a latency. The others are a label, the way to the device, and figures about it.

    Args:
        name: what people call the device.
        device: what computes, "cpu" or "gpu".
        processor: model name of the processor.
        accelerator: model name of the GPU that computes, None where the processor does.
        cores: logical cores that a process may use there.
        affinity: the cores that measuring is pinned to, None for all that a process may use.
        system: operating system, release and machine type.
        governor: frequency governor of the first core, None where the system does not say.
        memory_bytes: main memory, None where the system does not say.
        runtime: what executes the network.
        runtime_version: its version.
        provider: the back end inside the runtime.
        threads: threads that compute one inference.
        precision: number format of weights and activations.
        batch: inputs an inference.
        layout: order of the input dimensions.
        transport: how the device is reached.
        address: where, None for this machine.
        protocol: version of the measuring protocol.
        reference_ms: best-case latency of the reference network.
        reference_spread: median of its runs over the best one.
        flops_per_s, bytes_per_s, cache_bytes_per_s, cache_bytes: the device's peaks for `threads` and `precision`.
        energy: where energy readings come from, None where there are none.
        date: day on which all this was found, YYYY-MM-DD.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    device: Literal["cpu", "gpu"] = "cpu"
    processor: str
    accelerator: str | None = None
    cores: int = Field(ge=1)
    affinity: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] | None = None
    system: str
    governor: str | None = None
    memory_bytes: int | None = None
    runtime: RuntimeName
    runtime_version: str
    provider: str
    threads: int = Field(default=1, ge=1)
    precision: Precision = "fp32"
    batch: int = Field(default=1, ge=1)
    layout: Literal["NCHW"] = "NCHW"
    transport: TransportName = "local"
    address: str | None = None
    protocol: int = PROTOCOL
    reference_ms: float | None = Field(default=None, gt=0)
    reference_spread: float | None = Field(default=None, ge=1)
    flops_per_s: float | None = Field(default=None, gt=0)
    bytes_per_s: float | None = Field(default=None, gt=0)
    cache_bytes_per_s: float | None = Field(default=None, gt=0)
    cache_bytes: int | None = Field(default=None, ge=0)
    energy: str | None = None
    date: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")

    @model_validator(mode="after")
    def _address_where_one_is_needed(self) -> Profile:
        if (self.transport == "local") != (self.address is None):
            fault = "needs an address" if self.address is None else "has no address"
            raise ValueError(f"transport {self.transport} {fault}")
        return self

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify what a latency means, whatever the device's name and address."""
        text = json.dumps(self._decisive(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _decisive(self) -> dict[str, Any]:
        """The fields of the digest; those that older profiles do not have count where they say something."""
        values = self.model_dump(include=set(DECISIVE))
        return {key: value for key, value in values.items() if key not in YOUNGER or value is not None}

    def differences(self, other: Profile) -> list[str]:
        """What makes the digests differ, a text a field: `threads: 1 here, 2 there`; here is this profile."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [f"{key}: {mine[key]!r} here, {theirs[key]!r} there" for key in DECISIVE if mine[key] != theirs[key]]

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
        """Write the profile as TOML, in one piece.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        write_text(path, self.to_toml())

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
            problems = (": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())
            raise LatencyError(f"profile {where}: {'; '.join(problems)}") from None


DECISIVE = (
    "device", "processor", "accelerator", "cores", "affinity", "system", "governor", "runtime", "runtime_version", "provider",
    "threads", "precision", "batch", "layout", "protocol",
)  # fmt: skip
"""The fields that decide a latency. A board is the same device at another address, and over another wire."""

YOUNGER = ("accelerator", "affinity")
"""The fields among them that the first profiles did not have."""


# --------------------------------------------------------------------------- runtimes


class Engine(NamedTuple):
    """What profiles need to know about a runtime.

    Args:
        package: what brings it, a key of `worker.PACKAGES`.
        provider: its usual back end.
        install: what pip installs to get it.
    """

    package: str
    provider: str
    install: str


ENGINES: dict[RuntimeName, Engine] = {
    "onnxruntime": Engine("onnxruntime", "CPUExecutionProvider", "onnxruntime"),
    "torch": Engine("torch", "eager", "torch"),
    "torch-compile": Engine("torch", "inductor", "torch"),
    "aotinductor": Engine("torch", "inductor", "torch"),
    "openvino": Engine("openvino", "CPU", "archfront[openvino]"),
    "executorch": Engine("executorch", "XnnpackBackend", "archfront[executorch]"),
    "litert": Engine("litert", "XNNPACK", "archfront[litert]"),
}

ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
"""Providers of ONNX Runtime that compute on a GPU of NVIDIA."""


def gpu_name() -> str:
    """The model of the first GPU of this machine.

    Raises:
        LatencyError: nvidia-smi does not say.
    """
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise LatencyError(f"cannot tell which GPU this is, and results of two are never mixed: {error}") from None
    return done.stdout.strip()


def engine(runtime: str) -> Engine:
    """What is known of a runtime.

    Raises:
        LatencyError: there is none of that name.
    """
    if runtime not in ENGINES:
        raise LatencyError(f"unknown runtime {runtime!r}{nearest(runtime, ENGINES)}")
    return ENGINES[runtime]


def described(
    facts: Mapping[str, Any],
    name: str,
    runtime: RuntimeName = "onnxruntime",
    *,
    provider: str | None = None,
    **settings: Any,
) -> Profile:
    """The profile of a device from what a transport's probe found there.

    Args:
        facts: as `worker.probe` lists them.
        name: of the device.
        runtime: what executes networks there.
        provider: its back end; None takes the usual one.
        settings: further fields of the profile, such as `threads`.

    Raises:
        LatencyError: a runtime that is unknown or not installed there, or a setting that is no setting.
    """
    known = engine(runtime)
    if known.package not in facts["runtimes"]:
        found = ", ".join(f"{key} {version}" for key, version in facts["runtimes"].items()) or "none"
        where = "here" if settings.get("transport", "local") == "local" else "on the device"
        raise LatencyError(
            f"runtime {runtime!r} is not installed {where} (found: {found}): pip install '{known.install}'"
        )
    provider = provider or known.provider
    if provider in ON_GPU:
        if settings.get("transport", "local") != "local":
            raise LatencyError(f"{provider} is measured on this machine only: run archfront on the one with the GPU")
        settings = {**settings, "device": "gpu", "accelerator": gpu_name()}
    fields = ("processor", "cores", "system", "governor", "memory_bytes")
    data = {
        "name": name,
        **{field: facts[field] for field in fields},
        "runtime": runtime,
        "runtime_version": facts["runtimes"][known.package],
        "provider": provider,
        **settings,
    }
    return Profile.from_dict(data, f"of {name!r}")


def as_found(asked: Profile, facts: Mapping[str, Any]) -> Profile:
    """`asked`, with everything about its device, system and runtime as a probe finds it now.

    Raises:
        LatencyError: the runtime is not installed there any more.
    """
    settings = ("affinity", "threads", "precision", "batch", "transport", "address")
    kept = {field: getattr(asked, field) for field in settings}
    return described(facts, asked.name, asked.runtime, provider=asked.provider, **kept)


def require_found(asked: Profile, facts: Mapping[str, Any]) -> None:
    """Refuse to measure on a device that is not, or no longer, what its profile says.

    Raises:
        LatencyError: `facts` belong to another machine, system, runtime version or protocol; names the fields.
    """
    as_found(asked, facts).require(asked, f"profile {asked.name!r}")


# --------------------------------------------------------------------------- by name


def local_profile(runtime: RuntimeName = "onnxruntime", threads: int = 1, **settings: Any) -> Profile:
    """This machine's processor with `runtime`, as it is now; `settings` are further fields.

    Raises:
        LatencyError: the runtime is unknown or not installed.
    """
    name = "local-cpu" if runtime == "onnxruntime" else f"local-cpu-{runtime}"
    return described(worker.probe(), name, runtime, threads=threads, **settings)


LOCAL: dict[str, RuntimeName] = {
    "local-cpu" if runtime == "onnxruntime" else f"local-cpu-{runtime}": runtime for runtime in get_args(RuntimeName)
}
"""Profiles that are probed when they are asked for, and their runtimes."""


def devices_folder() -> Path:
    """Where `archfront device add` keeps profiles: `$ARCHFRONT_DEVICES`, or `archfront/devices` where configuration is.

    That is `$XDG_CONFIG_HOME`, or `~/.config`.
    """
    own = os.environ.get("ARCHFRONT_DEVICES")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "archfront" / "devices"


def device_names() -> list[str]:
    """The devices that were added, in order."""
    return sorted(file.stem for file in devices_folder().glob("*.toml"))


def shipped() -> dict[str, Path]:
    """Profiles that come with archfront, by name: machines that it was really measured on."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "measured").glob("*.toml"))}


def profile(name: str | Path) -> Profile:
    """The profile called `name`.

    Args:
        name: "local-cpu" (this machine with ONNX Runtime), "local-cpu-RUNTIME", a device that was added, one that
            archfront brings along, or a path that ends in .toml.

    Raises:
        LatencyError: no such profile; lists what there is.
    """
    if str(name) in LOCAL:
        return local_profile(LOCAL[str(name)])
    if Path(name).suffix == ".toml":
        return Profile.load(name)
    added = device_names()
    if str(name) in added:
        return Profile.load(devices_folder() / f"{name}.toml").model_copy(update={"name": str(name)})
    if str(name) in shipped():
        return Profile.load(shipped()[str(name)])
    raise LatencyError(
        f"unknown device {str(name)!r}{nearest(str(name), [*LOCAL, *added, *shipped()])}; "
        "archfront device add makes one; a path ending in .toml works too"
    )


def require_local(asked: Profile) -> None:
    """Refuse to measure here what belongs to another machine, runtime version or protocol.

    Raises:
        LatencyError: `asked` does not describe this machine; names the fields.
    """
    require_found(asked, worker.probe())
