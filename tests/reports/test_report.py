"""What a report says and how it is written, without a browser."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from archfront.hw_profiles.metrics import METRICS
from archfront.reports import figures, summary
from archfront.reports.report import ReportData, flatten, render, write
from archfront.space.errors import ArchfrontError

TITLES = {name: of.title for name, of in METRICS.items()}

HOSTILE = "</script><img src=x onerror=document.title='owned'><!--<script>"


class Page(HTMLParser):
    """The elements of a page, and the text of its data block and of everything outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.block, self.text, self._inside = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = "block" if dict(attrs).get("id") == "data" else tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "block":
            self.block += data
        elif not self._inside:
            self.text += data


@pytest.fixture(scope="module")
def page(study: ReportData) -> Page:
    return Page(render(study))


# --------------------------------------------------------------------------- the data block


def test_the_data_block_holds_every_number_of_the_study(page: Page, candidates: pd.DataFrame) -> None:
    block = json.loads(page.block)
    assert block["number"] == candidates["number"].tolist()
    assert block["values"]["macs"]["v"] == candidates["macs"].tolist()
    for name in ("latency_ms", "supernet_accuracy"):
        given = np.array([math.nan if v is None else v for v in block["values"][name]["v"]])
        np.testing.assert_allclose(given, candidates[name], rtol=1e-6)
    assert [block["number"][i] for i in block["front"]] == candidates[candidates["front"]]["number"].tolist()


def test_the_data_block_holds_every_choice(page: Page, candidates: pd.DataFrame) -> None:
    choices = json.loads(page.block)["choices"]
    for row, sites in zip(choices["picked"], candidates["sites"], strict=True):
        named = {
            site: options[k]
            for site, options, k in zip(choices["sites"], choices["options"], row, strict=True)
            if k is not None
        }
        assert named == json.loads(sites)


def test_an_option_that_is_nothing_is_written_none(study: ReportData) -> None:
    trials = study.trials.head(2).copy()
    trials["sites"] = ['{"gate": null}', '{"other": 3}']
    choices = json.loads(Page(render(remake(study, trials))).block)["choices"]
    assert choices == {"sites": ["gate", "other"], "options": [["None"], ["3"]], "picked": [[0, None], [None, 0]]}


def test_the_page_asks_for_nothing_outside_itself(page: Page) -> None:
    addresses = [attrs.get(k) for _, attrs in page.tags for k in ("src", "href", "srcset", "action") if k in attrs]
    assert all(address and address[0] in "#d" for address in addresses)  # "#anchor" and "data:,"
    assert not [tag for tag, _ in page.tags if tag in ("iframe", "object", "embed", "base")]


def test_hostile_names_stay_text(
    make_candidates: Callable[..., pd.DataFrame], make_study: Callable[..., ReportData]
) -> None:
    plain = make_candidates(12)
    trials = plain.copy()
    trials["origin"] = trials["reason"] = trials["digest"] = HOSTILE
    trials["sites"] = json.dumps({HOSTILE: HOSTILE, "other": "x\u2028y"})
    references = pd.DataFrame({"name": [HOSTILE], "latency_ms": [1.0], "accuracy": [0.9]})
    words = {"title": HOSTILE, "data": HOSTILE, "input": HOSTILE, "space_text": HOSTILE, "notes": (HOSTILE,)}
    nested = {HOSTILE: {HOSTILE: [HOSTILE]}}
    bad = make_study(trials, references=references, configuration=nested, environment=nested, **words)
    page, clean = Page(render(bad)), Page(render(make_study(plain)))
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert [t for t, _ in page.tags].count("script") == [t for t, _ in clean.tags].count("script") == 8
    block = json.loads(page.block)
    assert HOSTILE in block["strings"] and block["choices"]["sites"][0] == HOSTILE
    assert HOSTILE in page.text


@pytest.mark.slow
def test_a_report_of_2000_trials_fits_into_6_megabytes(
    make_candidates: Callable[..., pd.DataFrame], make_study: Callable[..., ReportData]
) -> None:
    assert len(render(make_study(make_candidates(2000))).encode()) <= 6e6


# --------------------------------------------------------------------------- what it says


def test_the_headline_is_the_exported_network_with_its_best_numbers(study: ReportData, page: Page) -> None:
    row = study.trials[study.trials["picked"]].iloc[0]
    answer = summary.answer(study)
    assert answer.number == row["number"]
    accuracy, latency = (
        fact.value for fact in answer.facts if fact.title in (TITLES["accuracy"], TITLES["latency_ms"])
    )
    reached = f"{accuracy.split(' ')[0]}\u00a0% accuracy at {latency.split(' ')[0]}\u00a0ms"
    assert answer.headline == f"Network {row['number']} reaches {reached}"  # rounded as the same numbers below it
    assert abs(float(accuracy.split(" ")[0]) - 100 * row["accuracy"]) < row["accuracy.spread"]
    assert answer.headline in page.text


