"""The search command as a person runs it: in processes of its own, interrupted, resumed, and with its output read."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from archfront.api import Result
from archfront.cli import app
from archfront.search.study import Study

COMMAND = [sys.executable, "-c", "from archfront.cli import main; main()"]


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Until a file is there and the process still runs."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on_and_going_on_loses_nothing(sent: signal.Signals, here: Path) -> None:
    process = start("search", "--config", "study.toml", "--name", "mine")
    wait_for(Path("runs/mine/supernet/last.safetensors"), process)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    resume = stderr.strip().splitlines()[-1].split()
    assert resume == ["archfront", "search", "--study", "runs/mine"]

    table = Path("runs/mine/latency.json").stat().st_ino
    assert CliRunner().invoke(app, ["report", "mine"]).exit_code == 0

    result = CliRunner().invoke(app, [*resume[1:], "--json", "--quiet"])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    document = json.loads(result.stdout)
    trials = pd.read_parquet("runs/mine/results.parquet")
    assert document["trials"] == 5
    assert list(trials["number"]) == list(range(5))
    assert trials["digest"].is_unique
    assert Path(document["report"]).exists()
    assert Path(document["export"]).exists()
    assert Path("runs/mine/latency.json").stat().st_ino == table  # not measured again


def test_a_budget_that_nothing_keeps_ends_with_code_3_and_the_nearest(here: Path) -> None:
    result = CliRunner().invoke(app, ["search", "--config", "study.toml", "--budget", "params<=100"])
    assert result.exit_code == 3
    assert "no architecture of the space keeps params" in result.stderr
    assert "stages[0].width=8" in result.stderr
    assert not list(here.rglob("*.safetensors"))


def test_attempts_that_were_refused_leave_the_name_free_for_other_settings(here: Path) -> None:
    command = ["search", "--config", "study.toml", "--name", "mine"]
    for wrong, code in (
        (["--device", "local-cp"], 2),
        (["--data", "nowhere"], 2),
        (["--space", "tiny.py:tyni"], 2),
        (["--budget", "params<=100"], 3),
        (["--budget", "latency<=0.000001ms"], 3),
    ):
        refused = CliRunner().invoke(app, [*command, "--quiet", *wrong])
        assert refused.exit_code == code, refused.output
        assert "other settings" not in refused.stderr
    done = CliRunner().invoke(app, [*command, "--quiet"])
    assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(app, [*command, "--quiet", "--seed", "1"])
    assert refused.exit_code == 2 and "was started with other settings: seed was 0, now 1" in refused.stderr


def test_a_study_is_searched_by_its_name_and_a_misspelt_one_is_no_new_one(searched: Result, at_home: Path) -> None:
    assert CliRunner().invoke(app, ["search", "--study", "tiny"]).exit_code == 0
    missing = CliRunner().invoke(app, ["search", "--study", "tinyy"])
    assert missing.exit_code == 2
    assert "there is no study 'tinyy' to go on with" in missing.stderr and "did you mean 'tiny'" in missing.stderr
    assert not Path("tinyy").exists() and not Path("tiny").exists()


def test_finalists_without_their_trials_are_printed_as_far_as_they_go(
    searched: Result, at_home: Path, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(searched.study.path, tmp_path / "tiny"))
    (study / "study.journal").unlink()
    done = CliRunner().invoke(app, ["search", "--study", str(study)])
    assert done.exit_code == 0, done.output


def test_a_second_search_on_the_same_study_waits_and_says_for_whom(here: Path) -> None:
    study = Study(here / "runs" / "mine")
    with study.locked():
        process = start("search", "--config", "study.toml", "--name", "mine")
        assert process.stderr is not None
        line = next(line for line in process.stderr if "in use" in line)
        assert f"in use by process {os.getpid()}" in line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_an_unexpected_error_ends_with_code_1_and_its_traceback(here: Path) -> None:
    (here / "broken.py").write_text(
        "from dataclasses import replace\n"
        "from tiny import tiny\n"
        "def mine(architecture):\n    raise ZeroDivisionError('mine')\n"
        "def space(input, classes):\n"
        "    from archfront.space import Space\n"
        "    found = tiny(input, classes)\n"
        "    return Space(found.input, found.network, where=mine)\n"
    )
    process = start("search", "--space", "broken.py:space")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ZeroDivisionError: mine" in stderr


def test_a_folder_that_cannot_be_written_is_named(here: Path) -> None:
    (here / "runs").write_text("a file where the folder should be")
    result = CliRunner().invoke(app, ["search", "--config", "study.toml"])
    assert result.exit_code in (1, 2)
    assert "runs" in result.stderr or "runs" in str(result.exception)


def test_the_finished_search_prints_front_report_and_export(searched: Result, at_home: Path) -> None:
    result = CliRunner().invoke(app, ["search", "--study", str(searched.study.path)])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0].strip()) == [
        "trial",
        "val. accuracy",
        "test accuracy",
        "latency",
        "params",
        "FLOPs",
    ]
    assert [line.split()[0] for line in lines if line.startswith("*")] == ["*"]
    assert f"Report: {searched.study.report_file}" in lines
    assert lines[-1].startswith("Best network: ") and lines[-1].endswith(".py")


def test_json_of_a_search_has_every_member_with_provenance(searched: Result, at_home: Path) -> None:
    result = CliRunner().invoke(app, ["search", "--study", str(searched.study.path), "--json"])
    document = json.loads(result.stdout)
    assert document["picked"] == searched.picked
    assert {member["number"] for member in document["front"]} == set(searched.front["number"])
    for member in document["front"]:
        assert member["metrics"]["latency_ms"]["provenance"] == "measured"
        assert member["metrics"]["macs"]["provenance"] == "exact"


def test_report_and_export_print_where_their_files_are(searched: Result, at_home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = json.loads(CliRunner().invoke(app, ["report", "tiny", "--output", str(page), "--json"]).stdout)
    assert done["report"] == str(page)
    assert page.read_text().startswith("<!DOCTYPE html>") or "<html" in page.read_text()[:500]
    table = pd.read_csv(done["results"][1])
    assert list(table["digest"]) == list(searched.trials["digest"])
    arguments = ["export", "tiny", "--output", str(tmp_path / "out"), "--name", "best", "--json"]
    written = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert {Path(written[kind]).name for kind in ("code", "weights", "onnx", "card")} == {
        "best.py", "best.safetensors", "best.onnx", "best.json",
    }  # fmt: skip
    refused = CliRunner().invoke(app, ["export", "tiny", "--pick", "999"])
    assert refused.exit_code == 2
    assert "no trial 999" in refused.stderr


def test_profile_takes_any_trial_of_a_study(searched: Result, at_home: Path) -> None:
    row = searched.trials.iloc[-1]
    result = CliRunner().invoke(
        app, ["profile", "--study", "tiny", "--pick", str(row["number"]), "--no-latency", "--json"]
    )
    assert json.loads(result.stdout)["digest"] == row["digest"]
    missing = CliRunner().invoke(app, ["profile", "--study", "tiny", "--pick", "99"])
    assert missing.exit_code == 2
    assert "it has 5" in missing.stderr


def test_progress_is_lines_in_a_log_and_bars_on_a_terminal(here: Path) -> None:
    arguments = ["profile", "--reference", "wrn_16_4", "--input", "16", "--seconds", "2"]
    log = CliRunner().invoke(app, arguments)
    assert log.exit_code == 0
    assert not [c for c in log.stdout + log.stderr if ord(c) < 32 and c != "\n"]
    shown = on_a_terminal(*arguments)
    assert "\x1b[" in shown
    assert "Measuring latency" in shown


def on_a_terminal(*arguments: str) -> str:
    """What a person sees on standard error."""
    terminal, own = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=own, env=environment) as process:
        os.close(own)
        shown = b""
        while chunk := _read(terminal):
            shown += chunk
        assert process.wait(60) == 0, shown
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
