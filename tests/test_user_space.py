"""A space and a block in a file outside the repository go through search, report and export, each in its own process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "my_space.py"

QUICK = """
[data]
limit = 300
[supernet]
epochs = 1
calibration_images = 64
[search]
trials = 6
population = 4
[latency]
blocks = 24
calibration = 4
seconds = 4
processes = 1
final_seconds = 2
[final]
epochs = 1
members = 2
"""


def archfront(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh process."""
    command = [sys.executable, "-m", "archfront", *arguments]
    found = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-3000:]
    return found


def test_a_space_of_ones_own_is_searched_reported_and_exported(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "my_space.py")
    (tmp_path / "quick.toml").write_text(QUICK)
    search = archfront(
        "search", "--config", "quick.toml", "--space", "my_space.py:my_space", "--study", "mine", "--json", cwd=tmp_path
    )
    json.loads(search.stdout)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    archfront("report", str(tmp_path / "mine"), "--output", "again.html", cwd=elsewhere)
    assert "Strip" in (elsewhere / "again.html").read_text()
    archfront("export", str(tmp_path / "mine"), "--output", "out", "--name", "chosen", cwd=elsewhere)
    assert {path.suffix for path in (elsewhere / "out").iterdir()} == {".py", ".safetensors", ".onnx", ".json"}
    code = "import sys; sys.modules['archfront'] = None; sys.path.insert(0, '.'); import chosen; print(chosen.chosen())"
    alone = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=elsewhere / "out", capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    resumed = archfront("search", "--study", str(tmp_path / "mine"), "--json", cwd=elsewhere)
    assert json.loads(resumed.stdout)["front"] == json.loads(search.stdout)["front"]