def test_without_an_exported_network_the_best_measured_one_goes_before_any_estimate(study: ReportData) -> None:
    trials = study.trials.assign(picked=False)
    trials.loc[trials["state"] == "complete", "supernet_accuracy"] = 0.999  # estimates that beat every measurement
    data = ReportData(**{**study.__dict__, "trials": trials})
    assert summary.answer(data).number == trials.loc[trials["accuracy"].idxmax(), "number"]


def test_of_equally_accurate_networks_the_best_is_the_one_that_costs_least(study: ReportData) -> None:
    trials = study.trials.assign(picked=False)
    measured = trials["accuracy"].notna()
    trials.loc[measured, "accuracy"] = 0.97
    data = ReportData(**{**study.__dict__, "trials": trials})
    assert summary.answer(data).number == trials.loc[trials.loc[measured, "latency_ms"].idxmin(), "number"]


def test_the_evidence_states_what_can_be_recomputed(study: ReportData) -> None:
    finished = study.trials[study.trials["accuracy"].notna()]
    error = (finished["predicted_latency_ms"] / finished["latency_ms"] - 1).abs() * 100
    tau = kendalltau(finished["accuracy"], finished["supernet_accuracy"]).statistic
    gap = (finished["accuracy"] - finished["test_accuracy"]).mean() * 100
    text = " ".join(summary.evidence(study))
    assert f"off by {error.median():.2g} %, at worst by {error.max():.2g} %, on {len(finished)} networks" in text
    assert f"tau {tau:.2f}" in text
    assert f"{abs(gap):.2g} points {'below' if gap >= 0 else 'above'}" in text


def test_from_few_networks_nothing_is_expected_but_what_the_calibration_says(study: ReportData) -> None:
    trials = study.trials[study.trials["front"]].head(1).copy()
    trials["latency_ms"], trials["predicted_latency_ms"] = 1.0, 1.01
    trials["predicted_latency_ms.spread"] = 0.0808
    trials["accuracy"], trials["test_accuracy"] = 0.92, 0.91
    text = " ".join(summary.evidence(remake(study, trials)))
    assert "Predicted latency was off by 1 % on the 1 network measured afterwards: too few to expect" in text
    assert "95 % interval of ±8 %." in text
    assert "typically" not in text and "Measuring took" not in text
    assert "Test accuracy lies 1 point below validation accuracy for the one network that was tested" in text


def test_estimates_that_all_tie_are_no_evidence_about_order(study: ReportData) -> None:
    trials = study.trials.copy()
    trials["supernet_accuracy"] = 0.9
    assert "Kendall" not in " ".join(summary.evidence(remake(study, trials)))


def test_the_evidence_counts_what_measuring_changed_about_the_front(study: ReportData) -> None:
    """Four networks in a row, better and slower each; measured, the second is slower than the third."""
    trials = study.trials[study.trials["accuracy"].notna()].head(4).copy()
    for column in ("accuracy", "supernet_accuracy"):
        trials[column] = [0.6, 0.7, 0.8, 0.9]
    trials["predicted_latency_ms"], trials["latency_ms"] = [1.0, 2.0, 3.0, 4.0], [1.0, 3.2, 3.0, 4.0]
    trials["front"] = [True, False, True, True]
    text = " ".join(summary.evidence(ReportData(**{**study.__dict__, "trials": trials})))
    assert "Of 4 networks that were fine-tuned and measured, 4 made up their front by the estimates" in text
    assert "Measuring took 1 of these off it and brought 0 others onto it." in text


def test_steps_smaller_than_their_interval_are_called_ties(study: ReportData) -> None:
    trials = study.trials[study.trials["front"]].head(3).copy()
    trials["accuracy"], trials["accuracy.spread"] = [0.90, 0.905, 0.95], 0.01
    data = ReportData(**{**study.__dict__, "trials": trials})
    assert any("1 of 2 steps" in sentence for sentence in summary.evidence(data))


