"""archfront device: what a person gets who describes a device, looks at it, and types something wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archfront.cli import app
from archfront.commands.device import core_numbers, with_port
from archfront.doctor import other_runtimes
from archfront.hw_profiles import worker
from archfront.hw_profiles.profile import ENGINES, Profile, local_profile, profile

QUICK = ("--seconds", "1", "--quiet")


def run(*arguments: object) -> Any:
    """What a command did: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain(text: str) -> str:
    """Words without frames and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of devices."""
    monkeypatch.setenv("ARCHFRONT_DEVICES", str(tmp_path / "devices"))
    return tmp_path / "devices"


@pytest.fixture
def here(folder: Path) -> Profile:
    """This machine, as if it had been added when its reference network took a millisecond."""
    folder.mkdir()
    found = local_profile().model_copy(update={"name": "here", "reference_ms": 1.0, "date": "2026-11-22"})
    found.save(folder / "here.toml")
    return found


def test_a_device_is_added_listed_shown_used_and_removed(folder: Path) -> None:
    added = run("device", "add", "mine", "--batch", "2", "--cores", "0", *QUICK)
    assert added.exit_code == 0, added.stderr
    found = profile("mine")
    assert (found.batch, found.affinity, found.date is None) == (2, (0,), False)
    assert found.digest == local_profile(batch=2, affinity=(0,)).digest
    assert found.reference_ms and found.flops_per_s and found.bytes_per_s and found.cache_bytes_per_s
    for text in (
        found.processor,
        "batch 2",
        "pinned to 0",
        "GFLOP/s",
        "calling the runtime",
        str(folder / "mine.toml"),
    ):
        assert text in added.stdout
    assert plain(run("device", "show", "mine").stdout) == plain(added.stdout.partition("calling the runtime")[0])
    (listed,) = json.loads(run("device", "list", "--json").stdout)["devices"]
    assert listed == json.loads(run("device", "show", "mine", "--json").stdout)
    assert Profile.from_dict({key: value for key, value in listed.items() if key != "digest"}, "json") == found
    assert "mine" in run("device").stdout
    removed = run("device", "remove", "mine")
    assert removed.exit_code == 0 and not list(folder.iterdir())
    assert "No devices yet" in run("device").stdout


def test_checking_says_by_how_much_the_reference_network_differs(here: Profile) -> None:
    checked = json.loads(run("device", "check", "here", *QUICK, "--json").stdout)
    assert checked["profile"] == here.digest
    assert checked["ratio"] == pytest.approx(checked["reference_ms"] / 1.0)
    said = run("device", "check", "here", *QUICK)
    assert said.exit_code == 0
    assert re.search(r"Reference network: \S+ ms, \S+% (less|more) than when it was added", said.stdout)


def test_checking_a_device_that_changed_names_what_did(here: Profile, folder: Path) -> None:
    here.model_copy(update={"runtime_version": "1.0.0", "governor": "ondemand"}).save(folder / "here.toml")
    result = run("device", "check", "here", *QUICK)
    assert result.exit_code == 2
    assert f"governor: was 'ondemand', is {here.governor!r}" in result.stderr
    assert f"runtime_version: was '1.0.0', is '{here.runtime_version}'" in result.stderr
    assert "archfront device add here --replace" in result.stderr


def test_a_name_is_not_taken_twice_unless_asked(here: Profile, folder: Path) -> None:
    before = (folder / "here.toml").read_text()
    refused = run("device", "add", "here", *QUICK)
    assert refused.exit_code == 2 and "--replace" in refused.stderr
    assert (folder / "here.toml").read_text() == before
    assert run("device", "add", "here", "--replace", *QUICK).exit_code == 0
    assert profile("here").reference_ms != 1.0


def test_a_folder_that_cannot_be_written_ends_with_code_1(folder: Path) -> None:
    folder.write_text("a file stands where the folder should be")
    result = run("device", "add", "x", *QUICK)
    assert result.exit_code == 1 and "cannot write" in result.stderr
    assert "Traceback" not in result.stderr


