"""Times prepared models in a process of its own: `python worker.py JOB.json`.

Needs nothing of archfront but the standard library, numpy and the runtime it drives (torch eager, which has to build
its modules, is the exception), so the same file is carried to devices and runs there, from Python 3.9 on.

The job is JSON: `{"models": {name: {"kind", ...}}, "threads", "plan": {...}, "result": path}`, and where they are
wanted `"affinity": [cores]` and `"limit": seconds`. Its plan is a `Plan`, or an `Endurance` for one model. The result,
written in one piece at the end, is JSON as `interleave` or `sustain` returns it. Nothing is unpickled on either side.

On a device the file is also what the other end of the wire talks to: `python worker.py COMMAND ...`, see `COMMANDS`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

Session = Callable[[], object]
"""Runs one inference."""


class Clock(Protocol):
    """Where times come from; tests put a simulated device here."""

    def wall(self) -> int:
        """Nanoseconds that went by."""

    def cpu(self) -> int:
        """Nanoseconds that this process was computing."""


class Thermometer(Clock, Protocol):
    """A clock on a device that becomes hot."""

    def celsius(self) -> float | None:
        """Its temperature; None where it has no sensor."""

    def sleep(self, seconds: float) -> None:
        """Do nothing."""


class SystemClock:
    """The clocks of this machine, and its hottest thermal zone."""

    wall = staticmethod(time.perf_counter_ns)
    cpu = staticmethod(time.process_time_ns)
    sleep = staticmethod(time.sleep)

    def __init__(self, zones: Path = Path("/sys/class/thermal")) -> None:
        self.zones = zones

    def celsius(self) -> float | None:
        """Zones that are off report an error or nonsense: they do not count."""
        found = []
        for zone in self.zones.glob("thermal_zone*/temp"):
            with contextlib.suppress(OSError, ValueError):
                found.append(int(zone.read_text()) / 1000)
        return max((t for t in found if 0 < t < 150), default=None)


COLD_RUNS = 2
"""Runs out of an empty cache a visit, where the plan asks for them."""


@dataclass(frozen=True)
class Plan:
    """How one process measures.

    Args:
        rounds: visits of every model, each round in a new random order.
        visit_ms: least duration of the timed runs of one visit.
        warm_ms: least warm-up of a model before the first round.
        seconds: no round begins after this long, warm-up included, once there are `minimum` rounds.
        seed: of the orders.
        max_runs: most timed runs a visit, so that tiny graphs do not flood the samples.
        evict: bytes that are copied before each of a few further runs, so that a cache of that size is empty; 0 for
            no such runs.
    """

    rounds: int
    visit_ms: float
    warm_ms: float
    seconds: float
    seed: int
    minimum: int = 3
    max_runs: int = 128
    evict: int = 0


def interleave(sessions: Mapping[str, Session], plan: Plan, clock: Clock) -> dict[str, Any]:
    """Time all sessions in rounds of random order.

    A slow spell of the machine then hits every model alike instead of the one whose turn it was, and the fastest run
    of many short visits finds the quiet moments.

    Returns:
        `rounds`: for every completed round `{name: {"wall": [ns of each run], "cpu": ns of the whole visit,
        "cold": [ns of each run out of an empty cache]}}`;
        `warm_up_ms`: time spent before the first round.
    """
    order = random.Random(plan.seed)
    start = clock.wall()
    runs = {name: _runs(warm_up(session, plan, clock), plan) for name, session in sessions.items()}
    warm = clock.wall() - start
    names = list(sessions)
    rounds: list[dict[str, Any]] = []
    other = bytearray(plan.evict), bytearray(plan.evict)
    for _ in range(plan.rounds):
        if len(rounds) >= plan.minimum and clock.wall() - start > plan.seconds * 1e9:
            break
        order.shuffle(names)
        visits = {}
        for name in names:
            visits[name] = visit(sessions[name], runs[name], clock)
            visits[name]["cold"] = cold(sessions[name], other, clock)
        rounds.append(visits)
    return {"rounds": rounds, "warm_up_ms": warm / 1e6}


def _runs(ns: float, plan: Plan) -> int:
    return min(plan.max_runs, max(1, -(-int(plan.visit_ms * 1e6) // max(1, int(ns)))))


def warm_up(session: Session, plan: Plan, clock: Clock) -> float:
    """Run until the median of five runs stops falling, for at least `warm_ms` and three runs; returns it in ns.

    Stops at ten times `warm_ms`, so that a machine that never settles cannot hold the measuring up.
    """
    start = clock.wall()
    times: list[int] = []
    best = float("inf")
    while True:
        begin = clock.wall()
        session()
        times.append(clock.wall() - begin)
        if len(times) < 3 or clock.wall() - start < plan.warm_ms * 1e6:
            continue
        last = median(times[-5:])
        if last >= 0.99 * best or clock.wall() - start > plan.warm_ms * 1e7:
            return last
        best = last


def visit(session: Session, runs: int, clock: Clock) -> dict[str, Any]:
    """One or two untimed runs, which bring the model back into the caches, then `runs` timed ones."""
    for _ in range(2 if runs > 1 else 1):
        session()
    wall = []
    cpu = clock.cpu()
    for _ in range(runs):
        begin = clock.wall()
        session()
        wall.append(clock.wall() - begin)
    return {"wall": wall, "cpu": clock.cpu() - cpu}


def cold(session: Session, other: tuple[bytearray, bytearray], clock: Clock) -> list[int]:
    """Nanoseconds of a few runs, each after `other` data took the cache; none where there are no such data."""
    wall: list[int] = []
    for _ in range(COLD_RUNS if other[0] else 0):
        other[0][:] = other[1]
        begin = clock.wall()
        session()
        wall.append(clock.wall() - begin)
    return wall


# --------------------------------------------------------------------------- heat


@dataclass(frozen=True)
class Endurance:
    """How one process runs one model without a pause, to see what heat makes of it.

    Args:
        seconds: of running, after the cool-down.
        window: seconds of runs that are reported together.
        cool_to: degrees to wait for before; None does not wait.
        cool_seconds: longest wait, and the wait where there is no sensor.
        max_runs: most timed runs a window; of more, evenly spaced ones are timed.
    """

    seconds: float
    window: float = 1.0
    cool_to: float | None = None
    cool_seconds: float = 0.0
    max_runs: int = 128


def sustain(session: Session, plan: Endurance, clock: Thermometer) -> dict[str, Any]:
    """Let the device cool down, then run the model without a pause.

    Returns:
        `cooled`: seconds waited; `celsius`: temperature before the first run; `windows`: for each
        `{"wall": [ns of timed runs], "seconds": since the start, "celsius"}`, both at its end.
    """
    cooled = cool_down(plan, clock)
    before = clock.celsius()
    session()
    start = begin = clock.wall()
    session()
    stride = max(1, int(plan.window * 1e9 / plan.max_runs / max(1, clock.wall() - begin)))
    windows: list[dict[str, Any]] = []
    while clock.wall() - start < plan.seconds * 1e9:
        opened, wall = clock.wall(), list[int]()
        while not wall or (clock.wall() - opened < plan.window * 1e9 and len(wall) < plan.max_runs):
            for _ in range(stride - 1):
                session()
            begin = clock.wall()
            session()
            wall.append(clock.wall() - begin)
        windows.append({"wall": wall, "seconds": (clock.wall() - start) / 1e9, "celsius": clock.celsius()})
    return {"cooled": cooled, "celsius": before, "windows": windows}


def cool_down(plan: Endurance, clock: Thermometer) -> float:
    """Wait until the device is as cool as the plan asks, or for as long as it allows; returns the seconds."""
    start = clock.wall()
    while plan.cool_to is not None and clock.wall() - start < plan.cool_seconds * 1e9:
        now = clock.celsius()
        if now is not None and now <= plan.cool_to:
            break
        clock.sleep(1.0)
    return (clock.wall() - start) / 1e9


# --------------------------------------------------------------------------- loading

# Every loader takes a model's entry in the job, the number of threads, and the inputs as numpy arrays, nested as the
# arguments of the network are; without them it makes up normal random ones. Running a session yields the outputs.


def numbers(shapes: Sequence[Any]) -> Any:
    """Normal random arrays of the shapes, nested as they are."""
    import numpy

    generator = numpy.random.default_rng(0)

    def make(shape: Sequence[Any]) -> Any:
        if isinstance(shape[0], int):
            return generator.standard_normal(shape).astype(numpy.float32)
        return tuple(map(make, shape))

    return tuple(map(make, shapes))


def flat(value: Any) -> list[Any]:
    """The arrays or tensors in nested tuples, lists or values of a mapping, in order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [value] if hasattr(value, "shape") else [array for item in value for array in flat(item)]


