"""The rules that hold for every file of the product: who may import whom, and what no file may do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = {
    "space": set[str](),
    "hw_profiles": {"space"},
    "evaluators": {"hw_profiles", "space"},
    "search": {"evaluators", "hw_profiles", "space"},
    "reports": {"search", "hw_profiles", "space"},
    "archfront": {"reports", "search", "evaluators", "hw_profiles", "space"},
}
"""Every room, with the rooms that it may import."""

PRODUCT = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
LIBRARY = [path for path in PRODUCT if path.is_relative_to("space/library")]

LATE = {
    "ai_edge_litert",
    "executorch",
    "fvcore",
    "litert_torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "optuna",
    "pandas",
    "plotly",
    "ray",
    "sklearn",
    "torch",
}
"""Packages that take long to import; asking for help or the version needs none of them."""


def module_name(path: Path) -> str:
    """The name under which a file of a room is imported."""
    parts = list(path.with_suffix("").parts)
    if parts[-1] == "__init__":
        del parts[-1]
    return ".".join(parts if parts[0] == "archfront" else ["archfront", *parts])


def imports(path: Path, tree: ast.AST | None = None) -> Iterator[str]:
    """The full names of everything that a file imports anywhere, relative imports resolved."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(tree or parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


def room_of(name: str) -> str | None:
    """The room that an imported name lies in; None for another package, and for the face of archfront itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "archfront" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_imports_run_downwards_only(path: Path) -> None:
    own = path.parts[0]
    for name in imports(path):
        if name.partition(".")[0] != "archfront":
            continue
        room = room_of(name)
        if own != "archfront":
            assert room is not None, f"{path} imports the face of the package: {name}"
        if room is not None and room != own:
            assert room in ROOMS[own], f"{path} imports {name}, which lies above or beside it"


def test_a_relative_import_is_resolved_before_it_is_judged() -> None:
    upwards = ast.parse("from ...search import study")
    assert list(imports(Path("space/library/common.py"), upwards)) == ["archfront.search.study"]
    sibling = ast.parse("from . import library")
    assert list(imports(Path("space/__init__.py"), sibling)) == ["archfront.space.library"]


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_the_block_library_needs_torch_and_the_standard_library_only(path: Path) -> None:
    allowed = {"torch", "archfront", *sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in imports(path)} <= allowed


def risks(tree: ast.AST) -> Iterator[str]:
    """What a file does that lets data or a shell run code: names the construct and its line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in {name.partition(".")[0] for name in names} & {
                "pickle",
                "cPickle",
                "dill",
                "cloudpickle",
                "marshal",
                "shelve",
            }:
                yield f"line {node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in ("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"):
            yield f"line {node.lineno}: calls {called}"
        if called == "torch.load" and options.get("weights_only") != "True":
            yield f"line {node.lineno}: torch.load without weights_only=True"
        if options.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno}: {called} with allow_pickle"
        if options.get("shell", "False") != "False":
            yield f"line {node.lineno}: {called} through a shell"


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_no_file_runs_code_from_data_or_through_a_shell(path: Path) -> None:
    assert list(risks(parsed(path))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(command, shell=True)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
    ],
)
def test_a_risky_line_is_found(line: str) -> None:
    assert len(list(risks(ast.parse(line)))) == 1


@pytest.mark.parametrize("line", ["module.eval()", "torch.load(path, weights_only=True)", "loader.exec_module(module)"])
def test_a_harmless_line_that_looks_risky_is_let_through(line: str) -> None:
    assert list(risks(ast.parse(line))) == []


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file that belongs to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".parquet", ".npz", ".onnx", ".safetensors"):
            yield Path(name), path.read_text()


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    place = re.compile(r"(?<![\w.])(/work/|/home/|/root/|/Users/|\.\./shared\b)")
    allowed = {Path("tests/test_layout.py")}  # has to spell them
    found = [
        f"{path}: {match.group()}" for path, text in texts() if path not in allowed for match in place.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("statement", ["import archfront", "import archfront.cli"])
def test_asking_for_help_imports_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert LATE & set(loaded) == set()