@pytest.mark.parametrize(
    ("name", "value", "spread", "expected"),
    [
        ("accuracy", 0.9694, 0.0081, "96.94 ± 0.81 %"),
        ("accuracy", 0.9965, 0.0159, "99.7 % (98.1 to 100)"),
        ("accuracy", 1.0, 0.013, "100.0 % (98.7 to 100)"),
        ("test_accuracy", 0.004, 0.01, "0.4 % (0 to 1.4)"),
        ("latency_ms", 1.2345, 0.02, "1.234 ± 0.020 ms"),
        ("latency_ms", 0.01, 0.02, "0.010 ± 0.020 ms"),
        ("latency_ms", 123.45, 12.0, "123 ± 12 ms"),
        ("latency_ms", 1.2345, None, "1.23 ms"),
        ("latency_ms", 1.2345, math.nan, "1.23 ms"),
        ("params", 5_300_000, 0.0, "5.3 M"),
    ],
)
def test_a_value_is_written_to_the_place_its_interval_allows(
    name: str, value: float, spread: float | None, expected: str
) -> None:
    assert summary.with_spread(METRICS[name], value, spread) == expected


def test_a_rating_without_labels_shares_no_axis_with_accuracy_and_is_named(study: ReportData) -> None:
    trials = study.trials.rename(columns=lambda name: str(name).replace("supernet_accuracy", "block_agreement"))
    trials["block_agreement"] -= 2  # in no way a share of images
    data = ReportData(**{**study.__dict__, "trials": trials})
    axes = figures.axes(data)
    assert axes.y.metrics == ("block_agreement",)  # what every candidate has
    assert ("accuracy",) in [axis.metrics for axis in axes.all]
    assert figures.hypervolume_curve(data)["metrics"][0] == "block_agreement"  # type: ignore[index]
    finished = trials["accuracy"].notna()
    assert figures.best_known(trials[finished], "accuracy").equals(trials.loc[finished, "accuracy"])
    assert figures.best_known(trials[~finished], "accuracy").equals(trials.loc[~finished, "block_agreement"])
    early = ReportData(**{**study.__dict__, "trials": trials[~finished & ~trials["picked"].astype(bool)]})
    assert "block agreement (no labels)" in summary.answer(early).headline
    assert "% accuracy" not in summary.answer(early).headline
    assert any("shared-weight estimate" in sentence for sentence in summary.evidence(data))


def test_coverage_accounts_for_every_candidate_and_metric_that_any_has(study: ReportData) -> None:
    rows = dict(summary.coverage(study))
    assert set(rows) == {METRICS[name].title for name in METRICS if name in study.trials}
    assert all(sum(counts) == len(study.trials) for counts in rows.values())
    assert rows[METRICS["predicted_latency_ms"].title][2] == len(study.trials)


# --------------------------------------------------------------------------- figures


def test_without_a_measured_front_the_data_block_names_the_front_by_estimates(study: ReportData) -> None:
    assert json.loads(Page(render(study)).block)["estimated"] == []
    early = study.trials.drop(columns=["accuracy", "latency_ms"]).assign(front=False, picked=False)
    block = json.loads(Page(render(remake(study, early))).block)
    open_ = early[early["state"] == "complete"]
    pairs = list(zip(open_["number"], open_["supernet_accuracy"], open_["predicted_latency_ms"], strict=True))
    undominated = [n for n, a, t in pairs if not any(b >= a and s <= t and (b, s) != (a, t) for _, b, s in pairs)]
    assert [block["number"][i] for i in block["estimated"]] == undominated


def test_no_interval_of_a_share_leaves_0_to_100_percent() -> None:
    option = figures.Option("3", 2, 0.99, 0.02)
    found = [figures.Effect("kernel", 1.0, (option,))]
    assert figures.extent(found, METRICS["accuracy"]) == (0.97, 1.0)
    assert figures.extent(found, METRICS["latency_ms"]) == (0.97, 1.01)


def test_the_explained_share_equals_one_minus_the_variance_within_options(study: ReportData) -> None:
    complete = study.trials[study.trials["state"] == "complete"]
    site = "stages[1].width"
    labels = complete["sites"].map(lambda text: json.loads(text)[site])
    within = complete["supernet_accuracy"].groupby(labels).transform("mean")
    expected = (
        1
        - ((complete["supernet_accuracy"] - within) ** 2).sum()
        / ((complete["supernet_accuracy"] - complete["supernet_accuracy"].mean()) ** 2).sum()
    )
    found = {effect.site: effect for effect in figures.effects(study, "supernet_accuracy")}
    assert found[site].explained == pytest.approx(expected)
    assert {o.label: o.count for o in found[site].options} == labels.value_counts().to_dict()
    shares = [effect.explained for effect in figures.effects(study, "supernet_accuracy")]
    assert shares == sorted(shares, reverse=True)