def load_onnx(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A session of ONNX Runtime."""
    import onnxruntime

    # without the CPU behind it, a provider that lacks an operator refuses the network
    providers = list(dict.fromkeys([model["provider"], "CPUExecutionProvider"]))
    session = onnxruntime.InferenceSession(model["file"], session_options(threads), providers=providers)
    if session.get_providers()[0] != model["provider"]:
        raise RuntimeError(f"ONNX Runtime could not start {model['provider']}")
    wanted = session.get_inputs()
    given = flat(inputs or numbers([i.shape for i in wanted]))
    kinds = {"tensor(float)": "float32", "tensor(float16)": "float16"}
    feed = {i.name: array.astype(kinds[i.type]) for i, array in zip(wanted, given)}  # noqa: B905 - Python 3.9
    return lambda: session.run(None, feed)


def session_options(threads: int) -> Any:
    """Fixed threads, and no spinning: a spinning thread steals the core of the next model's run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def load_torch(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A module in torch, built from its spec; its weights are random, which its latency does not depend on.

    Its inputs are always those of the spec's example.
    """
    import torch

    from archfront.hw_profiles.runtimes import load_eager

    torch.set_num_threads(threads)
    return load_eager(model)


def load_aotinductor(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A package that torch compiled ahead of time."""
    import torch

    torch.set_num_threads(threads)
    package = torch._inductor.aoti_load_package(model["file"])
    arguments = _torch_arguments(inputs or numbers(model["shapes"]), getattr(torch, model["dtype"]))

    def run() -> object:
        with torch.inference_mode():
            return package(*arguments)

    return run


def _torch_arguments(value: Any, dtype: Any) -> Any:
    import torch

    if hasattr(value, "shape"):
        return torch.from_numpy(value).to(dtype)
    return tuple(_torch_arguments(item, dtype) for item in value)


def load_openvino(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A network that OpenVINO compiles as it loads it."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": model["hint"]}
    if model["provider"] == "CPU":
        settings.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model["file"]), model["provider"], settings)
    given = flat(inputs or numbers([list(i.shape) for i in compiled.inputs]))
    request = compiled.create_infer_request()
    for place, array in enumerate(given):
        request.set_input_tensor(place, openvino.Tensor(array))  # a copy: one that shares memory does not keep it alive
    run: Session = request.infer  # given the inputs in each call, Python takes longer over them than a small network
    return run


