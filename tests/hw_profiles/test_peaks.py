"""Peaks of a machine: what decides them, and what they refuse. How fast this machine is, no test can say."""

from __future__ import annotations

import json
import math

import pytest
import torch

from archfront.hw_profiles.cost import part_cost
from archfront.hw_profiles.devices import distant_peaks
from archfront.hw_profiles.peaks import Peaks, cache_size, measure_peaks
from archfront.hw_profiles.profile import LatencyError, Precision, local_profile
from archfront.hw_profiles.runtimes import CacheStreaming, Computing, Streaming, example_module


@pytest.fixture(scope="module")
def peaks() -> Peaks:
    return measure_peaks(seconds=0.1)


def test_the_fastest_kernel_of_each_sort_decides(peaks: Peaks) -> None:
    computing = {name: rate for name, rate in peaks.kernels.items() if "product" in name or "convolution" in name}
    moving = {name: rate for name, rate in peaks.kernels.items() if name not in computing}
    assert peaks.flops_per_s == pytest.approx(max(computing.values()))
    assert peaks.cache_bytes_per_s == pytest.approx(max(moving.values()))
    beyond = [rate for name, rate in moving.items() if int(name.split()[1]) >= 128 * 1024]
    assert peaks.bytes_per_s == pytest.approx(max(beyond))
    assert peaks.bytes_per_s <= peaks.cache_bytes_per_s


def test_both_runtimes_are_tried_in_fp32(peaks: Peaks) -> None:
    assert {name.split()[0] for name in peaks.kernels} == {"torch", "ONNX", "sum,", "copy,"}


def test_the_balance_is_where_computing_takes_as_long_as_moving() -> None:
    peaks = Peaks(flops_per_s=100e9, bytes_per_s=25e9, cache_bytes_per_s=50e9, cache_bytes=1 << 20)
    assert peaks.balance == 4
    assert peaks.cache_balance == 2


def test_the_cache_ends_where_half_its_rate_is_lost() -> None:
    assert cache_size({1: 100.0, 2: 90.0, 4: 51.0, 8: 49.0, 16: 26.0, 32: 25.0}) == 4
    assert cache_size({1: 25.0, 2: 25.0}) == 2


def test_the_threads_of_torch_are_put_back() -> None:
    before = torch.get_num_threads()
    measure_peaks(threads=before + 1, seconds=0.01)
    assert torch.get_num_threads() == before


def test_plain_data_reads_back(peaks: Peaks) -> None:
    assert Peaks(**json.loads(json.dumps(peaks.to_dict()))) == peaks


def test_an_unknown_number_format_is_refused() -> None:
    with pytest.raises(LatencyError, match=r"fp23.*fp32"):
        measure_peaks(dtype="fp23")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(LatencyError, match="bytes_per_s"):
        Peaks(flops_per_s=1.0, bytes_per_s=rate, cache_bytes_per_s=1.0, cache_bytes=0)


def test_the_work_of_the_probes_is_what_their_networks_do() -> None:
    product = Computing()
    assert 2 * part_cost(product, Computing.INPUT).macs == Computing.AMOUNT
    for stream in (Streaming, CacheStreaming):
        module, (given,) = example_module((stream(), stream.INPUT))
        assert given.numel() == stream.AMOUNT
        assert module(given).numel() < given.numel() / 1000, "what is written does not count"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_device_is_asked_for_its_peaks_through_its_runtime(precision: Precision) -> None:
    found = distant_peaks(local_profile(precision=precision), 0.5, None)
    assert all(0 < rate < math.inf for rate in found.values())
    moving = {"bytes_per_s", "cache_bytes_per_s"}
    assert set(found) == {"flops_per_s"} | (moving if precision == "fp32" else set())
