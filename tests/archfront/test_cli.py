from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archfront.cli import EXIT_CODES, app
from archfront.hw_profiles.cost import cost
from archfront.search.config import StudyConfig, load
from archfront.search.spaces import import_file
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.presets import PRESETS, preset_named
from archfront.space.references import references
from archfront.space.spec import KINDS, registry
from archfront.space.types import Image


def run(*arguments: object) -> Any:
    """What a command did: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parsed(*arguments: object) -> Any:
    """The one JSON document that a command printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def plain(text: str) -> str:
    """Words without frames and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


# --------------------------------------------------------------------------- help and errors


def test_help_states_the_exit_codes_and_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in (
        "search",
        "report",
        "export",
        "profile",
        "blocks",
        "spaces",
        "device",
        "audit",
        "init",
        "doctor",
    ):
        assert re.search(rf"\b{command}\b", result.stdout)
        assert run(command, "--help").exit_code == 0
    assert plain(EXIT_CODES) in plain(result.stdout)


def test_version_is_that_of_the_package() -> None:
    from archfront import __version__

    assert run("--version").stdout == f"archfront {__version__}\n"


BAD = {
    "unknown command": (["serach"], "No such command"),
    "unknown option": (["search", "--trails", "5"], "--trails"),
    "unknown space": (["search", "--space", "micr"], "did you mean 'micro'"),
    "unknown metric": (["search", "--budget", "parms<=2M"], "did you mean 'params'"),
    "unknown unit": (["search", "--budget", "latency<=5MB"], "not measured in 'MB'"),
    "unknown sampler": (["search", "--sampler", "nsga9"], "--sampler"),
    "unknown objective": (["search", "--objectives", "accuracy,latensy"], "did you mean 'latency'"),
    "unknown device": (["search", "--device", "local-gpu"], "unknown device 'local-gpu'"),
    "no data": (["search", "--data", "no/such/folder"], "no/such/folder"),
    "trials below one": (["search", "--trials", "0"], "--trials"),
    "no size": (["search", "--size", "32by32"], "no size"),
    "no such config": (["search", "--config", "none.toml"], "cannot read none.toml"),
    "name and study": (["search", "--name", "a", "--study", "b"], "not both"),
    "name as a path": (["search", "--name", "../a"], "study name"),
    "report of nothing": (["report", "nothing"], "no study 'nothing'"),
    "export of nothing": (["export", "nothing"], "no study 'nothing'"),
    "unknown reference": (["profile", "--reference", "resnet51"], "did you mean 'resnet50'"),
    "no network": (["profile"], "give one of --reference"),
    "two networks": (["profile", "--reference", "resnet50", "--architecture", "a.json"], "give one of"),
    "study without pick": (["profile", "--study", "x"], "go together"),
    "no such architecture": (["profile", "--architecture", "a.json"], "cannot read a.json"),
    "no input": (["profile", "--reference", "resnet50", "--input", "big"], "'big' is no size"),
    "unknown block": (["blocks", "show", "MBCon"], "did you mean 'MBConv'"),
    "unknown kind": (["blocks", "--kind", "gat"], "did you mean 'gate'"),
    "space of an unknown name": (["spaces", "size", "mobil"], "did you mean 'mobile'"),
    "space of an unknown file": (["spaces", "show", "none.yaml"], "cannot read none.yaml"),
    "unnamed space of a file": (["spaces", "show", "tiny.py"], "tiny.py:my_space"),
    "init over a file": (["init", "study.toml"], "--force"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_code_2_and_a_message_that_helps(case: str, here: Path) -> None:
    arguments, message = BAD[case]
    result = run(*arguments)
    assert result.exit_code == 2, result.stderr
    assert message in plain(result.stderr)
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_wrong_key_in_a_configuration_is_named_with_its_line(here: Path) -> None:
    (here / "bad.toml").write_text("seed = 1\n[search]\ntrails = 5\n")
    result = run("search", "--config", "bad.toml")
    assert result.exit_code == 2
    assert "bad.toml:3: unknown key 'search.trails'; did you mean 'trials'?" in result.stderr


def test_debug_shows_where_an_error_comes_from() -> None:
    result = run("--debug", "spaces", "size", "mobil")
    assert isinstance(result.exception, ArchfrontError)


# --------------------------------------------------------------------------- init, blocks, spaces


def test_init_writes_the_defaults_and_overwrites_only_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init").exit_code == 0
    assert load("study.toml") == StudyConfig()
    Path("study.toml").write_text("seed = 9\n")
    assert run("init").exit_code == 2
    assert Path("study.toml").read_text() == "seed = 9\n"
    assert run("init", "--force").exit_code == 0
    assert load("study.toml") == StudyConfig()


def test_blocks_lists_every_registered_block_once_with_what_can_be_chosen() -> None:
    entries = parsed("blocks")
    names = [entry["name"] for entry in entries]
    shipped = {
        name for name, cls in registry.items() if issubclass(cls, KINDS) and cls.__module__.startswith("archfront.")
    }
    assert {name for name in names if registry[name].__module__.startswith("archfront.")} == shipped
    assert len(set(names)) == len(names)
    mbconv = next(entry for entry in entries if entry["name"] == "MBConv")
    assert mbconv["kind"] == "block"
    assert mbconv["paper"]["title"] == "MobileNetV2: Inverted Residuals and Linear Bottlenecks"
    assert mbconv["paper"]["year"] == 2018
    fields = {field["name"]: field for field in mbconv["fields"]}
    assert fields["kernel"]["default"] == 3
    assert fields["activation"]["options"] == ["relu", "relu6", "silu", "gelu", "hardswish"]
    assert set(fields["gate"]["options"]) >= {None, "SqueezeExcite", "CBAM", "ECA"}
    assert not fields["gate"]["required"]
    assert set(mbconv["references"]) >= {"efficientnet_b0", "mobilenetv2_1.0"}


def test_a_reference_lists_the_blocks_that_its_network_names() -> None:
    entries = {entry["name"]: entry for entry in parsed("blocks")}
    for name, found in references.items():
        text = json.dumps(found.architecture().to_dict())
        used = {block for block, entry in entries.items() if name in entry["references"]}
        assert used == {block for block in entries if f'"type": "{block}"' in text}


TINY = """
from archfront.space import Image, Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem

