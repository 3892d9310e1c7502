"""archfront search --evaluator table:FILE, as a person runs it."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from archfront.cli import app
from archfront.evaluators.table import Table

ASKED = ("--objectives", "accuracy:max, latency_ms", "--budget", "latency_ms<=6", "--sampler", "surrogate")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", "--evaluator", "table:cells.parquet", "--quiet", *arguments])


@pytest.fixture(autouse=True)
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """64 finished experiments in the working folder; one choice has a name that is HTML."""
    frame = pd.DataFrame(
        list(product(["conv", "<b>pool", "skip", "none"], range(4), range(4))), columns=["op", "w", "d"]
    )
    strength = frame["op"].map({"conv": 3.0, "<b>pool": 1.5, "skip": 1.0, "none": 0.0})
    frame["accuracy"] = strength * frame["w"] + 2 * frame["d"]
    frame["latency_ms"] = 1 + strength + frame["w"] * (1 + frame["d"]) / 4
    monkeypatch.chdir(tmp_path)
    Table(frame, ("op", "w", "d")).write("cells.parquet")
    return frame


def test_the_front_within_the_budget_is_found_and_kept_with_its_reasons(cells: pd.DataFrame) -> None:
    found = run(*ASKED, "--trials", "64", "--name", "mine", "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    inside = cells[cells["latency_ms"] <= 6]
    assert document["rows"] == document["evaluated"] == len(inside)
    assert document["regret"] == pytest.approx(0, abs=1e-12)
    better = [
        not (
            (inside["accuracy"] >= a)
            & (inside["latency_ms"] <= t)
            & ((inside["accuracy"] > a) | (inside["latency_ms"] < t))
        ).any()
        for a, t in zip(inside["accuracy"], inside["latency_ms"], strict=True)
    ]
    assert sorted((row["accuracy"], row["latency_ms"]) for row in document["front"]) == sorted(
        inside.loc[better, ["accuracy", "latency_ms"]].itertuples(index=False, name=None)
    )
    results = pd.read_parquet("runs/mine/results.parquet")
    assert (results["latency_ms"] <= 6).all()
    assert results["origin"].iloc[0] == "random start"
    assert results["origin"].iloc[-1] != "random start"


def test_the_same_command_goes_on_and_gives_what_one_run_gives() -> None:
    assert run(*ASKED, "--trials", "30", "--name", "parts").exit_code == 0
    assert run(*ASKED, "--trials", "36", "--name", "parts").exit_code == 0
    assert run(*ASKED, "--trials", "36", "--name", "whole").exit_code == 0
    parts, whole = (pd.read_parquet(f"runs/{name}/results.parquet") for name in ("parts", "whole"))
    assert parts.equals(whole)


def test_the_report_opens_offline_and_shows_names_as_they_are() -> None:
    assert run(*ASKED, "--trials", "30", "--name", "mine").exit_code == 0
    page = Path("runs/mine/report.html").read_text()
    text = page[page.rindex("</script>") :]
    assert "<td>&lt;b&gt;pool</td>" in text
    assert "<b>pool" not in text
    assert 'src="http' not in page
    assert "30 of" in page
    assert "random start" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--device", "local-cpu"), "means nothing where a table is searched"),
        (("--epochs", "3"), "means nothing where a table is searched"),
        (("--sampler", "nsga9"), "nsga9"),
        (("--sites", "opp"), "did you mean 'op'"),
        (("--known", "latncy_ms"), "did you mean 'latency_ms'"),
        (("--objectives", "acuracy:max, latency_ms"), "did you mean 'accuracy'"),
        (("--budget", "latency_ms<=0.5"), "latency_ms reaches 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: tuple[str, str], message: str) -> None:
    found = run(*ASKED, *given)
    assert found.exit_code != 0
    assert message in " ".join(found.output.replace("│", " ").split())
    assert not Path("runs/cells/report.html").exists()


def test_a_budget_that_no_row_keeps_ends_with_code_3() -> None:
    assert run(*ASKED[:2], "--budget", "latency_ms<=0.5").exit_code == 3
    assert run(*ASKED[:2], "--budget", "latency_ms=0.5").exit_code == 2


@pytest.mark.parametrize("command", ["report", "export"])
def test_what_a_table_has_not_is_refused_with_what_it_has(command: str) -> None:
    assert run(*ASKED, "--trials", "4", "--name", "mine").exit_code == 0
    found = CliRunner().invoke(app, [command, "mine"])
    assert found.exit_code == 2
    assert "holds the search of a table" in found.stderr and "runs/mine/report.html" in found.stderr
    again = CliRunner().invoke(app, ["search", "--study", "mine", "--quiet"])
    assert again.exit_code == 2 and "holds the search of a table" in again.stderr


def test_a_study_in_runs_goes_on_by_its_name() -> None:
    assert run(*ASKED, "--trials", "4", "--name", "mine").exit_code == 0
    assert run(*ASKED, "--trials", "6", "--study", "mine").exit_code == 0
    assert len(pd.read_parquet("runs/mine/results.parquet")) == 6
    assert not Path("mine").exists()


def test_objectives_have_to_be_named() -> None:
    assert "say which columns" in " ".join(run().output.replace("│", " ").split())


def test_another_search_in_the_same_folder_is_refused() -> None:
    assert run(*ASKED, "--trials", "4").exit_code == 0
    found = run("--objectives", "accuracy:max, w", "--trials", "4")
    assert found.exit_code != 0
    assert "another objectives" in found.output


def test_what_is_known_beforehand_changes_the_search_and_stays_with_it() -> None:
    known = ("--known", "latency_ms, w")
    for options, trials, name in (
        ((), "36", "plain"),
        (known, "30", "told"),
        (known, "36", "told"),
        (known, "36", "whole"),
    ):
        assert run(*ASKED, *options, "--trials", trials, "--name", name).exit_code == 0
    plain, told, whole = (pd.read_parquet(f"runs/{name}/results.parquet") for name in ("plain", "told", "whole"))
    assert told.equals(whole)
    assert told["op"].tolist() != plain["op"].tolist()
    assert run(*ASKED, "--known", "w", "--trials", "40", "--name", "told").exit_code != 0


@pytest.mark.parametrize("option", ["--sites", "--known"])
def test_columns_are_named_for_tables_only(option: str) -> None:
    found = CliRunner().invoke(app, ["search", option, "op"])
    assert found.exit_code != 0
    assert "goes with --evaluator table:FILE" in found.output
