"""Tables of finished experiments: reading them, and searching them as if nothing were known."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest

from archfront.evaluators.table import NOTE, Table, TableError, directions
from archfront.search.surrogate.sampler import SurrogateSampler
from archfront.search.tables import ROW, Replay, Rows

optuna.logging.set_verbosity(optuna.logging.ERROR)


def frame() -> pd.DataFrame:
    """64 architectures; accuracy and latency are known functions of the choices."""
    rows = pd.DataFrame(
        list(product(["conv", "pool", "skip", "none"], [8, 16, 24, 32], range(4))), columns=["op", "width", "depth"]
    )
    strength = rows["op"].map({"conv": 3.0, "pool": 1.5, "skip": 1.0, "none": 0.0})
    return rows.assign(
        accuracy=strength * np.log(rows["width"]) + 2 * rows["depth"] * (rows["op"] != "none"),
        latency_ms=strength * rows["width"] * (1 + rows["depth"]) / 10 + 1,
        note="text",
    )


@pytest.fixture
def table() -> Table:
    return Table(frame(), ("op", "width", "depth"))


OBJECTIVES = {"accuracy": "max", "latency_ms": "min"}


def test_a_table_is_read_as_it_was_written(table: Table, tmp_path: Path) -> None:
    table.write(tmp_path / "table.parquet")
    again = Table.read(tmp_path / "table.parquet")
    assert again.sites == table.sites
    assert again.frame.equals(table.frame)


def test_sites_are_named_by_patterns_where_the_file_does_not_say(tmp_path: Path) -> None:
    frame().rename(columns=lambda name: f"site_{name}" if name in ("op", "width", "depth") else name).to_csv(
        tmp_path / "table.csv", index=False
    )
    assert Table.read(tmp_path / "table.csv", ["site_*"]).sites == ("site_op", "site_width", "site_depth")
    with pytest.raises(TableError, match="say which columns hold choices"):
        Table.read(tmp_path / "table.csv")
    with pytest.raises(TableError, match="no column is called 'site_opp'; did you mean 'site_op'"):
        Table.read(tmp_path / "table.csv", ["site_opp"])


def test_columns_named_like_sites_of_a_space_are_found(tmp_path: Path) -> None:
    """`stages[0].width` as a pattern would mean `stages0.width`."""
    named = frame().rename(columns={"op": "stages[0].op", "width": "stages[0].width"})
    Table(named, ("stages[0].op", "stages[0].width", "depth")).write(tmp_path / "table.parquet")
    assert Table.read(tmp_path / "table.parquet").sites == ("stages[0].op", "stages[0].width", "depth")
    assert Table.read(tmp_path / "table.parquet", ["stages[[]0].*", "depth"]).sites[:2] == (
        "stages[0].op",
        "stages[0].width",
    )


def test_the_table_that_ships_is_small_complete_and_says_how_it_was_made() -> None:
    file = Path(__file__).parents[2] / "benchmarks" / "digits.parquet"
    assert file.stat().st_size < 200_000
    table = Table.read(file)
    assert len(table) == 240
    inactive = table.frame[table.frame["stages[0].depth"] == "1"]
    assert (inactive["stages[0].blocks[1].kernel"] == "-").all()
    assert len(inactive) == 2 * 4 * 6  # widths, blocks, and the second stage
    assert table.frame["accuracy"].between(0.1, 1).all()  # better than guessing one of ten digits
    made = json.loads(pq.read_schema(file).metadata[NOTE])["made"]
    assert made["script"] == "benchmarks/make_table.py"
    assert made["training"]["seeds"] == 2


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_text("no parquet")
    with pytest.raises(TableError, match="neither parquet nor"):
        Table.read(tmp_path / "table.parquet", ["op"])
    with pytest.raises(TableError, match="no such file"):
        Table.read(tmp_path / "missing.parquet", ["op"])


def test_choices_must_tell_rows_apart() -> None:
    with pytest.raises(TableError, match="two rows have the same choices"):
        Table(frame(), ("op", "width"))


def test_a_budget_keeps_exactly_the_rows_within_it(table: Table) -> None:
    inside = table.within("latency_ms<=5, accuracy>=2")
    expected = frame().query("latency_ms <= 5 and accuracy >= 2")
    assert inside.frame["latency_ms"].tolist() == expected["latency_ms"].tolist()


def test_an_impossible_budget_says_what_can_be_reached(table: Table) -> None:
    with pytest.raises(TableError, match=r"no row keeps latency_ms<=0.5; latency_ms reaches 1"):
        table.within("latency_ms<=0.5")
    with pytest.raises(TableError, match="cannot read the bound"):
        table.within("latency_ms=5")
    with pytest.raises(TableError, match="holds no numbers"):
        table.within("note<=5")


def test_objectives_are_read_with_their_directions() -> None:
    assert directions("accuracy:max, latency_ms", {}) == OBJECTIVES
    with pytest.raises(TableError, match="'up' is no direction"):
        directions("accuracy:up", {})


def test_searching_everything_leaves_no_regret(table: Table) -> None:
    replay = Replay(table, OBJECTIVES)
    replay.run(replay.study(optuna.samplers.RandomSampler(seed=0)), 1000)
    assert sorted(replay.rows) == list(range(64))
    regret = replay.regret()
    assert regret[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(regret) <= 1e-12).all()


def test_the_front_of_the_results_is_the_front_of_what_was_evaluated(table: Table) -> None:
    replay = Replay(table, OBJECTIVES)
    replay.run(replay.study(optuna.samplers.RandomSampler(seed=0)), 30)
    results = replay.results()
    for _, row in results.iterrows():
        better = (results["accuracy"] >= row["accuracy"]) & (results["latency_ms"] <= row["latency_ms"])
        better &= (results["accuracy"] > row["accuracy"]) | (results["latency_ms"] < row["latency_ms"])
        assert row["front"] == (not better.any())


def test_the_reference_is_the_median_and_the_best_has_the_scale_0() -> None:
    rows = pd.DataFrame({"a": [0, 1, 2], "x": [1.0, 2.0, 5.0], "y": [9.0, 3.0, 1.0]})
    replay = Replay(Table(rows, ("a",)), {"x": "min", "y": "min"})
    assert replay.reference.tolist() == [2.0, 3.0]
    replay.run(replay.study(optuna.samplers.RandomSampler(seed=0)), 3)
    assert replay.most == 0  # no row is better than the median in both
    assert replay.regret().tolist() == [0, 0, 0]  # so nothing can be missing


def test_a_row_whose_evaluation_was_killed_never_counts_as_evaluated(table: Table, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    killed = Replay(table, OBJECTIVES)
    trial = killed.study(optuna.samplers.RandomSampler(seed=0), storage).ask()
    row = killed.row({site: trial.suggest_categorical(site, killed.labels[site]) for site in table.sites})
    trial.set_user_attr(ROW, row)
    for _ in range(2):  # the first to go on marks the trial as failed
        again = Replay(table, OBJECTIVES)
        again.study(optuna.samplers.RandomSampler(seed=0), storage)
        assert again.rows == []


def test_no_evaluation_breaks_the_budget_whatever_the_sampler_proposes(table: Table) -> None:
    inside = table.within("latency_ms<=4")
    replay = Replay(inside, OBJECTIVES)
    replay.run(replay.study(optuna.samplers.NSGAIISampler(population_size=8, seed=0)), 12)
    assert len(set(replay.rows)) == 12
    assert (replay.results()["latency_ms"] <= 4).all()


def test_a_choice_that_is_no_row_is_answered_by_the_nearest(table: Table) -> None:
    replay = Replay(Table(frame().drop(index=0).reset_index(drop=True), table.sites), OBJECTIVES)
    missing = frame().iloc[0][["op", "width", "depth"]].to_dict()
    found = replay.table.choices(replay.row(missing))
    assert sum(found[site] != missing[site] for site in missing) == 1


def test_a_search_goes_on_where_it_stopped(table: Table, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first = Replay(table, OBJECTIVES)
    first.run(first.study(SurrogateSampler(startup=4, seed=0), storage), 8)
    second = Replay(table, OBJECTIVES)
    study = second.study(SurrogateSampler(startup=4, seed=0), storage)
    assert second.rows == first.rows
    second.run(study, 12)
    whole = Replay(table, OBJECTIVES)
    whole.run(whole.study(SurrogateSampler(startup=4, seed=0)), 12)
    assert second.rows == whole.rows


def test_the_surrogate_with_the_rows_as_source_proposes_only_new_rows(table: Table) -> None:
    replay = Replay(table.within("latency_ms<=4"), OBJECTIVES)
    study = replay.study(SurrogateSampler(startup=4, seed=0, source=Rows(replay, ["latency_ms"])))
    replay.run(study, 16)
    known = {tuple(row) for row in replay.table.frame[["op", "width", "depth"]].itertuples(index=False)}
    assert {tuple(t.params[s] for s in ("op", "width", "depth")) for t in study.trials[4:]} <= known
    with pytest.raises(TableError, match="'note' holds no numbers"):
        Rows(replay, ["note"])


def test_rows_without_a_value_are_never_evaluated(table: Table) -> None:
    holes = frame()
    holes.loc[::2, "accuracy"] = np.nan
    replay = Replay(Table(holes, table.sites), OBJECTIVES)
    replay.run(replay.study(optuna.samplers.RandomSampler(seed=0)), 100)
    assert sorted(replay.rows) == list(range(1, 64, 2))
