"""Profiles: what identifies them, how they are written, and that results of different ones never mix."""

from pathlib import Path

import pytest

from archfront.hw_profiles.profile import LatencyError, Profile, local_profile, profile, require_local

BOARD = Profile(
    name='board "7"', processor="Cortex-A76 \\ four", cores=4, system="Linux 6.1 aarch64", governor="performance",
    runtime="onnxruntime", runtime_version="1.20.0", provider="CPUExecutionProvider",
)  # fmt: skip
OTHER = {
    "processor": "Cortex-A53", "cores": 8, "system": "Linux 5.4 aarch64", "governor": "powersave", "runtime": "torch",
    "runtime_version": "1.21.0", "provider": "other", "threads": 2, "protocol": 99,
}  # fmt: skip


def test_toml_round_trip_keeps_every_field(tmp_path: Path) -> None:
    BOARD.save(tmp_path / "board.toml")
    assert profile(tmp_path / "board.toml") == BOARD
    ungoverned = BOARD.model_copy(update={"governor": None})
    ungoverned.save(tmp_path / "board.toml")
    assert Profile.load(tmp_path / "board.toml") == ungoverned


def test_digest_ignores_the_name_and_nothing_else_that_can_vary() -> None:
    assert BOARD.model_copy(update={"name": "renamed"}).digest == BOARD.digest
    changed = {BOARD.model_copy(update={key: value}).digest for key, value in OTHER.items()}
    assert len(changed) == len(OTHER) and BOARD.digest not in changed
    fixed = {"name", "device", "precision", "batch", "layout"}
    assert set(OTHER) | fixed == set(Profile.model_fields)


def test_a_different_profile_is_refused_by_the_names_of_the_fields_that_differ() -> None:
    with pytest.raises(LatencyError, match=r"the table belongs.*threads: 1 here, 2 there.*never mixed"):
        BOARD.require(BOARD.model_copy(update={"threads": 2}), "the table")
    BOARD.require(BOARD.model_copy(update={"name": "renamed"}), "the table")


def test_local_profiles_differ_in_runtime_and_are_stable() -> None:
    deployed, eager = profile("local-cpu"), profile("local-cpu-torch")
    assert (deployed.runtime, eager.runtime) == ("onnxruntime", "torch")
    assert deployed.digest == local_profile().digest != eager.digest
    assert deployed.cores >= 1 and deployed.processor
    require_local(deployed)


def test_measuring_for_another_machine_is_refused() -> None:
    with pytest.raises(LatencyError, match="processor"):
        require_local(BOARD)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local-cpp", r"unknown device 'local-cpp'; did you mean 'local-cpu'\?; a path ending in .toml"),
        ("phone", r"known: local-cpu, local-cpu-torch"),
        ("nowhere.toml", r"cannot read profile nowhere.toml: No such file"),
    ],
)
def test_an_unknown_name_says_what_exists(name: str, message: str) -> None:
    with pytest.raises(LatencyError, match=message):
        profile(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour = 'red'\n", "colour: Extra inputs"),
        ("threads = 'two'\n", "threads: Input should be a valid integer"),
        ("threads = 0\n", "threads: Input should be greater"),
        ("threads = = 1\n", "is not TOML"),
    ],
)
def test_a_bad_profile_file_names_the_key(tmp_path: Path, change: str, message: str) -> None:
    text = "".join(line for line in BOARD.to_toml().splitlines(True) if not line.startswith("threads"))
    (tmp_path / "board.toml").write_text(text + change)
    with pytest.raises(LatencyError, match=message):
        profile(tmp_path / "board.toml")
