"""archfront audit: from a finished study to the figures, and the section of its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archfront.api import Result
from archfront.cli import app


@pytest.fixture
def study(searched: Result, at_home: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that may be changed."""
    return Path(shutil.copytree(searched.study.path, tmp_path / "tiny"))


def test_an_audit_prints_every_rating_and_goes_into_the_report(study: Path) -> None:
    assert "Can the supernet" not in (study / "report.html").read_text()
    options = ["audit", str(study), "--archs", "4", "--epochs", "3", "--seeds", "2", "--quiet"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    for words in ("Supernet estimate", "FLOPs", "Parameters", "SynFlow", "NASWOT", "Between seeds", "Spearman"):
        assert words in done.stdout
    found = json.loads((study / "audit.json").read_text())
    page = (study / "report.html").read_text()
    assert "Can the supernet" in page
    assert page.count('class="audit-point"') == len(found["networks"]) == 4
    again = CliRunner().invoke(app, [*options, "--json"])
    assert json.loads(again.stdout) == found


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "there is no study" in done.stderr


def test_an_interrupted_audit_says_that_the_same_command_goes_on(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archfront.search.audit.audit_study", stopped)
    monkeypatch.setattr("sys.argv", ["archfront", "audit", str(study), "--seeds", "3"])
    done = CliRunner().invoke(app, ["audit", str(study), "--seeds", "3"])
    assert done.exit_code == 130
    assert f"kept in {study}; go on with:\n  archfront audit {study} --seeds 3" in done.stderr
