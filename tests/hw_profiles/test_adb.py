"""Measuring over adb. No phone is at hand here: a script called `adb` runs the commands on this machine instead."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archfront.hw_profiles import remote, worker
from archfront.hw_profiles.adb import Adb
from archfront.hw_profiles.profile import LatencyError, Profile, local_profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.runtimes import RUNTIMES, Prepared
from archfront.hw_profiles.transport import transport
from archfront.space.library.operator.conv import Conv
from archfront.space.types import Image

SERIAL = "R58M12ABCDE"
X = Image(3, 8, 8)
PLAN = worker.Plan(rounds=3, visit_ms=0.1, warm_ms=0.1, seconds=5.0, seed=0)
QUICK = Schedule(processes=1, rounds=3, visit_ms=0.2, warm_ms=0.5, target=10.0, max_seconds=20)

FAKE = r"""#!/bin/sh
# adb -s SERIAL get-state | shell LINE | push FILE... FOLDER/; the phone is the folder STATE
test "$1" = -s && test "$2" = SERIAL || { echo "adb: device '$2' not found" >&2; exit 1; }
shift 2
there() {
    test -e STATE/plugged || { echo "adb: device 'SERIAL' not found" >&2; exit 1; }
    test ! -e STATE/says || { cat STATE/says >&2; exit 1; }
}
there
case "$1" in
get-state) echo device ;;
shell)
    cd /
    sh -c "$2" &
    child=$!
    while kill -0 $child 2>/dev/null; do
        test -e STATE/plugged || { kill -HUP $child; exit 255; }
        sleep 0.1
    done
    wait $child ;;
push)
    shift
    for last; do :; done
    for file; do
        test "$file" = "$last" && break
        there
        if test -e STATE/full; then
            echo "adb: error: failed to copy '$file' to '$last': remote No space left on device" >&2
            exit 1
        fi
        cp "$file" "$last"
        if test -e STATE/fragile; then rm STATE/fragile STATE/plugged; fi
    done ;;
esac
"""


class Phone:
    """A "device" behind the script: its storage is a folder, and it can be unplugged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "storage"
        self.home.mkdir()
        self.plug()
        script(folder / "bin/adb", FAKE.replace("STATE", str(folder)).replace("SERIAL", SERIAL))
        self.python(f'exec {shlex.quote(sys.executable)} "$@"')

    def plug(self) -> None:
        (self.folder / "plugged").touch()

    def unplug(self) -> None:
        (self.folder / "plugged").unlink()

    def says(self, words: str) -> None:
        """Let adb refuse with these words."""
        (self.folder / "says").write_text(words + "\n")

    def python(self, line: str) -> None:
        """Let this line of shell be the Python of the device; `$2` is what the worker file is asked for."""
        script(self.home / "archfront-venv/bin/python", "#!/bin/sh\n" + line)

    @property
    def places(self) -> list[Path]:
        """The folders of measurements on the device."""
        return sorted((self.home / "archfront").glob("*"))


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Phone:
    phone = Phone(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(Adb, "HOME", f"{phone.home}/")
    monkeypatch.setattr(Adb, "PLACE", f"{phone.home}/archfront")
    monkeypatch.setattr(remote, "PAUSES", (0.5, 0.5, 0.5, 0.5))
    return phone


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Prepared]:
    """Two tiny networks, converted once."""
    folder = tmp_path_factory.mktemp("models")
    runtime, here = RUNTIMES["onnxruntime"], local_profile()
    return {f"conv{w}": runtime.prepare(f"conv{w}", (Conv(width=w), X), here, folder) for w in (4, 8)}


def at_phone(**settings: Any) -> Profile:
    return local_profile().model_copy(update={"transport": "adb", "address": SERIAL, **settings})


def measured(models: Mapping[str, Prepared], folder: Path) -> Mapping[str, Any]:
    with Adb(SERIAL).launcher(models, at_phone(), folder) as launch:
        return launch(PLAN)


def asked_to_run(phone: Phone, action: Any) -> threading.Thread:
    """Do something here once the device was asked to measure; it takes a second for it then."""
    begun = phone.folder / "begun"
    phone.python(f'if test "$2" = run; then touch {begun}; sleep 1; fi; exec {sys.executable} "$@"')

    def wait() -> None:
        deadline = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_measuring_over_adb_gives_results_like_measuring_here(phone: Phone) -> None:
    there = at_phone()
    results = measure({"narrow": (Conv(width=4), X), "wide": (Conv(width=64), X)}, there, QUICK)
    assert list(results) == ["narrow", "wide"]
    assert all(result.profile == there.digest and result.value_ms > 0 for result in results.values())
    assert phone.places == []


def test_a_probe_over_adb_finds_what_a_probe_there_finds(phone: Phone) -> None:
    assert transport("adb", SERIAL).probe() == worker.probe()


