"""Exported source: runs without archfront, builds the same network, holds what it uses and nothing else."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import archfront.space.library
from archfront.reports.construction import Construction, Printer
from archfront.reports.definitions import Definitions, global_names
from archfront.reports.source import ExportError, check_name, source
from archfront.space.architecture import Architecture
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.spec import Block, Spec
from archfront.space.types import Feature, Image


def network(*blocks: Block) -> Architecture:
    """A small network with one stage of two positions for each block."""
    stages = tuple(Stage(width=16 * (i + 1), depth=2, stride=i + 1, block=block) for i, block in enumerate(blocks))
    return Architecture(
        Image(3, 16, 16), Network(stem=ConvStem(width=16), stages=stages, head=Classifier(classes=5))
    )  # fmt: skip


ARCHITECTURES = {
    "mobile": network(MBConv(kernel=5, expand=3, gate=SqueezeExcite()), MBConv(expand=4, activation="silu")),
    "transformer": network(
        MetaFormer(mixer=WindowAttention(window=4), layer_scale=1e-5), MetaFormer(mixer=SelfAttention(heads=2))
    ),
    "residual": network(BasicBlock(), BasicBlock(gate=SqueezeExcite())),
}

CHILD = """
import importlib.util, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("archfront", "safetensors"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import torch
spec = importlib.util.spec_from_file_location("exported", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.manual_seed(0)
network = module.small().eval()
given = torch.load(sys.argv[2], weights_only=True)
network.load_state_dict(given["state"])
with torch.inference_mode():
    torch.save({"output": network(given["input"]), "state": network.state_dict()}, sys.argv[3])
"""


def run_alone(text: str, architecture: Architecture, folder: Path) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """State and output of the exported network in a clean interpreter, given the weights and input of the original."""
    module = architecture.build().eval()
    for parameter in module.parameters():  # blocks that start as the identity would hide mistakes
        nn.init.normal_(parameter, std=0.1)
    inputs = architecture.input.example(2)[0]
    (folder / "exported.py").write_text(text)
    torch.save({"state": module.state_dict(), "input": inputs}, folder / "given.pt")
    command = [
        sys.executable,
        "-I",
        "-B",
        "-c",
        CHILD,
        *(str(folder / n) for n in ("exported.py", "given.pt", "got.pt")),
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert run.returncode == 0, run.stderr
    got = torch.load(folder / "got.pt", weights_only=True)
    with torch.inference_mode():
        assert (module(inputs) - got["output"]).abs().max() <= 1e-6
    assert list(got["state"]) == list(module.state_dict())
    return got["state"], got["output"]


def imported_packages(text: str) -> set[str]:
    """Top-level packages that a piece of source imports."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def unused(text: str) -> set[str]:
    """Top-level names that nothing in the file refers to."""
    tree = ast.parse(text)
    bound = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    bound |= {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    return bound - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def ruff(*arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "ruff",
        *arguments,
        "--isolated",
        "--line-length=120",
        "--stdin-filename=small.py",
        "-",
    ]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def user_file(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> ModuleType:
    """A user's file outside the repository, imported as Python imports files."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def block_of(module: ModuleType) -> Spec:
    """The one spec that a user's file defines."""
    (spec,) = (
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Block) and v.__module__ == module.__name__
    )
    return spec()


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    """What export says of a user's block."""
    block = block_of(user_file(folder, monkeypatch, name, text))
    with pytest.raises(ExportError) as caught:
        source(Architecture(Feature(8, (4, 4)), block), name="small")
    return str(caught.value)


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_the_file_runs_alone_and_computes_the_same(key: str, tmp_path: Path) -> None:
    run_alone(source(ARCHITECTURES[key], name="small"), ARCHITECTURES[key], tmp_path)


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_the_file_needs_only_torch_and_holds_only_what_it_uses(key: str) -> None:
    text = source(ARCHITECTURES[key], name="small")
    assert imported_packages(text) - {"__future__"} <= {"torch", *sys.stdlib_module_names}
    assert not unused(text)
    assert "archfront" not in text.split('"""')[2]


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_the_file_is_formatted_and_free_of_lint(key: str) -> None:
    text = source(ARCHITECTURES[key], name="small", header="Classes: " + ", ".join(f"class_{i}" for i in range(99)))
    assert ruff("format", "--diff", text=text).returncode == 0
    checked = ruff("check", "--select=E,F,I,W,UP", text=text)
    assert checked.returncode == 0, checked.stdout
    assert max(map(len, text.splitlines())) <= 120


def test_run_as_a_program_it_prints_parameters_and_output_shape(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(source(ARCHITECTURES["residual"], name="small"))
    run = subprocess.run([sys.executable, "-I", str(file)], capture_output=True, text=True, check=True)
    params = sum(p.numel() for p in ARCHITECTURES["residual"].build().parameters())
    assert run.stdout == f"{params:,} parameters, output (1, 5)\n"


def test_building_the_source_leaves_classes_and_random_state_as_they_were() -> None:
    before, state = nn.Conv2d.__init__, torch.get_rng_state()
    source(ARCHITECTURES["mobile"], name="small")
    assert nn.Conv2d.__init__ is before
    assert "__init__" not in nn.ReLU6.__dict__ or nn.ReLU6.__init__.__qualname__ == "ReLU6.__init__"
    assert torch.equal(torch.get_rng_state(), state)


def test_constructor_calls_name_their_arguments_and_leave_out_defaults() -> None:
    text = source(ARCHITECTURES["mobile"], name="small")
    assert "InvertedResidual(16, 16, hidden=48, kernel=5, gate=SqueezeExcitation(48, 12))" in text
    assert 'activation="relu6"' not in text.partition("def small")[2]


def test_hostile_text_in_the_header_stays_text() -> None:
    header = 'quote """ + __import__("os").system("x") + """ backslash \\ newline\x00end'
    tree = ast.parse(source(ARCHITECTURES["residual"], name="small", header=header))
    assert 'quote """ + __import__("os").system("x") + """ backslash \\ newline end' in str(ast.get_docstring(tree))
    assert not any(isinstance(node, ast.Name) and node.id == "__import__" for node in ast.walk(tree))


def test_library_modules_share_no_names_so_any_of_them_can_stand_in_one_file() -> None:
    definitions, count = Definitions(), 0
    for found in pkgutil.walk_packages(archfront.space.library.__path__, "archfront.space.library."):
        for item in vars(importlib.import_module(found.name)).values():
            if isinstance(item, type) and issubclass(item, nn.Module) and item.__module__ == found.name:
                definitions.add(item)
                count += 1
    assert count > 10
    assert imported_packages("\n".join(d.text for d in definitions.ordered)) == set()


@pytest.mark.parametrize(
    "name", ["3net", "a-b", "class", "", "match", "json", "torch", "print", "Path", "load_weights"]
)
def test_names_that_cannot_be_a_function_and_a_file_are_refused(name: str) -> None:
    with pytest.raises(ExportError, match="name"):
        source(ARCHITECTURES["residual"], name=name)


@pytest.mark.parametrize("name", ["match", "class", "two words", "3x", "_"])
def test_the_name_that_is_suggested_is_one_that_works(name: str) -> None:
    with pytest.raises(ExportError, match="expected a Python identifier such as '") as caught:
        check_name(name)
    check_name(str(caught.value).rpartition("such as ")[2].strip("'"))


def test_globals_are_told_from_locals_of_the_same_name() -> None:
    text = "def f(a, b=default):\n    local = a\n    x: Note = outside(local)\n    return [y for y in x]\n"
    assert global_names(text) == ["Note", "default", "outside"]


class Holder(nn.Module):
    """A module that is made with one value."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


VALUES = [
    None,
    True,
    0,
    -3,
    1e-5,
    0.1,
    "it's",
    'a "b"',
    "\\ \n",
    (),
    (1,),
    (1, "x"),
    [1, [2.5]],
    {"a": (1, None), 2: []},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_arguments_are_written_so_that_they_read_back_as_they_were(value: object) -> None:
    written = Printer(Construction(lambda: Holder(value)), Definitions()).network().flat
    call = ast.parse(written, mode="eval").body
    assert isinstance(call, ast.Call)
    assert repr(ast.literal_eval(call.args[0])) == repr(value)


# --------------------------------------------------------------------------- blocks in users' files

HELPERS = """
import math

# Why: the golden ratio.
GOLDEN = (1 + math.sqrt(5)) / 2
UNUSED = 7


def unused_helper():
    return UNUSED
"""

USER_BLOCK = '''
"""A block of my own."""
from __future__ import annotations

import functools
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch.fft
import torch.nn as nn
from torch.nn import functional as F

from archfront.space.spec import Block, Odd
from archfront.space.types import Feature
from {helpers} import GOLDEN

if TYPE_CHECKING:
    from torch import Tensor

KINDS = {{"relu": nn.ReLU, "tanh": nn.Tanh}}
SCALE = 2.0
"""How much."""


def double(x: "Tensor") -> "Tensor":
    scale = SCALE
    return scale * x


class Base(nn.Module):
    def __init__(self, kind: str = "relu") -> None:
        super().__init__()
        self.act = KINDS[kind]()


class Mine(Base):
    """Mine."""

    def __init__(self, channels: int, *inner: nn.Module, norm: type[nn.Module] = nn.Identity, shape=(1,), after=None):
        super().__init__("tanh")
        self.inner = nn.ModuleList(inner)
        self.norm = norm(channels)
        self.shape = shape
        self.after = after or double

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        for layer in self.inner:
            x = F.relu(layer(x)) * GOLDEN
        return self.after(self.norm(self.act(x) + torch.fft.irfft2(spectrum, s=x.shape[-2:])))


class UserBlock{number}(Block):
    kernel: Odd = 3

    def build(self, x: Feature) -> nn.Module:
        c = x.channels
        first = nn.Conv2d(c, c, self.kernel, padding=self.kernel // 2)
        second = nn.Sequential(OrderedDict(a=nn.Conv2d(c, c, 1), b=nn.Tanh()))
        return Mine(c, first, second, norm=nn.BatchNorm2d, shape=(3,), after=double)
'''


def test_a_block_outside_the_repository_is_exported_with_its_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(tmp_path, monkeypatch, "user_helpers", HELPERS)
    block = block_of(
        user_file(tmp_path, monkeypatch, "user_block", USER_BLOCK.format(helpers="user_helpers", number=1))
    )  # fmt: skip
    text = source(network(block), name="small")
    run_alone(text, network(block), tmp_path)
    assert not unused(text)
    assert "UNUSED" not in text
    assert "# Why: the golden ratio.\nGOLDEN" in text
    assert 'SCALE = 2.0\n"""How much."""' in text
    checked = ruff("check", "--select=F", text=text)
    assert checked.returncode == 0, checked.stdout


def spec_file(number: int, body: str, build: str) -> str:
    """A user's file: imports, the statements of `body`, and a block whose `build` runs the lines of `build`."""
    head = """
import torch
from torch import nn
from archfront.space.spec import Block
from archfront.space.types import Feature
"""
    lines = "".join(f"        {line}\n" for line in build.splitlines())
    return f"{head}\n{body}\n\nclass Bad{number}(Block):\n    def build(self, x):\n{lines}"


def plain(result: str, before: str = "", name: str = "Plain") -> str:
    """The source of a module class whose `forward` returns `result`."""
    return f"""
{before}

class {name}(nn.Module):
    def __init__(self, a=None):
        super().__init__()

    def forward(self, x):
        return {result}
"""


NESTED = """
def make():
    class Inner(nn.Module):
        pass
    return Inner
"""

REFUSALS = {  # what the file defines, what build() does, what the message says
    "nested class": (NESTED, "return make()()", "Inner .*top level"),
    "archfront class": (plain("Feature(3, (1,))"), "return Plain()", "Plain .*'Feature' belongs to archfront"),
    "module of another package": (plain("np.ones(1)", "import numpy as np"), "return Plain()", "'numpy'"),
    "function of another package": (plain("ones(1)", "from numpy import ones"), "return Plain()", "package 'numpy'"),
    "other name": (
        plain("z()", "from archfront.space.library.common import scaled as z"),
        "return Plain()",
        "own name",
    ),
    "conditional global": (plain("SOME", "if torch:\n    SOME = 1"), "return Plain()", "no plain .* of 'SOME'"),
    "name defined twice": (plain("TWICE", "TWICE = 1\nTWICE = 2"), "return Plain()", "'TWICE' more than once"),
    "lambda": (plain("x"), "return Plain(lambda x: x)", "<lambda>.*top level"),
    "tensor": (plain("x"), "return Plain(torch.zeros(3))", "Plain was given 'tensor.* cannot be written as code"),
    "later change": (
        plain("x"),
        "m = nn.Sequential(nn.ReLU())\nm.append(nn.Tanh())\nreturn m",
        "1 is Tanh.*, but nothing .*Let the constructor do that",
    ),
    "shared weights": (
        plain("x"),
        "m = nn.Conv2d(8, 8, 1)\nreturn nn.Sequential(m, m)",
        "one Conv2d with weights stands at two places",
    ),
    "name of an import": (plain("x", name="json"), "return json()", "'json' means one thing in .* and another"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_exported_is_refused_by_name(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, build, message = REFUSALS[case]
    text = spec_file(list(REFUSALS).index(case), body, build)
    said = refused(tmp_path, monkeypatch, "user_" + case.replace(" ", "_"), text)
    assert re.search(message, said), said


def test_two_files_with_one_name_for_two_things_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file(tmp_path, monkeypatch, "user_other", spec_file(100, plain("-x"), "return Plain()"))
    text = spec_file(101, plain("x"), "import user_other\nreturn nn.Sequential(Plain(), user_other.Plain())")
    said = refused(tmp_path, monkeypatch, "user_clash", text)
    assert said == "'Plain' means one thing in user_clash and another in user_other; use one name for one thing"


def test_one_class_that_stands_equally_in_two_files_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(tmp_path, monkeypatch, "user_twin", spec_file(102, plain("x"), "return Plain()"))
    text = spec_file(103, plain("x"), "import user_twin\nreturn nn.Sequential(Plain(), user_twin.Plain())")
    block = block_of(user_file(tmp_path, monkeypatch, "user_pair", text))
    assert source(Architecture(Feature(8, (4, 4)), block), name="small").count("class Plain(nn.Module)") == 1
