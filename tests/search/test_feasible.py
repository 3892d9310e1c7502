"""What a budget leaves of a space, and what is said where it leaves nothing."""

import math
import re
import zlib

import numpy as np
import pytest

from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import METRICS
from archfront.search.budget import Bound, Budget, BudgetError
from archfront.search.feasible import Region
from archfront.search.setting import NO_EXCESS
from archfront.space import Architecture, Image, Network, Space, Stage, int_range, one_of
from archfront.space.errors import SpaceError
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

SPACE = Space(
    Image(3, 8, 8),
    Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=one_of(8, 12), depth=int_range(1, 3), block=MBConv(kernel=one_of(3, 5))),),
        head=Classifier(classes=2),
    ),
)


def costs(spec: Spec, x: FeatureType) -> tuple[float, float]:
    """Two costs of which one is dear where the other is cheap."""
    share = zlib.crc32(f"{spec!r} {x!r}".encode()) % 1000
    return float(share), float(1000 - share)


def totals(architecture: Architecture) -> dict[str, float]:
    params, macs = np.sum([costs(part.spec, part.input) for part in architecture.parts], axis=0)
    return {"params": float(params), "macs": float(macs)}


def region(budget: str) -> Region:
    shown = lambda name, value: f"{value:.0f}"  # noqa: E731
    return Region(SPACE, Budget.parse(budget), ("params", "macs"), costs, {}, totals, shown)


def test_bounds_that_exclude_each_other_name_the_least_loosening_that_lets_something_in() -> None:
    values = [totals(architecture) for architecture in SPACE]
    params, macs = min(v["params"] for v in values), min(v["macs"] for v in values)
    least = min(max(v["params"] / params, v["macs"] / macs) for v in values) - 1
    assert least > 0.02, "the two bounds have to exclude each other for this test to mean anything"
    with pytest.raises(BudgetError) as caught:
        region(f"params<={params:.0f}, macs<={macs:.0f}").check()
    found = re.search(r"by the factor ([\d.]+)", str(caught.value))
    assert found is not None
    assert math.isclose(float(found.group(1)) - 1, least, rel_tol=0.01, abs_tol=0.001)


def test_bound_out_of_reach_names_the_least_that_is_reached() -> None:
    least = min(totals(architecture)["macs"] for architecture in SPACE)
    with pytest.raises(BudgetError, match=rf"the least that it reaches is {least:.0f}"):
        region(f"macs<={least - 1:.0f}").check()


@pytest.mark.parametrize(("share", "words"), [(12, "12 times"), (1041, "1,041 times"), (1.5, "50% above")])
def test_how_far_a_bound_is_out_of_reach_is_told_in_its_own_unit_and_not_in_that_of_sums(
    share: float, words: str
) -> None:
    """As with latency, whose value is not the sum of that of the parts."""
    least = min(totals(architecture)["macs"] for architecture in SPACE)
    tiny = 1e-18 * least
    found = Region(
        SPACE, Budget((Bound("macs", high=least / 1000 / share),)), ("params", "macs"), costs,
        {"macs": Bound("macs", high=tiny)}, totals, lambda name, total: f"{total / 1000:.3f}",
        lambda name, total: total / 1000,
    )  # fmt: skip
    with pytest.raises(BudgetError, match=f"the least that it reaches is {least / 1000:.3f}, {words} the bound"):
        found.check()


def test_a_bound_of_zero_is_explained_as_well() -> None:
    least = min(totals(architecture)["params"] for architecture in SPACE)
    with pytest.raises(BudgetError, match=rf"keeps params <= 0: the least that it reaches is {least:.0f}\. Nearest"):
        region("params<=0").check()


def test_memory_out_of_reach_names_what_the_nearest_architecture_takes() -> None:
    budget = Budget.parse("memory<=1KiB")

    def excess(spec: Spec, x: FeatureType) -> tuple[float]:
        return (float(not budget["peak_bytes"].holds(part_cost(spec, x).peak_bytes)),)

    def exact(architecture: Architecture) -> dict[str, float]:
        return {"peak_bytes": cost(architecture).peak_bytes}

    shown = lambda name, value: f"{value:.0f} parts that need more memory"  # noqa: E731
    none = Region(SPACE, budget, ("peak_excess",), excess, {"peak_excess": NO_EXCESS}, exact, shown)
    with pytest.raises(
        BudgetError, match=r"keeps peak_bytes <= 1 KiB: .* parts that need more memory\. Nearest"
    ) as caught:
        none.check()
    nearest = cost(none.cheapest("peak_excess")).peak_bytes
    assert f"peak_bytes {METRICS['peak_bytes'].format(nearest)}\n" in str(caught.value)


def test_predicates_that_refuse_everything_end_the_check() -> None:
    """Loosening the budget would never let anything in."""
    nothing = Space(SPACE.input, SPACE.network, where=lambda architecture: False)
    wide = Region(nothing, Budget.parse("params<=1M"), ("params", "macs"), costs, {}, totals, lambda name, value: "")
    with pytest.raises(SpaceError, match="predicates"):
        wide.check()