def test_a_device_that_is_not_what_its_profile_says_is_refused(phone: Phone) -> None:
    with pytest.raises(LatencyError, match=r"'Linux 1\.0 toaster' there"):
        measure({"a": (Conv(width=4), X)}, at_phone(system="Linux 1.0 toaster"), QUICK)


def test_a_device_that_is_not_plugged_in_is_said(phone: Phone) -> None:
    phone.unplug()
    with pytest.raises(LatencyError, match=rf"cannot reach {SERIAL}: it is not plugged in, or USB debugging is off"):
        transport("adb", SERIAL).probe()


@pytest.mark.parametrize(
    ("words", "help_"),
    [
        ("adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "confirm the debugging prompt"),
        ("adb: insufficient permissions for device: no permissions", "this user may not talk to it"),
        ("adb: device offline", "unplug it and plug it in again"),
        ("adb: protocol fault", "adb says:\\n  adb: protocol fault"),
    ],
)
def test_what_adb_says_comes_with_what_helps(phone: Phone, words: str, help_: str) -> None:
    phone.says(words)
    with pytest.raises(LatencyError, match=help_):
        transport("adb", SERIAL).probe()


def test_without_adb_the_person_is_told(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(phone.folder))
    with pytest.raises(LatencyError, match="adb is not installed on this machine"):
        transport("adb", SERIAL).probe()


@pytest.mark.parametrize("serial", ["-H evil", "a b", "x;y", "$(touch x)"])
def test_a_serial_number_cannot_be_an_option_or_a_command(serial: str) -> None:
    with pytest.raises(LatencyError, match="is no serial number"):
        Adb(serial)


def test_a_device_unplugged_while_measuring_and_plugged_in_again_loses_nothing(
    phone: Phone, models: Any, tmp_path: Path
) -> None:
    def replug() -> None:
        phone.unplug()
        time.sleep(0.7)
        phone.plug()

    thread = asked_to_run(phone, replug)
    found = measured(models, tmp_path)
    thread.join()
    assert len(found["rounds"]) == PLAN.rounds
    assert phone.places == []


def test_a_device_unplugged_for_good_while_measuring_is_said(phone: Phone, models: Any, tmp_path: Path) -> None:
    thread = asked_to_run(phone, phone.unplug)
    with pytest.raises(
        LatencyError, match=rf"(?s){SERIAL} was lost on the way.*it is not plugged in.*stays on {SERIAL} in"
    ):
        measured(models, tmp_path)
    thread.join()
    phone.plug()
    phone.python(f'exec {sys.executable} "$@"')
    assert len(measured(models, tmp_path)["rounds"]) == PLAN.rounds  # goes on from what is there
    assert phone.places == []


def test_a_device_unplugged_while_copying_gets_the_rest_afterwards(phone: Phone, models: Any, tmp_path: Path) -> None:
    adb = Adb(SERIAL)
    install = adb.install

    def fragile(place: str) -> None:
        install(place)
        (phone.folder / "fragile").touch()  # unplugged after the first model

    adb.install = fragile  # type: ignore[method-assign]
    plugging = threading.Timer(1.5, phone.plug)
    plugging.start()
    with adb.launcher(models, at_phone(), tmp_path) as launch:
        assert not (phone.folder / "fragile").exists()
        assert len(launch(PLAN)["rounds"]) == PLAN.rounds
    plugging.join()


def test_a_full_disk_is_said(phone: Phone, models: Any, tmp_path: Path) -> None:
    (phone.folder / "full").touch()
    with pytest.raises(LatencyError, match=rf"(?s)cannot copy to {SERIAL}: its disk is full.*No space left"):
        measured(models, tmp_path)


def test_a_device_without_python_or_runtime_is_told_what_to_install(phone: Phone) -> None:
    phone.python("echo '/system/bin/sh: python3: inaccessible or not found' >&2; exit 127")
    with pytest.raises(LatencyError, match=f"{SERIAL} has no python3: install Python 3.9"):
        transport("adb", SERIAL).probe()
    bare = """archfront-answer:{"processor": "p", "cores": 8, "affinity": [0], "system": "Linux", "governor": null,
        "memory_bytes": null, "python": "3.9.1", "runtimes": {}}""".replace("\n", "")
    phone.python(f'if test "$2" = probe; then echo {shlex.quote(bare)}; exit; fi; exec {sys.executable} "$@"')
    with pytest.raises(LatencyError, match=rf"{SERIAL} has no onnxruntime for its Python 3\.9\.1.*bin/pip install"):
        measure({"a": (Conv(width=4), X)}, at_phone(), QUICK)


def test_garbage_is_an_error_with_its_first_line(phone: Phone, models: Any, tmp_path: Path) -> None:
    phone.python(f'if test "$2" = run; then echo Segmentation fault; exit; fi; exec {sys.executable} "$@"')
    with pytest.raises(LatencyError, match="answered with something else than measurements: 'Segmentation fault'"):
        measured(models, tmp_path)
