"""Transports that need no device: addresses, what answers may look like, and the commands of the worker file."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archfront.hw_profiles import answers, worker
from archfront.hw_profiles.adb import Adb
from archfront.hw_profiles.profile import LatencyError, local_profile
from archfront.hw_profiles.runtimes import Prepared
from archfront.hw_profiles.ssh import Ssh
from archfront.hw_profiles.transport import Local, transport

PLAN = worker.Plan(rounds=3, visit_ms=1.0, warm_ms=1.0, seconds=5.0, seed=0)
VISIT = {"wall": [5, 6], "cpu": 11, "cold": []}
GOOD = {"rounds": [{"a": VISIT}] * 3, "warm_up_ms": 1.5}


def test_the_kind_decides_the_transport_and_whether_there_is_an_address() -> None:
    assert isinstance(transport("local", None), Local)
    assert isinstance(transport("ssh", "pi@board"), Ssh)
    assert isinstance(transport("adb", "0123456789ABCDEF"), Adb)
    assert isinstance(transport("adb", "192.168.1.7:5555"), Adb)
    with pytest.raises(LatencyError, match="has no address"):
        transport("local", "here")
    for kind in ("ssh", "adb"):
        with pytest.raises(LatencyError, match="needs an address"):
            transport(kind, None)  # type: ignore[arg-type]


def test_torch_eager_is_not_carried_to_devices(tmp_path: Path) -> None:
    eager = {"a": Prepared({"kind": "torch"}, "none", 0.0)}
    with (
        pytest.raises(LatencyError, match="a: the runtime 'torch' needs archfront itself"),
        Ssh("board").launcher(eager, local_profile(), tmp_path),
    ):
        pass


# --------------------------------------------------------------------------- answers


def changed(where: str, value: object) -> Any:
    """`GOOD` with another value at a path."""
    found = json.loads(json.dumps(GOOD))
    *path, last = (int(key) if key.isdigit() else key for key in where.split("."))
    inner = found
    for key in path:
        inner = inner[key]
    inner[last] = value
    return found


def test_what_a_worker_measured_passes_unchanged() -> None:
    assert answers.times(answers.load(json.dumps(GOOD)), ["a"], PLAN) == GOOD


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (1, "something else than the times"),
        ({}, "at rounds: Field required"),
        ({**GOOD, "__reduce__": "os.system"}, "at __reduce__: Extra inputs"),
        (changed("rounds", []), "at rounds: List should have at least 1"),
        (changed("rounds", [{"a": VISIT}] * 2), "2 rounds, 3 were asked for"),
        (changed("rounds", [{"a": VISIT}] * 4), "4 rounds, 3 were asked for"),
        (changed("rounds.1", {"b": VISIT}), "other models"),
        (changed("rounds.1", {}), "other models"),
        (changed("rounds.1.a.wall", []), r"at rounds\.1\.a\.wall: List should have at least 1"),
        (changed("rounds.1.a.wall", [5] * 129), "more than 128 runs"),
        (changed("rounds.1.a.wall.0", -5), r"at rounds\.1\.a\.wall\.0: Input should be greater"),
        (changed("rounds.1.a.wall.0", 0), r"at rounds\.1\.a\.wall\.0: Input should be greater"),
        (changed("rounds.1.a.wall.0", 10**30), r"at rounds\.1\.a\.wall\.0: Input should be less"),
        (changed("rounds.1.a.wall.0", 1.5), r"at rounds\.1\.a\.wall\.0: Input should be a valid integer"),
        (changed("rounds.1.a.wall.0", "5"), r"at rounds\.1\.a\.wall\.0: Input should be a valid integer"),
        (changed("rounds.1.a.wall.0", True), r"at rounds\.1\.a\.wall\.0: Input should be a valid integer"),
        (changed("rounds.1.a.cpu", None), r"at rounds\.1\.a\.cpu: Input should be a valid integer"),
        (changed("warm_up_ms", float("inf")), "at warm_up_ms: Input should be a finite number"),
    ],
)
def test_times_of_another_shape_are_refused_by_place(answer: object, message: str) -> None:
    with pytest.raises(LatencyError, match=message):
        answers.times(answer, ["a"], PLAN)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": Infinity}', "[" * 100_000, "\x1b[2J\x07<script>", b"\xff\xfe"])
def test_what_is_no_json_is_refused_and_shown_without_control_characters(text: str | bytes) -> None:
    with pytest.raises(LatencyError, match="something else than JSON") as error:
        answers.load(text)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


# --------------------------------------------------------------------------- the worker file


def ask(*arguments: str, stdin: bytes = b"", **settings: Any) -> dict[str, Any]:
    """What the worker file answers as a script, in a process with nothing of archfront on its path."""
    done = subprocess.run(
        [sys.executable, "-I", worker.__file__, *arguments], input=stdin, capture_output=True, check=True, **settings
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith(worker.MARK.encode())
    found: dict[str, Any] = json.loads(line[len(worker.MARK) :])
    return found


def test_the_worker_file_needs_nothing_but_the_standard_library_until_it_loads_a_model() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({worker.__file__!r}, run_name='worker'); "
        "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__main__"}


def test_the_worker_file_is_written_for_python_3_9() -> None:
    tree = ast.parse(Path(worker.__file__).read_text(), feature_version=(3, 9))
    newer = {"zip_strict", "match"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    assert not newer & {type(node).__name__.lower() for node in ast.walk(tree)}


def test_facts_about_this_machine_have_their_shape_and_name_the_runtime() -> None:
    found = ask("probe")
    assert answers.parse(answers.Facts, found).model_dump() == worker.probe()
    assert found["runtimes"]["onnxruntime"] == local_profile().runtime_version
    assert found["cores"] == len(found["affinity"]) == len(os.sched_getaffinity(0))


def test_files_are_received_whole_and_listed_by_their_digest(tmp_path: Path) -> None:
    place = str(tmp_path / "deep/place")
    assert ask("have", place)["files"] == {}
    stream = b'{"name": "x.onnx", "size": 3}\nabc{"name": "../../y", "size": 0}\n{"name": "cut", "size": 9}\nab'
    assert ask("receive", place, stdin=stream) == {"stored": 2}
    assert ask("have", place)["files"] == {
        "x.onnx": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-2, example B.1
        "y": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert not (tmp_path / "y").exists()  # no name leads out of the folder
    assert ask("clean", place) == {}
    assert not Path(place).exists()
    assert ask("clean", place) == {}  # asked again, where a cut connection swallowed the answer


def test_errors_of_the_disk_are_answers(tmp_path: Path) -> None:
    nowhere = ask("receive", str(tmp_path / "none"), stdin=b'{"name": "x", "size": 3}\nabc')
    assert nowhere == {"error": f"No such file or directory: {tmp_path}/none/x.part", "full": False}
    (tmp_path / "x.part").symlink_to("/dev/full")
    found = ask("receive", str(tmp_path), stdin=b'{"name": "x", "size": 3}\nabc')
    assert found == {"error": f"No space left on device: {tmp_path}", "full": True}


def test_results_that_are_an_hour_old_are_forgotten_and_models_are_not(tmp_path: Path) -> None:
    for name in ("old.result", "new.result", "old.onnx"):
        (tmp_path / name).touch()
    for name in ("old.result", "old.onnx"):
        os.utime(tmp_path / name, (time.time() - 3700, time.time() - 3700))
    assert set(ask("have", str(tmp_path))["files"]) == {"new.result", "old.onnx"}


def test_a_file_is_written_in_one_piece_or_not_at_all(tmp_path: Path) -> None:
    worker.store(tmp_path / "x", b"first")
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(OSError) as error:
        worker.store(tmp_path / "x", b"second")
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / "x").read_bytes() == b"first"
    assert not (tmp_path / "x.part").exists()


def test_two_that_ask_for_the_same_job_get_the_result_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif sys.orig_argv[2:3] == ['work']: open('starts', 'a').write('x'); time.sleep(1)\n"
    )
    job = {"models": {}, "threads": 1, "plan": vars(PLAN), "result": "k.result", "affinity": None, "limit": 30}
    (tmp_path / "k.job").write_text(json.dumps(job))
    command = [sys.executable, worker.__file__, "run", str(tmp_path), "k"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    found = [process.communicate()[0] for process in asked]
    assert found[0] == found[1]
    assert json.loads(found[0][len(worker.MARK) :])["result"]["rounds"] == [{}] * 3
    assert (tmp_path / "starts").read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin processes to cores")
def test_a_job_pins_itself_to_the_cores_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = list[Any]()
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: pinned.append((pid, cores)))
    job = {"models": {}, "threads": 1, "plan": vars(PLAN), "result": str(tmp_path / "r"), "affinity": [0]}
    (tmp_path / "j").write_text(json.dumps(job))
    monkeypatch.setattr(worker, "gc", SimpleNamespace(collect=int, freeze=int, disable=int))
    worker.work(str(tmp_path / "j"))
    assert pinned == [(0, [0])]


def test_the_hottest_plausible_zone_is_the_temperature(tmp_path: Path) -> None:
    assert worker.SystemClock(tmp_path).celsius() is None
    for index, text in enumerate(["41000\n", "55500\n", "-273000\n", "999000\n", "no\n"]):
        zone = tmp_path / f"thermal_zone{index}"
        zone.mkdir()
        (zone / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()  # a zone without a reading
    assert worker.SystemClock(tmp_path).celsius() == 55.5
