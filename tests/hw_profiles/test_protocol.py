"""The measuring protocol: on a simulated device whose truth is known, and for real on this machine."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from archfront.hw_profiles import intervals, worker
from archfront.hw_profiles.profile import LatencyError, local_profile, profile
from archfront.hw_profiles.protocol import (
    REFERENCE,
    LatencyResult,
    Relevance,
    Schedule,
    collect,
    compare,
    measure,
    neighbours,
    summarise,
    ties,
)
from archfront.hw_profiles.runtimes import Prepared
from archfront.hw_profiles.simulated import SimulatedDevice
from archfront.hw_profiles.transport import Local
from archfront.space.library.operator.conv import Conv
from archfront.space.types import Feature, Image

PROFILE = local_profile()


def measured(device: SimulatedDevice, schedule: Schedule, **settings: Any) -> dict[str, LatencyResult]:
    processes = collect(device.launch, schedule, now=lambda: device.ns / 1e9, **settings)
    return summarise(processes, PROFILE, schedule, dict.fromkeys(device.truth, "none"))


def disagreements(values: Mapping[str, float], truth: Mapping[str, float]) -> int:
    names = list(truth)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    return sum((values[a] < values[b]) != (truth[a] < truth[b]) for a, b in pairs)


CLOSE = {f"net{i}": 0.5 * 1.01**i for i in range(8)} | {REFERENCE: 0.4}


def test_interleaved_minima_rank_nets_one_percent_apart_where_means_of_loops_do_not() -> None:
    fixed = Schedule(processes=3, rounds=16, target=10.0, warm_ms=2.0)
    nets = {name: ms for name, ms in CLOSE.items() if name != REFERENCE}
    ours, loops = 0, 0
    for seed in range(5):
        results = measured(SimulatedDevice(CLOSE, seed), fixed)
        ours += disagreements({name: result.value_ms for name, result in results.items()}, nets)
        device = SimulatedDevice(CLOSE, seed)
        device.cpu()
        means = {}
        for name in nets:  # one model after the other, as many runs as above
            session, times = device.session(name), []
            for _ in range(results[name].count):
                begin = device.wall()
                session()
                times.append(device.wall() - begin)
            means[name] = statistics.fmean(times)
        loops += disagreements(means, nets)
    assert ours <= 3  # of 140 pairs
    assert loops >= 10 + ours


def test_intervals_of_paired_ratios_cover_the_truth_in_90_to_99_percent() -> None:
    truth = {"a": 0.52, "b": 0.5, REFERENCE: 0.4}
    schedule = Schedule(processes=3, rounds=12, target=10.0, warm_ms=1.0)
    covered, decided, trials = 0, 0, 200
    for seed in range(trials):
        results = measured(SimulatedDevice(truth, seed), schedule)
        found = compare(results["a"], results["b"])
        covered += found.low <= 1.04 <= found.high
        decided += not found.tie
    assert 0.90 <= covered / trials <= 0.99
    assert decided / trials > 0.8  # narrow enough to be of use: the true gap is 4 %


def test_equal_models_tie() -> None:
    results = measured(SimulatedDevice({"a": 0.5, "b": 0.5, REFERENCE: 0.4}, 0), Schedule())
    assert compare(results["a"], results["b"]).tie
    assert compare(results["a"], results["b"]).ratio != 1.0


def test_measuring_stops_once_intervals_are_narrow_and_goes_on_while_they_are_not() -> None:
    assert len(_samples(SimulatedDevice(CLOSE, 1, bursts=0, drift=0), Schedule())) == 3
    assert len(_samples(SimulatedDevice(CLOSE, 1), Schedule(target=1e-6))) == 9


def test_measuring_also_stops_once_every_pair_that_matters_is_decided() -> None:
    truth = {"slow": 0.6, "fast": 0.5, "faster": 0.499, REFERENCE: 0.4}
    strict = Schedule(target=1e-6)

    def processes(relevance: Relevance | None) -> int:
        return len(measured(SimulatedDevice(truth, 1), strict, relevance=relevance)["fast"].samples)

    assert processes(lambda _: [("slow", "fast"), ("faster", "slow")]) == 3
    assert processes(lambda _: []) == 3
    assert processes(neighbours) == 9  # 0.2 % between the two fast ones cannot be told
    assert processes(None) == 9


def test_relevance_is_judged_by_latencies_in_milliseconds_and_the_reference_has_no_part_in_it() -> None:
    seen = list[Mapping[str, float]]()

    def relevance(latencies: Mapping[str, float]) -> list[tuple[str, str]]:
        seen.append(latencies)
        return neighbours(latencies)

    truth = {"a": 0.6, "b": 0.5, REFERENCE: 0.4}
    results = measured(SimulatedDevice(truth, 1), Schedule(target=1e-6), relevance=relevance)
    assert seen[-1] == pytest.approx({name: result.value_ms for name, result in results.items()}, rel=1e-6)


def test_undecided_pairs_are_ties() -> None:
    truth = {"a": 0.5, "b": 0.5, "c": 0.6, "d": 0.7, REFERENCE: 0.4}
    results = measured(SimulatedDevice(truth, 0), Schedule())
    assert [set(pair) for pair in ties(results)] == [{"a", "b"}]
    assert ties(results, lambda _: [("c", "a"), ("c", "d")]) == []
    assert neighbours({"x": 3.0, "y": 1.0, "z": 2.0}) == [("y", "z"), ("z", "x")]
    assert neighbours({"x": 3.0}) == []


def test_stopping_when_decided_rarely_decides_between_equals() -> None:
    truth = {"a": 0.5, "b": 0.5, REFERENCE: 0.4}
    schedule = Schedule(processes=3, rounds=6, target=1e-6, warm_ms=1.0)
    results = [measured(SimulatedDevice(truth, seed), schedule, relevance=neighbours) for seed in range(30)]
    assert sum(not compare(each["a"], each["b"]).tie for each in results) <= 4  # 5 % of 30 are 1.5


def test_time_limits_processes_and_rounds_but_never_below_three() -> None:
    hurried = measured(SimulatedDevice(CLOSE, 1), Schedule(max_seconds=1e-3, target=1e-6))["net0"]
    assert [len(process) for process in hurried.samples] == [3, 3, 3]
    assert not hurried.resolved


def _samples(device: SimulatedDevice, schedule: Schedule) -> tuple[Any, ...]:
    return measured(device, schedule)["net0"].samples


def test_the_ranking_value_is_the_median_over_processes_of_the_fastest_run() -> None:
    result = measured(SimulatedDevice(CLOSE, 2), Schedule(target=10.0))["net3"]
    fastest = [min(ns for visit in process for ns in visit) / 1e6 for process in result.samples]
    assert result.value_ms == pytest.approx(sorted(fastest)[1])
    everything = sorted(ns / 1e6 for process in result.samples for visit in process for ns in visit)
    assert result.count == len(everything)
    assert result.percentile(50) == pytest.approx(statistics.median(everything))
    assert everything[0] <= result.value_ms <= result.percentile(90) <= result.percentile(99)
    low, high = result.interval_ms
    found = result.measurement()
    assert low < result.value_ms < high
    assert (found.provenance, found.value, found.samples) == ("measured", result.value_ms, result.count)
    assert found.spread == pytest.approx(high - result.value_ms)


def test_the_health_gate_marks_drift_and_bursts_and_leaves_a_quiet_run_alone() -> None:
    def health(**conditions: float) -> Any:
        return measured(SimulatedDevice(CLOSE, 3, **conditions), Schedule(target=10.0))["net0"]

    assert not health(bursts=0, drift=0).noisy
    drifting = health(bursts=0, drift=0.5)
    assert drifting.noisy and drifting.health.drift > 0.05
    bursting = health(bursts=3, drift=0, idle_ms=5)
    assert bursting.noisy and bursting.health.spread > 1.3


def test_contention_is_the_share_of_visits_with_more_wall_than_processor_time() -> None:
    visits = [{"wall": [100, 100], "cpu": 199}, {"wall": [100, 100], "cpu": 150}] * 2
    process = {"rounds": [{"a": visit, REFERENCE: visit} for visit in visits]}
    results = summarise([process], PROFILE, Schedule(), {"a": "none", REFERENCE: "none"})
    assert results["a"].contention == 0.5
    assert list(results) == ["a"]


def test_results_of_different_runs_or_profiles_are_not_compared() -> None:
    one = measured(SimulatedDevice(CLOSE, 4), Schedule())
    two = measured(SimulatedDevice(CLOSE, 4), Schedule())
    with pytest.raises(LatencyError, match="different runs"):
        compare(one["net0"], two["net1"])
    with pytest.raises(LatencyError, match="different profiles"):
        compare(one["net0"], replace(one["net1"], profile="another"))


def test_every_round_visits_every_model_once_in_changing_order() -> None:
    order: list[str] = []
    device = SimulatedDevice({"a": 3.0, "b": 3.0, "c": 3.0}, 0)

    def named(name: str) -> worker.Session:
        run = device.session(name)

        def session() -> None:
            order.append(name)
            run()

        return session

    plan = worker.Plan(rounds=20, visit_ms=2.0, warm_ms=0.0, seconds=math.inf, seed=0)
    rounds = worker.interleave({name: named(name) for name in "abc"}, plan, device)["rounds"]
    assert all(sorted(visits) == ["a", "b", "c"] for visits in rounds)
    visits = order[-20 * 3 * 2 :: 2]  # a visit of these is one untimed and one timed run
    orders = {tuple(visits[i : i + 3]) for i in range(0, 60, 3)}
    assert all(sorted(each) == ["a", "b", "c"] for each in orders) and len(orders) > 3


def test_every_process_loads_the_models_in_an_order_of_its_own_that_its_seed_gives() -> None:
    models = {name: {"kind": name} for name in "abcdefgh"}
    orders = [worker.shuffled(models, seed) for seed in range(20)]
    assert all(dict(order) == models for order in orders)
    assert len({tuple(name for name, _ in order) for order in orders}) > 15
    assert worker.shuffled(models, 3) == orders[3]


@pytest.mark.parametrize(("ms", "runs"), [(0.0001, 128), (0.5, 4), (0.7, 3), (50.0, 1)])
def test_a_visit_lasts_at_least_the_least_duration_unless_the_graph_is_tiny(ms: float, runs: int) -> None:
    device = SimulatedDevice({"a": ms}, 0, bursts=0, drift=0)
    plan = worker.Plan(rounds=3, visit_ms=2.0, warm_ms=1.0, seconds=math.inf, seed=0)
    walls = [visits["a"]["wall"] for visits in device.launch(plan)["rounds"]]
    assert {len(wall) for wall in walls} <= {runs, max(1, runs - 1)}  # jitter may make a run 1 % longer


def steady_processes(levels: tuple[float, ...] = (1.0, 1.01, 1.02)) -> list[intervals.Array]:
    """Two models in processes of different speed; the second model is half as fast, always."""
    return [np.full((5, 2), level) * [1.0, 2.0] for level in levels]


def test_the_midmean_is_the_mean_of_the_middle_half_and_a_median_of_few() -> None:
    values = np.array([[9.0], [1.0], [2.0], [100.0], [4.0], [3.0], [-50.0], [5.0]])
    assert intervals.midmean(values) == pytest.approx(np.mean([2.0, 3.0, 4.0, 5.0]))
    assert intervals.midmean(values[:3]) == pytest.approx(2.0)
    assert intervals.midmean(values[:1]) == pytest.approx(9.0)


@pytest.mark.parametrize("estimator", intervals.LATENCY)
def test_latencies_keep_the_ratios_of_steady_models_and_the_level_of_their_best_cases(
    estimator: intervals.Estimator,
) -> None:
    np.testing.assert_allclose(np.exp(estimator(steady_processes())), [1.01, 2.02])
    slow_spell = [block * np.array([[1.0], [1.0], [3.0], [1.0], [1.0]]) for block in steady_processes()]
    np.testing.assert_allclose(np.exp(estimator(slow_spell)), [1.01, 2.02])


def test_lucky_visits_move_the_fastest_one_and_not_the_midmean() -> None:
    """Eight equal models; now and then a visit falls into a moment of a higher clock rate."""
    draw = np.random.default_rng(0)
    visits = draw.lognormal(0, 0.001, (3, 12, 8)) * (1 - 0.1 * (draw.random((3, 12, 8)) < 0.08))
    steady, fastest = (estimator(list(visits)) for estimator in intervals.LATENCY)
    assert np.ptp(fastest) > 0.09 > 0.01 > np.ptp(steady)
    assert intervals.steadiest(intervals.LATENCY, list(visits)) is intervals.LATENCY[0]


def test_where_other_work_fills_most_of_the_time_the_fastest_visit_is_the_steadier_figure() -> None:
    draw = np.random.default_rng(0)
    busy = 1 + draw.exponential(0.002, (3, 24, 4)) + (draw.random((3, 24, 4)) < 0.6) * draw.uniform(1, 3, (3, 24, 4))
    assert intervals.steadiest(intervals.LATENCY, list(busy)) is intervals.LATENCY[1]
    assert intervals.steadiest(intervals.RATIO, list(busy[..., :2])) is intervals.RATIO[1]


def test_variance_over_rounds_and_over_processes_is_that_of_the_bootstrap_written_out() -> None:
    draw = np.random.default_rng(1)
    blocks = [draw.lognormal(0, 0.05, (4, 1)) * np.ones((1, 2)) * [1.0, 1 + level] for level in (0.0, 0.1, 0.2)]
    estimator = intervals.RATIO[1]
    values = [float(estimator.of_process(np.log(block))[0]) for block in blocks]
    medians = [np.median([values[i] for i in chosen]) for chosen in product(range(3), repeat=3)]
    found = intervals.over_processes(estimator, blocks, np.random.default_rng(0))[0]
    assert found == pytest.approx(np.var(medians) * 3 / 2, rel=0.15)
    assert intervals.over_rounds(estimator, blocks, np.random.default_rng(0))[0] == pytest.approx(0, abs=1e-12)


def test_with_steady_processes_the_interval_is_students_t_with_one_degree_of_freedom_less_than_processes() -> None:
    medians = [np.log(np.median(chosen)) for chosen in product((1.0, 1.01, 1.02), repeat=3)]
    exact = (
        4.303 * np.std(medians) * (3 / 2) ** 0.5
    )  # 97.5 % quantile for 2 degrees of freedom, from the published table
    for estimator in intervals.LATENCY:
        assert intervals.half_width(estimator, steady_processes(), 0)[0] == pytest.approx(exact, rel=0.1)


def test_more_confidence_means_wider_intervals_by_students_t() -> None:
    blocks = steady_processes()
    usual, sure = (intervals.half_width(intervals.LATENCY[1], blocks, 0, confidence)[0] for confidence in (0.95, 0.99))
    assert sure / usual == pytest.approx(9.925 / 4.303, rel=1e-3)  # both quantiles from the published table


# --------------------------------------------------------------------------- for real

QUICK = Schedule(processes=2, rounds=3, visit_ms=0.2, warm_ms=0.5, target=10.0, max_seconds=20)
X = Image(3, 8, 8)


@pytest.mark.parametrize("device", ["local-cpu", "local-cpu-torch"])
def test_this_machine_measures_specs_in_fresh_processes(device: str) -> None:
    steps: list[tuple[int, int, str]] = []
    here = profile(device)
    results = measure(
        {"narrow": (Conv(width=4), X), "wide": (Conv(width=64), X)}, here, QUICK, lambda *step: steps.append(step)
    )
    assert list(results) == ["narrow", "wide"]
    for result in results.values():
        assert result.profile == here.digest
        assert len(result.samples) == 2 and len(result.samples[0]) == 3
        assert 0 < result.value_ms < 1000 and 0 <= result.contention <= 1
        assert result.health.reference_ms > 0
    assert results["wide"].converter == ("torchscript" if device == "local-cpu" else "none")
    assert steps[0][2].startswith("preparing") and steps[-1][2] == "timing 2 models"
    assert all(0 <= done < total for done, total, _ in steps)
    assert compare(results["wide"], results["narrow"]).ratio > 0


def test_nothing_to_measure_gives_nothing() -> None:
    assert measure({}, PROFILE) == {}


def test_the_name_of_the_reference_is_taken() -> None:
    with pytest.raises(LatencyError, match="call the candidate something else"):
        measure({REFERENCE: (Conv(width=4), X)}, PROFILE)


def test_another_machines_profile_is_refused() -> None:
    with pytest.raises(LatencyError, match="'abacus' there"):
        measure({"a": (Conv(width=4), X)}, PROFILE.model_copy(update={"processor": "abacus"}))


@pytest.mark.parametrize(
    "settings", [{"target": 0}, {"max_seconds": -1}, {"visit_ms": 0}, {"processes": 0}, {"rounds": 2}]
)
def test_schedules_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(LatencyError, match=next(iter(settings))[:5]):
        Schedule(**settings)


def test_a_worker_that_fails_reports_its_last_words(tmp_path: Any) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    bad = Prepared({"kind": "onnx", "file": str(tmp_path / "bad.onnx"), "provider": PROFILE.provider}, "none", 0.0)
    with (
        Local().launcher({"the bad one": bad}, PROFILE, tmp_path) as launch,
        pytest.raises(LatencyError, match=r"(?s)process failed.*loading the bad one.*InvalidProtobuf"),
    ):
        launch(worker.Plan(rounds=3, visit_ms=1, warm_ms=1, seconds=1, seed=0))


def dies(tmp_path: Any, code: str) -> Callable[[], object]:
    """A launch whose worker imports `code` as the file of a user's block."""
    (tmp_path / "block.py").write_text(code)
    model = {"kind": "torch", "path": [], "modules": {"dying_block": str(tmp_path / "block.py")}}
    prepared = {"dying": Prepared({**model, "spec": {}, "input": {}}, "none", 0.0)}

    def launch() -> object:
        with Local().launcher(prepared, PROFILE, tmp_path) as launch:
            return launch(worker.Plan(rounds=3, visit_ms=1, warm_ms=1, seconds=1, seed=0))

    return launch