def load_executorch(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A program of ExecuTorch."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(model["file"]).load_method("forward")
    arguments = flat(_torch_arguments(inputs or numbers(model["shapes"]), getattr(torch, model["dtype"])))
    return lambda: method.execute(arguments)


def load_litert(model: Mapping[str, Any], threads: int, inputs: Any = None) -> Session:
    """A network of LiteRT, which brings its XNNPACK delegate along."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model["file"], num_threads=threads)
    interpreter.allocate_tensors()
    given = flat(inputs or numbers(model["shapes"]))
    places = [i["index"] for i in sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])]
    placed = list(zip(places, given))  # noqa: B905 - Python 3.9
    outputs = [o["index"] for o in interpreter.get_output_details()]

    def run() -> object:
        for place, array in placed:
            interpreter.set_tensor(place, array)
        interpreter.invoke()
        return [interpreter.get_tensor(place) for place in outputs]

    return run


LOADERS: dict[str, Callable[..., Session]] = {
    "onnx": load_onnx,
    "torch": load_torch,
    "aotinductor": load_aotinductor,
    "openvino": load_openvino,
    "executorch": load_executorch,
    "litert": load_litert,
}


def work(path: str) -> None:
    """Carry out the job in the file at `path`."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    if job.get("limit"):
        signal.alarm(int(job["limit"]))  # ends this process even where nobody is left to do it
    if job.get("affinity"):
        os.sched_setaffinity(0, job["affinity"])
    sessions = {}
    for name, model in shuffled(job["models"], job["plan"].get("seed", 0)):
        print(f"loading {name}", file=sys.stderr, flush=True)  # the last line of a crash names its model
        sessions[name] = LOADERS[model["kind"]](model, job["threads"])
        sessions[name]()
    print("timing", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()
    gc.disable()
    if "rounds" in job["plan"]:
        result = interleave(sessions, Plan(**job["plan"]), SystemClock())
    else:
        (session,) = sessions.values()
        result = sustain(session, Endurance(**job["plan"]), SystemClock())
    store(Path(job["result"]), json.dumps(result).encode())


def shuffled(models: Mapping[str, Any], seed: int) -> list[tuple[str, Any]]:
    """The models in the order in which a process loads them, another one in each.

    Where a model comes to lie in memory decides some percent of its latency. Loaded in one order, every process would
    put it in the same place beside the others, and what is luck would look like a property of the model.
    """
    order = list(models.items())
    random.Random(seed).shuffle(order)
    return order


def store(file: Path, content: bytes) -> None:
    """Write a file in one piece: nobody ever sees half of it."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


# --------------------------------------------------------------------------- this device

PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-openvino"),
    "torch": ("torch",),
    "openvino": ("openvino",),
    "executorch": ("executorch",),
    "litert": ("ai-edge-litert",),
}
"""The distributions that bring a runtime, the usual one first."""


def probe() -> dict[str, Any]:
    """What a profile says about the device that this runs on."""
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return {
        "processor": processor(),
        "cores": len(affinity),
        "affinity": affinity,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_bytes": _memory(),
        "python": platform.python_version(),
        "runtimes": {runtime: version for runtime in PACKAGES if (version := installed(runtime))},
    }


def processor() -> str:
    """The model name of the processor; of the board, where only that is known, as on most ARM systems."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware"):
            return value.strip()
    return _first_line(Path("/proc/device-tree/model")) or platform.processor() or platform.machine()


def installed(runtime: str) -> str | None:
    """The version of a runtime; None where it is not installed."""
    for package in PACKAGES[runtime]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return None


def _memory() -> int | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None


def _first_line(file: Path) -> str | None:
    return (_read(file) or "").partition("\n")[0] or None


# --------------------------------------------------------------------------- at the end of a wire

MARK = "archfront-answer:"
"""Stands before the one line of JSON that a command answers with: a login script may print lines of its own."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file size limit that is used up."""

FULL_CODE = 74
"""Return code of a worker process whose result did not find room."""

KEPT_SECONDS = 3600
"""Results of an interrupted measurement that are older than this are not continued: the device has changed level."""


def have(folder: str) -> dict[str, Any]:
    """The files in `folder`, which is made if need be: SHA-256 digests by name, and the bytes that are free there."""
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in place.glob("*.result"):
        if time.time() - file.stat().st_mtime > KEPT_SECONDS:
            file.unlink()
    files = [file for file in place.iterdir() if file.is_file() and file.suffix != ".part"]
    return {"files": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}, "free": _free(place)}


