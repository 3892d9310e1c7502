from __future__ import annotations

import subprocess
import sys

import pytest

import archfront

HEAVY = ("torch", "numpy", "pandas", "optuna", "plotly", "onnx", "onnxruntime", "sklearn", "pydantic")


def loaded_after(statement: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("statement", ["import archfront", "import archfront.cli", "import archfront; dir(archfront)"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert loaded_after(statement) == []


def test_help_loads_nothing_heavy() -> None:
    run = "from typer.testing import CliRunner; from archfront.cli import app; CliRunner().invoke(app, ['--help'])"
    assert loaded_after(run) == []


def test_every_public_name_resolves_and_is_the_object_of_its_room() -> None:
    for name in archfront.__all__:
        assert getattr(archfront, name) is not None
    from archfront.space import Space
    from archfront.space.errors import ArchfrontError

    assert archfront.Space is Space
    assert archfront.ArchfrontError is ArchfrontError
    assert set(archfront.__all__) == {"__version__", *archfront._HOME_OF}


def test_no_public_name_is_hidden_by_a_room() -> None:
    import archfront.api
    import archfront.doctor
    import archfront.search.engine

    rooms = {"space", "hw_profiles", "evaluators", "search", "reports", "api", "cli", "commands", "console", "doctor"}
    assert not rooms & set(archfront.__all__)
    assert callable(archfront.run)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'archfront' has no attribute 'serach'"):
        _ = archfront.serach
