"""Profiles: what identifies them, how they are written, and that results of different ones never mix."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from archfront.hw_profiles import worker
from archfront.hw_profiles.profile import (
    DECISIVE,
    ENGINES,
    LOCAL,
    PROTOCOL,
    LatencyError,
    Profile,
    as_found,
    described,
    devices_folder,
    local_profile,
    profile,
    require_found,
    require_local,
    shipped,
)

OLD = """\
name = "board"
device = "cpu"
processor = "Cortex-A76"
cores = 4
system = "Linux 6.1 aarch64"
governor = "performance"
runtime = "onnxruntime"
runtime_version = "1.20.0"
provider = "CPUExecutionProvider"
threads = 1
precision = "fp32"
batch = 1
layout = "NCHW"
protocol = 1
"""
"""A file from before profiles knew of cores to pin to, transports and peaks."""

BOARD = Profile(
    name='board "7"', processor="Cortex-A76 \\ four", accelerator="a GPU", cores=4, affinity=(2, 3), system="Linux 6.1 aarch64",
    governor="performance", memory_bytes=8 << 30, runtime="onnxruntime", runtime_version="1.20.0",
    provider="CPUExecutionProvider", threads=2, precision="fp16", batch=8, transport="ssh", address="pi@board",
    reference_ms=1.25, reference_spread=1.5, flops_per_s=2.5e10, bytes_per_s=1e9, cache_bytes_per_s=4e10,
    cache_bytes=1 << 20, energy="a meter", date="2026-11-22",
)  # fmt: skip

DECIDES: dict[str, Any] = {
    "device": "gpu", "processor": "Cortex-A53", "accelerator": "another", "cores": 8, "affinity": (0,),
    "system": "Linux 5.4 aarch64", "governor": "powersave", "runtime": "torch",
    "runtime_version": "1.21.0", "provider": "other", "threads": 1,
    "precision": "int8", "batch": 1, "protocol": 99,
}  # fmt: skip
ABOUT: dict[str, Any] = {
    "name": "renamed", "memory_bytes": None, "transport": "adb", "address": "pi@elsewhere", "reference_ms": 2.0,
    "reference_spread": 1.0, "flops_per_s": 1.0, "bytes_per_s": 1.0, "cache_bytes_per_s": 1.0, "cache_bytes": 1,
    "energy": None, "date": "2027-01-01",
}  # fmt: skip
FACTS = {
    "processor": "Cortex-A76", "cores": 4, "affinity": [0, 1, 2, 3], "system": "Linux 6.1 aarch64",
    "governor": "performance", "memory_bytes": 8 << 30, "python": "3.11.2", "runtimes": {"onnxruntime": "1.20.0"},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of devices."""
    monkeypatch.setenv("ARCHFRONT_DEVICES", str(tmp_path))
    return tmp_path


# --------------------------------------------------------------------------- identity


def test_the_digest_covers_what_decides_a_latency_and_nothing_else() -> None:
    changed = {BOARD.model_copy(update={key: value}).digest for key, value in DECIDES.items()}
    assert len(changed) == len(DECIDES) and BOARD.digest not in changed
    for key, value in ABOUT.items():
        assert BOARD.model_copy(update={key: value}).digest == BOARD.digest, key
    assert {*DECIDES, "layout"} == set(DECISIVE)  # there is one layout
    assert {*DECISIVE, *ABOUT} == set(Profile.model_fields)


def test_a_file_of_the_first_version_loads_and_keeps_its_digest(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(OLD)
    values = dict(line.split(" = ") for line in OLD.splitlines())
    text = json.dumps({key: json.loads(value) for key, value in values.items() if key != "name"}, sort_keys=True)
    loaded = profile(tmp_path / "board.toml")
    assert loaded.digest == hashlib.sha256(text.encode()).hexdigest()[:16]
    today = described(FACTS, "of today")
    assert today.differences(loaded) == [f"protocol: {PROTOCOL} here, 1 there"]
    assert today.model_copy(update={"protocol": 1}).digest == loaded.digest


def test_a_different_profile_is_refused_by_the_names_of_the_fields_that_differ() -> None:
    with pytest.raises(LatencyError, match=r"the table belongs.*\(threads: 2 here, 1 there\).*never mixed"):
        BOARD.require(BOARD.model_copy(update={"threads": 1, "date": None}), "the table")
    BOARD.require(BOARD.model_copy(update={"name": "renamed"}), "the table")


# --------------------------------------------------------------------------- files


def test_toml_round_trip_keeps_every_field(tmp_path: Path) -> None:
    assert all(value is not None for value in BOARD.model_dump().values())
    BOARD.save(tmp_path / "board.toml")
    assert profile(tmp_path / "board.toml") == BOARD
    bare = BOARD.model_copy(update={"governor": None, "affinity": None, "accelerator": None, "energy": None})
    bare.save(tmp_path / "board.toml")
    assert Profile.load(tmp_path / "board.toml") == bare


def test_json_round_trip_keeps_every_field() -> None:
    assert Profile.from_dict(json.loads(json.dumps(BOARD.model_dump())), "json") == BOARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour = 'red'\n", "colour: Extra inputs"),
        ("threads = 'two'\n", "threads: Input should be a valid integer"),
        ("threads = 0\n", "threads: Input should be greater"),
        ("threads = = 1\n", "is not TOML"),
        ("affinity = []\n", "affinity: .*at least 1 item"),
        ("transport = 'ssh'\n", "transport ssh needs an address"),
        ("address = 'pi@board'\n", "transport local has no address"),
        ("date = 'today'\n", "date: "),
        ("reference_ms = nan\n", "reference_ms: "),
    ],
)
def test_a_bad_profile_file_names_the_key(tmp_path: Path, change: str, message: str) -> None:
    text = "".join(line for line in OLD.splitlines(True) if not line.startswith("threads"))
    (tmp_path / "board.toml").write_text(text + change)
    with pytest.raises(LatencyError, match=f"profile .*board.toml.*{message}"):
        profile(tmp_path / "board.toml")