def test_one_bad_file_does_not_hide_the_other_devices(here: Profile, folder: Path) -> None:
    (folder / "broken.toml").write_text("name = \n")
    listed = run("device", "list")
    assert listed.exit_code == 0 and here.processor in listed.stdout and "broken.toml is not TOML" in listed.stdout
    assert run("device", "show", "broken").exit_code == 2


def test_an_added_device_is_what_profile_measures_on(here: Profile) -> None:
    done = run("profile", "--reference", "resnet18", "--input", "32", "--device", "here", "--seconds", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["profile"] == here.digest


BAD = {
    "name of a runtime that is always there": (["add", "local-cpu"], "always there"),
    "path as a name": (["add", "../x"], "no name for a device"),
    "file as a name": (["add", "x.toml"], "no name for a device"),
    "unknown runtime": (["add", "x", "--runtime", "openvin"], "did you mean 'openvino'"),
    "unknown precision": (["add", "x", "--precision", "fp8"], "'fp32', 'fp16', 'bf16' or 'int8'"),
    "precision of another runtime": (["add", "x", "--precision", "bf16"], "it has fp32, fp16, int8"),
    "unknown provider": (["add", "x", "--provider", "GpuProvider"], "CPUExecutionProvider"),
    "more threads than cores": (["add", "x", "--threads", "4096"], "threads on"),
    "a core that is not there": (["add", "x", "--cores", "4096"], "no core 4096"),
    "no cores": (["add", "x", "--cores", "7-4"], "the smaller number comes first"),
    "cores in words": (["add", "x", "--cores", "all"], "write 4-7, or 0,2"),
    "two ways": (["add", "x", "--ssh", "a", "--adb", "b"], "not both"),
    "an option as an address": (["add", "x", "--ssh", "-oProxyCommand=x"], "no address for ssh"),
    "unknown device": (["show", "heer"], "unknown device 'heer'"),
    "checking an unknown device": (["check", "heer"], "unknown device 'heer'"),
    "removing an unknown device": (["remove", "heer"], "unknown device 'heer'"),
    "removing what is always there": (["remove", "local-cpu"], "always there"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_code_2_and_a_message_that_helps(case: str, folder: Path) -> None:
    arguments, message = BAD[case]
    result = run("device", *arguments)
    assert result.exit_code == 2, result.stderr
    assert message in plain(result.stderr)
    assert "Traceback" not in result.stderr
    assert result.stdout == "" and not folder.exists()


@pytest.mark.parametrize("runtime", ["openvino", "executorch", "litert"])
def test_a_missing_runtime_says_how_to_get_it(runtime: str) -> None:
    if worker.installed(runtime):
        pytest.skip(f"{runtime} is installed")
    assert f"pip install 'archfront[{runtime}]'" in plain(run("device", "add", "x", "--runtime", runtime).stderr)


def test_doctor_lists_every_other_runtime_with_its_version_or_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = {check.name.removeprefix("Runtime "): check for check in other_runtimes()}
    assert set(found) == set(ENGINES) - {"onnxruntime", "torch"}
    assert not any(check.fatal for check in found.values())
    for name, engine in ENGINES.items():
        if name not in found:
            continue
        version, check = worker.installed(engine.package), found[name]
        if version is None:
            assert (check.state, check.help) == ("missing", f"pip install 'archfront[{name}]'")
        elif engine.package == "torch":
            assert check.state == "missing" and "no-such-compiler" in check.detail
        else:
            assert check.state == "ok" and version in check.detail


@pytest.mark.parametrize(
    ("text", "cores"), [("0", (0,)), ("4-7", (4, 5, 6, 7)), ("2,0,2", (0, 2)), ("6-7,0", (0, 6, 7))]
)
def test_cores_are_read_as_taskset_writes_them(text: str, cores: tuple[int, ...]) -> None:
    assert core_numbers(text) == cores


def test_a_port_after_a_host_becomes_an_address_of_ssh() -> None:
    assert with_port("pi@board:2222") == "ssh://pi@board:2222"
    for address in ("pi@board", "board", "ssh://pi@board:22", "pi@fe80::1"):
        assert with_port(address) == address