def receive(folder: str) -> dict[str, Any]:
    """Store files from standard input: a line of JSON `{"name", "size"}` before the bytes of each."""
    stream, count = sys.stdin.buffer, 0
    while head := stream.readline():
        entry = json.loads(head)
        content = stream.read(entry["size"])
        if len(content) < entry["size"]:
            break  # the wire was cut
        store(Path(folder) / Path(entry["name"]).name, content)
        count += 1
    return {"stored": count}


def run(folder: str, key: str) -> dict[str, Any]:
    """Carry out the job `KEY.job` in a process of its own, or wait for the one that is at it, or find it done.

    The process is no child of the connection, so it goes on when that is cut; asking again then picks it up. A lock
    that it holds while it lives is what tells.

    Returns:
        `result`: its result; or `code`, None if it was another connection's, and `log`, the end of what it printed.
    """
    import fcntl

    os.chdir(folder)
    result, log, code = Path(key + ".result"), Path(key + ".log"), None
    with Path(key + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not result.exists():
                code = start(key + ".job", log, lock.fileno())
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_EX)
    if result.exists():
        return {"result": json.loads(result.read_text(encoding="utf-8"))}
    if code == FULL_CODE or _free(Path()) < 1 << 16:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(result))
    return {"code": code, "log": (_read(log) or "")[-4000:]}


def start(job: str, log: Path, lock: int) -> int:
    """Carry out a job in a new session, and wait for it; returns its return code."""
    with log.open("wb") as printed:
        child = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "work", job],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
            pass_fds=[lock],
        )
    return child.wait()


def clean(folder: str) -> dict[str, Any]:
    """Remove the folder, if it is there: a cut connection may have swallowed the first answer."""
    if Path(folder).is_dir():
        shutil.rmtree(folder)
    return {}


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "probe": probe,
    "have": have,
    "receive": receive,
    "run": run,
    "clean": clean,
}
"""What the other end of the wire can ask for."""


def answer(command: str, *arguments: str) -> None:
    """Carry out a command and print its answer, or `{"error", "full"}` where the device's disk refused."""
    try:
        found = COMMANDS[command](*arguments)
    except OSError as error:
        found = {"error": f"{error.strerror}: {error.filename or arguments[0]}", "full": error.errno in FULL}
    print(MARK + json.dumps(found), flush=True)


def main(arguments: list[str]) -> None:
    """`JOB.json`, `work JOB`, or a command and its arguments."""
    if arguments[0] in COMMANDS:
        answer(*arguments)
    else:
        try:
            work(arguments[-1])
        except OSError as error:
            if error.errno not in FULL:
                raise
            sys.exit(FULL_CODE)


if __name__ == "__main__":
    main(sys.argv[1:])
