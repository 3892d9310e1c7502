"""The package as users get it: built from a copy of the sources, installed beside nothing but its dependencies.

The rooms are folders at the top of the repository and packages inside `archfront` once installed. Both ways to install
are tried: the editable one that the tests themselves run on, and a wheel in a virtual environment of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("space", "hw_profiles", "evaluators", "search", "reports")
SUFFIXES = (".py", ".typed", ".html", ".css", ".js", ".toml")


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside the repository, without the paths that this test run was given."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def printed(command: Sequence[str | Path], cwd: Path) -> str:
    """What a command prints; the test fails where the command does."""
    done = run(command, cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def packaged_files(sources: Path) -> set[str]:
    """Every file of the rooms that a user needs, by its place in an installed package."""
    found = (path for room in ("archfront", *ROOMS) for path in (sources / room).rglob("*") if path.suffix in SUFFIXES)
    names = {path.relative_to(sources).as_posix() for path in found}
    return {name if name.startswith("archfront/") else f"archfront/{name}" for name in names}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a package is built from, without what earlier builds left behind."""
    copy = tmp_path_factory.mktemp("sources") / "archfront"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for room in ("archfront", *ROOMS):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a source distribution."""
    built = tmp_path_factory.mktemp("dist")
    printed([sys.executable, "-m", "build", "--no-isolation", "--outdir", built, sources], sources)
    (found,) = built.glob("*.whl")
    return found


class Installed(NamedTuple):
    """A virtual environment with archfront in it, and a folder outside every repository."""

    home: Path
    elsewhere: Path

    def path(self, program: str) -> Path:
        return self.home / "bin" / program

    def python(self, code: str) -> str:
        return printed([self.path("python"), "-c", code], self.elsewhere)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own, which sees the dependencies of this one but not its archfront."""
    home, elsewhere = tmp_path_factory.mktemp("env"), tmp_path_factory.mktemp("elsewhere")
    printed([sys.executable, "-m", "venv", "--without-pip", home], elsewhere)
    (packages,) = home.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched, but its own .pth files are not read: the editable install stays hidden.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    printed([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], elsewhere)
    return Installed(home, elsewhere)


def test_the_wheel_holds_every_file_of_every_room_and_no_other_package(wheel: Path, sources: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == packaged_files(sources)


def test_the_wheel_carries_the_licence_and_says_which(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()


def test_an_installed_wheel_is_imported_from_where_it_was_installed(installed: Installed) -> None:
    code = "import archfront.reports, archfront.space.library as lib; print(lib.__file__, archfront.reports.__file__)"
    for file in installed.python(code).split():
        assert Path(file).is_relative_to(installed.home)


def test_an_installed_wheel_registers_every_block_and_reference_of_its_sources(
    installed: Installed, sources: Path
) -> None:
    code = "import sys, archfront.space.references; print(*[name for name in sys.modules if name.startswith('archfront.')])"
    loaded = set(installed.python(code).split())
    for folder in ("space/library", "space/references"):
        files = [path for path in (sources / folder).rglob("*.py") if path.name != "__init__.py"]
        names = {".".join(("archfront", *path.relative_to(sources).with_suffix("").parts)) for path in files}
        assert names and names <= loaded


def test_the_command_of_an_installed_wheel_answers(installed: Installed) -> None:
    version = importlib.metadata.version("archfront")
    assert version in printed([installed.path("archfront"), "--version"], installed.elsewhere)
    assert "micro" in printed([installed.path("archfront"), "spaces"], installed.elsewhere)


def test_no_room_takes_a_top_level_name_in_either_installation(installed: Installed) -> None:
    code = f"from importlib.util import find_spec; print([room for room in {ROOMS} if find_spec(room)])"
    assert installed.python(code) == "[]"
    assert printed([sys.executable, "-c", code], installed.elsewhere) == "[]"


def test_an_editable_install_imports_the_folders_of_the_repository(tmp_path: Path) -> None:
    code = f"import importlib; print(*[importlib.import_module('archfront.' + room).__path__[0] for room in {ROOMS}])"
    assert printed([sys.executable, "-c", code], tmp_path).split() == [str(ROOT / room) for room in ROOMS]


WRONG_KIND = """
    from archfront.space.library.block.mbconv import MBConv

    MBConv(gate=MBConv())
"""

DESIGNED = """
    from archfront.space import Image, Network, Space, Stage, int_range, one_of
    from archfront.space.library.block.mbconv import MBConv
    from archfront.space.library.block.metaformer import MetaFormer
    from archfront.space.library.gate.squeeze_excite import SqueezeExcite
    from archfront.space.library.head.classifier import Classifier
    from archfront.space.library.mixer.large_kernel import LargeKernel
    from archfront.space.library.mixer.window_attention import WindowAttention
    from archfront.space.library.stem.convolution import ConvStem

    space = Space(
        input=Image(3, 32, 32),
        network=Network(
            stem=ConvStem(width=one_of(16, 24, 32)),
            stages=(
                Stage(
                    width=one_of(24, 32, 48),
                    depth=int_range(1, 3),
                    stride=1,
                    block=MBConv(kernel=one_of(3, 5, 7), expand=one_of(3, 4, 6), gate=one_of(None, SqueezeExcite())),
                ),
                Stage(
                    width=one_of(48, 64, 96),
                    depth=int_range(1, 4),
                    stride=2,
                    block=one_of(
                        MBConv(kernel=one_of(3, 5)),
                        MetaFormer(mixer=one_of(WindowAttention(), LargeKernel())),
                    ),
                ),
            ),
            head=Classifier(classes=10),
        ),
    )
    print(space.size)
"""

MYPY = """
    [mypy]
    strict = true

    [mypy-torch.*]
    follow_imports = skip
"""
"""What a user's checker needs to know; torch is left out because reading it takes longer than the rest."""


def checked(code: str, installed: Installed, folder: Path) -> subprocess.CompletedProcess[str]:
    """mypy on a user's file, against the installed wheel."""
    (folder / "mine.py").write_text(textwrap.dedent(code))
    (folder / "mypy.ini").write_text(textwrap.dedent(MYPY))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        installed.path("python"),
        "--cache-dir",
        installed.home / "mypy",
    ]
    return run([*command, "mine.py"], folder)


def test_a_user_s_type_checker_refuses_a_wrong_kind_in_a_field(installed: Installed, tmp_path: Path) -> None:
    found = checked(WRONG_KIND, installed, tmp_path)
    assert found.returncode == 1
    assert (
        'mine.py:4: error: Argument "gate" to "MBConv" has incompatible type "MBConv"; expected "Gate | None"'
        in found.stdout
    )
    assert "Found 1 error" in found.stdout


def test_the_same_wrong_kind_is_an_error_at_run_time(installed: Installed) -> None:
    done = run([installed.path("python"), "-c", textwrap.dedent(WRONG_KIND)], installed.elsewhere)
    assert done.returncode == 1
    assert "SpecError: MBConv.gate: expected a gate" in done.stderr


def test_a_space_written_as_designed_passes_a_user_s_type_checker_and_runs(
    installed: Installed, tmp_path: Path
) -> None:
    found = checked(DESIGNED, installed, tmp_path)
    assert found.stdout == "Success: no issues found in 1 source file\n", found.stdout
    assert int(installed.python(textwrap.dedent(DESIGNED))) > 0
