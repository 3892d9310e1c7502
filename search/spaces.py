"""From what a user writes for a space to the space: a ready one, a data file, or a name in a Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from archfront.space.errors import ArchfrontError, SpaceError, nearest
from archfront.space.presets import PRESETS, preset_named
from archfront.space.space import Space
from archfront.space.types import Feature


def find_space(reference: str, x: Feature, classes: int) -> Space:
    """The space that `reference` names, for this input and number of classes.

    Args:
        reference: the name of a ready space; a `.json`, `.yaml` or `.yml` file; or `file.py:name`, where `name` is a
            `Space` or a function `(input, classes) -> Space` in a Python file of yours, which is run.

    Raises:
        SpaceError: there is no such space, or it is for another input.
    """
    file, colon, name = reference.rpartition(":")
    if colon and file.endswith(".py"):
        space = _from_python(Path(file), name, x, classes)
    elif reference.endswith((".json", ".yaml", ".yml")):
        space = Space.load(reference)
    elif reference.endswith(".py"):
        raise SpaceError(f"{reference}: say which space of the file, as {reference}:my_space")
    elif reference in PRESETS:
        space = preset_named(reference).make(x, classes)
    else:
        raise SpaceError(
            f"unknown space {reference!r}{nearest(reference, PRESETS)}; or a .yaml/.json file, or file.py:name"
        )
    if space.input != x:
        raise SpaceError(
            f"space {reference} is for input {space.input}, the data gives {x}; resize the data or the space"
        )
    return space


def import_blocks(reference: str) -> None:
    """Make the blocks known that the Python file of a space defines, if the space stands in one."""
    file, colon, _ = reference.rpartition(":")
    if colon and file.endswith(".py"):
        import_file(Path(file))


def import_file(path: Path) -> ModuleType:
    """Run a Python file of the user's as a module; its blocks are registered by that.

    The module's name depends on the path alone, so that running it again in another process gives the same classes.
    """
    path = path.resolve()
    if not path.is_file():
        raise SpaceError(f"no such file: {path}, where a space and its blocks are defined")
    name = f"archfront_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _located(path):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_python(path: Path, name: str, x: Feature, classes: int) -> Space:
    module = import_file(path)
    if not hasattr(module, name):
        names = [n for n, v in vars(module).items() if isinstance(v, Space) or _makes_spaces(n, v, module)]
        raise SpaceError(f"{path} has no {name!r}{nearest(name, names)}")
    found = getattr(module, name)
    makes = callable(found) and not isinstance(found, type)
    with _located(path):
        space = found if isinstance(found, Space) else found(x, classes) if makes else None
    if not isinstance(space, Space):
        raise SpaceError(
            f"{path}:{name} is no Space and no function (input, classes) -> Space, but {type(found).__name__}"
        )
    return space


def _makes_spaces(name: str, value: object, module: ModuleType) -> bool:
    """Whether this is a function of the file's own that its author may have meant for others."""
    return inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Say where in a file of the user's its own code failed; errors that archfront made for people stay as they are.

    Raises:
        SpaceError: `file:line: what went wrong`.
    """
    try:
        yield
    except ArchfrontError:
        raise
    except Exception as error:
        line = _line_in(path.resolve(), error)
        raise SpaceError(f"{path}{f':{line}' if line else ''}: {type(error).__name__}: {error}") from error


def _line_in(path: Path, error: Exception) -> int | None:
    """The last line of a file that an error came through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