def test_a_worker_that_crashes_names_the_signal_and_the_model(tmp_path: Any) -> None:
    with pytest.raises(LatencyError, match=r"(?s)killed by SIGSEGV.*loading dying"):
        dies(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")()


def test_a_worker_that_hangs_is_ended(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from archfront.hw_profiles import transport

    run = transport._run
    monkeypatch.setattr(transport, "_run", lambda command, limit: run(command, 4.0))
    with pytest.raises(LatencyError, match=r"(?s)did not end within 4 s.*loading dying"):
        dies(tmp_path, "import time\ntime.sleep(60)\n")()


def test_feature_inputs_keep_batch_one() -> None:
    assert [tuple(t.shape) for t in Feature(3, (8, 8)).example()] == [(PROFILE.batch, 3, 8, 8)]


def test_runs_out_of_an_empty_cache_are_asked_for_and_kept_apart() -> None:
    asked = Schedule(processes=2, rounds=3, target=10.0, warm_ms=1.0, evict=64)
    for result in measured(SimulatedDevice(CLOSE, 0), asked).values():
        assert [len(runs) for runs in result.cold] == [3 * worker.COLD_RUNS] * 2
        assert result.cold_process_ms == pytest.approx([min(runs) / 1e6 for runs in result.cold], rel=0.05)
        assert all(len(visit) <= worker.Plan.max_runs for process in result.samples for visit in process)
    plain = measured(SimulatedDevice(CLOSE, 0), replace(asked, evict=0))
    assert all(result.cold == () == result.cold_process_ms for result in plain.values())


def test_other_data_are_copied_before_each_run_out_of_an_empty_cache() -> None:
    other, seen = (bytearray(4), bytearray(b"abcd")), list[bytes]()

    def session() -> None:
        seen.append(bytes(other[0]))
        other[0][:] = b"...."

    assert len(worker.cold(session, other, SimulatedDevice(CLOSE, 0))) == worker.COLD_RUNS
    assert seen == [b"abcd"] * worker.COLD_RUNS