def test_the_hypervolume_curve_never_falls_and_states_a_reference_that_all_feasible_candidates_beat(
    study: ReportData,
) -> None:
    curve = figures.hypervolume_curve(study)
    assert curve is not None
    assert curve["metrics"] == ["supernet_accuracy", "predicted_latency_ms"]
    assert (np.diff(curve["share"]) >= 0).all() and 0 < curve["share"][-1] <= 1
    complete = study.trials[study.trials["state"] == "complete"]
    assert curve["reference"][0] < complete["supernet_accuracy"].min()
    assert curve["reference"][1] > complete["predicted_latency_ms"].max()


def test_an_axis_shows_what_was_measured_and_else_its_estimate(study: ReportData) -> None:
    axes = figures.axes(study)
    assert axes.y.metrics == ("accuracy", "supernet_accuracy")
    assert axes.x.metrics == ("latency_ms", "predicted_latency_ms")
    best = figures.best_known(study.trials, "latency_ms")
    assert best.equals(study.trials["latency_ms"].fillna(study.trials["predicted_latency_ms"]))


# --------------------------------------------------------------------------- degenerate studies


def remake(study: ReportData, trials: pd.DataFrame) -> ReportData:
    return ReportData(**{**study.__dict__, "trials": trials})


def test_a_study_without_candidates_says_what_to_do(study: ReportData) -> None:
    assert "Run the search" in Page(render(remake(study, study.trials.head(0)))).text


def test_a_study_where_everything_failed_names_the_commonest_reason(study: ReportData) -> None:
    trials = study.trials[study.trials["state"] == "failed"]
    page = Page(render(remake(study, trials)))
    text = page.text
    assert "No candidate could be evaluated" in text and "No network fits the budget" not in text
    assert f"All {len(trials)} candidates failed. Most often: loss became NaN in step 41 ({len(trials)} times)." in text


def test_a_study_where_nothing_fits_names_the_binding_bound_and_the_nearest_miss(study: ReportData) -> None:
    trials = study.trials[study.trials["state"] == "infeasible"]
    text = Page(render(remake(study, trials))).text
    excess = (trials["predicted_latency_ms"].min() / 1.3 - 1) * 100
    assert f"excludes {len(trials)} of {len(trials)}; the nearest misses it by {excess:.2g} %." in text


def test_what_nothing_fits_into_is_still_drawn_by_its_estimates(study: ReportData) -> None:
    axes = figures.axes(remake(study, study.trials[study.trials["state"] == "infeasible"]))
    assert axes.x.metrics == ("latency_ms", "predicted_latency_ms")


def test_a_study_of_one_candidate_renders(study: ReportData) -> None:
    page = Page(render(remake(study, study.trials[study.trials["picked"]])))
    assert "the only one on the front out of 1 candidate" in page.text


# --------------------------------------------------------------------------- input and output


def test_a_table_without_a_needed_column_is_refused_by_name(study: ReportData) -> None:
    with pytest.raises(ArchfrontError, match="lacks the columns origin"):
        remake(study, study.trials.drop(columns="origin"))


def test_an_unknown_state_is_refused_with_the_nearest(study: ReportData) -> None:
    with pytest.raises(ArchfrontError, match="did you mean 'complete'"):
        remake(study, study.trials.assign(state="completed"))


@pytest.mark.parametrize("change", [{"objectives": ("acuracy", "latency_ms")}, {"budget": {"latency": (None, 1.0)}}])
def test_an_unknown_metric_is_refused_with_the_nearest(study: ReportData, change: dict[str, Any]) -> None:
    with pytest.raises(ArchfrontError, match="did you mean"):
        ReportData(**{**study.__dict__, **change})


def test_writing_replaces_the_file_at_once_and_leaves_nothing_else(study: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "report.html"
    small = remake(study, study.trials.head(3))
    write(small, path)
    write(small, path)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == render(small)


def test_a_report_that_cannot_be_made_leaves_the_old_one(study: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ArchfrontError):
        write(remake(study, study.trials.assign(architecture='{"schema": 99}')), path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_path_that_cannot_be_written_is_named(study: ReportData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchfrontError, match=r"cannot write .*file/report\.html"):
        write(remake(study, study.trials.head(1)), tmp_path / "file" / "report.html")


def test_configuration_is_shown_leaf_by_leaf() -> None:
    nested = {"search": {"trials": 3, "objectives": ["a", "b"]}, "seed": 0}
    assert list(flatten(nested)) == [("search.trials", "3"), ("search.objectives", "a, b"), ("seed", "0")]