tiny = Space(
    Image(3, 8, 8),
    Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=one_of(8, 12), depth=int_range(1, 3), block=MBConv(kernel=one_of(3, 5))),),
        head=Classifier(classes=2),
    ),
)
"""


def test_reach_of_a_space_is_that_of_all_its_architectures(tmp_path: Path) -> None:
    file = tmp_path / "tiny_reach.py"
    file.write_text(TINY)
    counted = [cost(architecture) for architecture in import_file(file).tiny]
    limit = sorted(c.params for c in counted)[len(counted) // 3]
    found = parsed("spaces", "reach", f"{file}:tiny", "--budget", f"params<={limit}", "--quiet")
    assert found["size"] == len(counted)
    assert found["reach"]["params"] == [min(c.params for c in counted), max(c.params for c in counted)]
    assert found["reach"]["macs"] == [min(c.macs for c in counted), max(c.macs for c in counted)]
    assert 0 < found["share_within_budget"] < 1
    too_small = run("spaces", "reach", f"{file}:tiny", "--budget", "params<=10")
    assert too_small.exit_code == 3 and "the least that it reaches" in too_small.stderr
    unknown = run("spaces", "reach", f"{file}:tiny", "--budget", "latency<=1ms, params<=1M")
    assert unknown.exit_code == 2 and "latency_ms cannot be counted" in unknown.stderr
    unreadable = run("spaces", "reach", f"{file}:tiny", "--budget", "params=1M")
    assert unreadable.exit_code == 2 and "write it like" in unreadable.stderr


def test_blocks_can_be_narrowed_by_kind_and_text() -> None:
    gates = parsed("blocks", "list", "--kind", "gate")
    assert {entry["kind"] for entry in gates} == {"gate"}
    found = parsed("blocks", "--search", "metaformer")
    assert "MetaFormer" in {entry["name"] for entry in found}
    assert "ConvStem" not in {entry["name"] for entry in found}
    assert parsed("blocks", "--search", "no such words anywhere") == []


def test_every_block_can_be_shown() -> None:
    for entry in parsed("blocks"):
        shown = run("blocks", "show", entry["name"])
        assert shown.exit_code == 0
        assert all(field["name"] in shown.stdout for field in entry["fields"])
    assert parsed("blocks", "show", "MBConv")["docstring"].startswith("[x +] P gate")


def test_spaces_lists_shows_and_counts() -> None:
    assert [entry["name"] for entry in parsed("spaces")] == list(PRESETS)
    space = preset_named("micro").make(Image(1, 8, 8), 7)
    shown = parsed("spaces", "show", "micro", "--input", "1x8x8", "--classes", "7")
    assert shown["size"] == space.size
    assert shown["tree"] == str(space)
    assert [entry["site"] for entry in shown["sites"]] == list(space.sites)
    assert parsed("spaces", "size", "micro", "--input", "1x8x8")["size"] == space.size
    assert (
        run("spaces", "size", "micro", "--input", "8").stdout
        == f"{preset_named('micro').make(Image(3, 8, 8), 10).size:,}\n"
    )


def test_spaces_in_files_are_shown_for_their_own_input(here: Path) -> None:
    assert parsed("spaces", "size", "tiny.py:tiny")["size"] == 2 * (4 + 16)  # widths x (one block + two blocks)
    made = preset_named("micro").make(Image(1, 8, 8), 10)
    (here / "made.json").write_text(json.dumps(made.to_dict()))
    assert parsed("spaces", "size", "made.json")["size"] == made.size
    (here / "fixed.py").write_text(
        "from archfront import Image\nfrom archfront.space.presets import micro\nmine = micro(Image(1, 8, 8), 10)\n"
    )
    assert parsed("spaces", "show", "fixed.py:mine")["input"] == "1x8x8"
    refused = run("spaces", "show", "fixed.py:mine", "--input", "3x32x32")
    assert refused.exit_code == 2
    assert "1x8x8" in refused.stderr


# --------------------------------------------------------------------------- profile and doctor


def test_profile_counts_a_reference_as_published(tmp_path: Path) -> None:
    document = parsed("profile", "--reference", "resnet18", "--no-latency", "--parts")
    metrics = {name: m["value"] for name, m in document["metrics"].items()}
    assert metrics["params"] == 11_689_512  # torchvision
    assert abs(metrics["macs"] / 1.814e9 - 1) < 0.01
    assert {m["provenance"] for m in document["metrics"].values()} == {"exact"}
    for name in ("macs", "params"):
        assert sum(part[name] for part in document["parts"]) == metrics[name]
    text = run("profile", "--reference", "resnet18", "--no-latency", "--parts").stdout
    assert "11,689,512" in text
    assert "stages[3].blocks[1]" in text


def test_profile_takes_an_architecture_from_a_file_and_another_input(tmp_path: Path) -> None:
    architecture = preset_named("micro").make(Image(1, 8, 8), 10).sample(0)
    architecture.save(tmp_path / "a.json")
    document = parsed("profile", "--architecture", tmp_path / "a.json", "--no-latency")
    assert document["digest"] == architecture.digest
    assert document["metrics"]["macs"]["value"] == cost(architecture).macs
    larger = parsed("profile", "--architecture", tmp_path / "a.json", "--no-latency", "--input", "16")
    assert larger["input"] == "1x16x16"
    assert larger["metrics"]["macs"]["value"] == cost(Architecture(Image(1, 16, 16), architecture.network)).macs


def test_profile_measures_latency_with_its_spread(tmp_path: Path) -> None:
    preset_named("micro").make(Image(1, 8, 8), 10).sample(0).save(tmp_path / "a.json")
    document = parsed("profile", "--architecture", tmp_path / "a.json", "--seconds", "2")
    latency = document["metrics"]["latency_ms"]
    assert latency["provenance"] == "measured"
    assert latency["spread"] > 0
    assert 0 < latency["value"] <= document["percentiles_ms"]["50"] <= document["percentiles_ms"]["99"]


def test_doctor_finds_this_machine_fit_and_has_run_networks() -> None:
    document = parsed("doctor")
    checks = {check["name"]: check for check in document["checks"]}
    assert document["ok"]
    for name in ("torch", "onnxruntime", "torch on the CPU", "ONNX Runtime on the CPU"):
        assert checks[name]["state"] == "ok"
    assert "runs a network" in checks["ONNX Runtime on the CPU"]["detail"]


def test_doctor_reports_what_fails_instead_of_failing() -> None:
    from archfront.doctor import probe

    def fail() -> str:
        raise OSError("libgomp.so.1: cannot open shared object file")

    check = probe("ONNX Runtime", fail, "pip install onnxruntime")
    assert check.state == "broken"
    assert check.fatal
    assert check.detail == "OSError: libgomp.so.1: cannot open shared object file"
    assert not probe("GPU", fail, required=False).fatal