# --------------------------------------------------------------------------- from what a probe finds


def test_a_device_is_described_by_its_facts_and_the_settings_asked_for() -> None:
    found = described(FACTS, "rpi", threads=4, precision="int8", affinity=(2, 3), transport="ssh", address="pi@board")
    assert (found.processor, found.cores, found.memory_bytes) == ("Cortex-A76", 4, 8 << 30)
    assert (found.runtime_version, found.provider) == ("1.20.0", "CPUExecutionProvider")
    assert (found.threads, found.precision, found.affinity, found.device) == (4, "int8", (2, 3), "cpu")


def test_a_gpu_is_part_of_the_profile_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LatencyError, match=r"cannot tell which GPU this is.*nvidia-smi"):
        described(FACTS, "server", provider="CUDAExecutionProvider")
    with pytest.raises(LatencyError, match="measured on this machine only"):
        described(FACTS, "server", provider="CUDAExecutionProvider", transport="ssh", address="server")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho A GPU of NVIDIA\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    found = described(FACTS, "server", provider="CUDAExecutionProvider")
    assert (found.device, found.accelerator) == ("gpu", "A GPU of NVIDIA")
    assert as_found(found, FACTS) == found


def test_what_changed_on_a_device_since_is_found_by_name() -> None:
    kept = described(FACTS, "rpi", threads=2, transport="ssh", address="pi@board")
    require_found(kept, FACTS)
    assert as_found(kept, FACTS) == kept
    updated = {**FACTS, "governor": "powersave", "runtimes": {"onnxruntime": "1.21.0"}}
    with pytest.raises(LatencyError, match=r"profile 'rpi'.*governor: 'powersave' here.*runtime_version: '1.21.0'"):
        require_found(kept, updated)
    with pytest.raises(LatencyError, match="'onnxruntime' is not installed on the device"):
        require_found(kept, {**FACTS, "runtimes": {}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runtime": "onnxruntim"}, "unknown runtime 'onnxruntim'; did you mean 'onnxruntime'"),
        ({"runtime": "openvino"}, r"'openvino' is not installed here \(found: onnxruntime 1.20.0\).*archfront\[openv"),
        ({"precision": "fp8"}, "precision: Input should be 'fp32'"),
        ({"batch": 0}, "batch: "),
        ({"colour": "red"}, "colour: Extra"),
    ],
)
def test_settings_that_a_device_cannot_have_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LatencyError, match=message):
        described(FACTS, "rpi", **arguments)


# --------------------------------------------------------------------------- by name


def test_local_profiles_differ_in_runtime_and_are_stable() -> None:
    deployed, eager = profile("local-cpu"), profile("local-cpu-torch")
    assert (deployed.runtime, eager.runtime) == ("onnxruntime", "torch")
    assert deployed.digest == local_profile().digest != eager.digest
    assert deployed.cores >= 1 and deployed.processor
    require_local(deployed)


def test_every_runtime_has_a_local_profile_or_says_how_to_get_it() -> None:
    assert set(LOCAL.values()) == set(ENGINES)
    for name, runtime in LOCAL.items():
        if worker.installed(ENGINES[runtime].package):
            assert (profile(name).name, profile(name).runtime) == (name, runtime)
        else:
            with pytest.raises(LatencyError, match=rf"pip install 'archfront\[{runtime}\]'"):
                profile(name)


def test_measuring_for_another_machine_is_refused() -> None:
    with pytest.raises(LatencyError, match="processor"):
        require_local(BOARD)


def test_added_devices_are_found_by_the_name_of_their_file(folder: Path) -> None:
    BOARD.save(folder / "rpi.toml")
    assert profile("rpi") == BOARD.model_copy(update={"name": "rpi"})
    with pytest.raises(LatencyError, match=r"unknown device 'rip'; did you mean 'rpi'\?"):
        profile("rip")


def test_devices_are_kept_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHFRONT_DEVICES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert devices_folder() == Path("/somewhere/archfront/devices")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert devices_folder() == Path.home() / ".config/archfront/devices"
    monkeypatch.setenv("ARCHFRONT_DEVICES", "~/mine")
    assert devices_folder() == Path.home() / "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local-cpp", r"unknown device 'local-cpp'; did you mean 'local-cpu'\?; archfront device add.*in .toml works"),
        ("phone", r"known: local-cpu, local-cpu-aotinductor"),
        ("nowhere.toml", r"cannot read profile nowhere.toml: No such file"),
    ],
)
def test_an_unknown_name_says_what_exists(name: str, message: str, folder: Path) -> None:
    with pytest.raises(LatencyError, match=message):
        profile(name)


def test_every_profile_that_comes_along_was_really_measured() -> None:
    assert shipped()
    for name in shipped():
        found = profile(name)
        assert found.name == name and found.date and found.reference_ms and found.reference_spread and found.flops_per_s
        assert found.transport == "local" and found.protocol == PROTOCOL
