"""The configuration of a study: `study.toml`, validated, and the same from the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from archfront.evaluators.rules import RULES, rule_named
from archfront.evaluators.train import Recipe
from archfront.space.errors import ArchfrontError, nearest

from .budget import Budget, BudgetError

EVALUATORS = ("supernet", "alone")
"""What may rate candidates."""


class ConfigError(ArchfrontError, ValueError):
    """A configuration that cannot be read: names the key, and the line where it stands."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Where the images come from and how they are split."""

    source: str = Field("digits", description='"digits", an image folder, a parquet file or folder, .npz, or IDX files')
    size: tuple[int, int] | None = Field(None, description="resize to (height, width)")
    validation: float = Field(0.2, gt=0, lt=1, description="share of the images that the search is scored on")
    test: float = Field(0.2, gt=0, lt=1, description="share kept for the very end, where the source has no test split")
    limit: int | None = Field(None, ge=20, description="use at most this many training and validation images")
    skip_bad: bool = Field(False, description="count and report unreadable images instead of stopping")

    @field_validator("source")
    @classmethod
    def _whole_path(cls, value: str) -> str:
        return value if value == "digits" else str(Path(value).resolve())


def recipe_in(section: Recipe, **changes: Any) -> Recipe:
    """The recipe in a section that holds one and more, with some of its fields changed."""
    return Recipe(**{**{name: getattr(section, name) for name in Recipe.model_fields}, **changes})


class SupernetConfig(Recipe):
    """How the shared weights are trained."""

    rule: str = Field("fair", description=f"how the weights are shared in training: {', '.join(RULES)}")
    epochs: int = Field(16, ge=1)
    randoms: int = Field(2, ge=0, description="random architectures a step, where the rule leaves their number open")
    calibration_images: int = Field(
        512, ge=16, description="images from which batch statistics of a candidate are computed"
    )
    tuning_images: int = Field(
        0,
        ge=0,
        description="training images that a copy of a candidate's weights is trained on, once, before it is rated",
    )
    processes: int | None = Field(
        None,
        ge=1,
        description="train in so many processes, each with its share of every batch; by default one a GPU, where each "
        "then has 32 images or more",
    )

    @field_validator("rule")
    @classmethod
    def _known_rule(cls, value: str) -> str:
        try:
            rule_named(value)
        except ArchfrontError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _whole_average(self) -> SupernetConfig:
        if self.ema is not None and self.rule == "few_shot":
            raise ValueError("rule 'few_shot' makes weights half-way and cannot average them: leave out ema")
        return self

    @model_validator(mode="after")
    def _whole_shares(self) -> SupernetConfig:
        if self.processes and (self.batch_size % self.processes or self.batch_size < 2 * self.processes):
            raise ValueError(
                f"processes = {self.processes} cannot share batches of {self.batch_size} images: every share needs as "
                "many, two at least"
            )
        return self

    @model_validator(mode="after")
    def _tuned_with_labels(self) -> SupernetConfig:
        if self.tuning_images and rule_named(self.rule).rating == "block_agreement":
            raise ValueError(f"rule {self.rule!r} rates without labels: got tuning_images, and tuning needs them")
        return self


class AloneConfig(Recipe):
    """How candidates are trained one by one, where evaluator = "alone"."""

    epochs: int = Field(27, ge=1)
    eta: int = Field(
        3,
        ge=1,
        description="after 1, eta, eta², ... epochs only the best 1/eta go on; 1 trains every candidate to the end",
    )


class SearchConfig(_Section):
    """How candidates are proposed."""

    sampler: Literal["surrogate", "nsga2", "nsga3", "tpe", "gp", "qmc", "random"] = "nsga2"
    trials: int = Field(150, ge=1, description="candidates to evaluate")
    population: int = Field(
        24, ge=4, description="of NSGA-II and III; the number of random candidates other samplers start with"
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="stop proposing after so long a search, by the clock, over all runs; the front comes after",
    )
    patience: int | None = Field(
        None, ge=2, description="stop after so many candidates that together raised the hypervolume by less than 0.1 %"
    )
    objectives: tuple[str, ...] = Field(
        ("accuracy", "latency"), description="two or more of accuracy, latency, params, flops, memory"
    )

    @field_validator("objectives")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = ("accuracy", "latency", "params", "flops", "memory")
        for name in value:
            if name not in known:
                raise ValueError(f"unknown objective {name!r}{nearest(name, known)}")
        if len(value) < 2 or len(set(value)) < len(value) or value[0] != "accuracy":
            raise ValueError('give "accuracy" first and one or more different costs after it')
        return value


class LatencyConfig(_Section):
    """How latency is predicted while searching and measured at the end."""

    blocks: int = Field(300, ge=4, description="distinct blocks measured for the table; others are interpolated")
    calibration: int = Field(12, ge=4, description="whole networks measured to calibrate predictions")
    seconds: float = Field(60, gt=0, description="time for table and calibration")
    blocks_from: str = Field(
        "",
        description="a study or its latency.json, of another device too: its blocks are taken, and only whole networks "
        "are measured to calibrate them",
    )
    processes: int = Field(3, ge=1, description="fresh processes that the front is measured in")
    final_seconds: float = Field(30, gt=0, description="time for measuring the front")

    @field_validator("blocks_from")
    @classmethod
    def _table(cls, value: str) -> str:
        """The file by its whole path, so that the study is found to be the same from any folder."""
        if not value:
            return value
        path = Path(value).resolve()
        return str(path / "latency.json" if path.is_dir() else path)


class FinalConfig(Recipe):
    """What happens to the front: extraction, fine-tuning, measurement, one test."""

    epochs: int = Field(6, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    members: int = Field(6, ge=1, description="front members that are fine-tuned and measured")
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability of dropping a path, reached at the end (ScheduledDropPath); 0.3 for cells",
    )
    references: tuple[str, ...] = Field(
        (), description='published networks whose latency is measured beside the front, such as ["resnet18"]'
    )


class ClusterConfig(_Section):
    """Where candidates are evaluated with backend = "ray"."""

    address: str = Field(
        "", description='HOST:PORT of a running cluster, or "auto"; by default one starts on this machine'
    )
    workers: int | None = Field(
        None, ge=1, description="processes, each with one CPU; by default as many as the cluster has CPUs, at any time"
    )
    ahead: int = Field(
        2,
        ge=1,
        description="candidates under way for every worker; workers * ahead decides the order of trials, whatever the backend",
    )
    gpus: float = Field(0.0, ge=0, description="share of a GPU for every worker, which then evaluates there")


class StudyConfig(_Section):
    """One search."""

    space: str = Field("micro", description='a ready space, a .yaml/.json file, or "file.py:name"')
    device: str = Field("local-cpu", description="the profile that latency is measured on")
    budget: str = Field("", description='such as "latency<=5ms, params<=2M"')
    evaluator: str = Field(
        "supernet", description='who rates candidates: the "supernet", or training each of them "alone"'
    )
    seed: int = 0
    backend: Literal["local", "ray"] = Field("local", description="this process, or the workers of a Ray cluster")
    storage: str = Field(
        "", description="any storage URL of Optuna, or journal:FILE; by default study.journal in the study"
    )
    data: DataConfig = DataConfig()
    supernet: SupernetConfig = SupernetConfig()
    alone: AloneConfig = AloneConfig()
    search: SearchConfig = SearchConfig()
    latency: LatencyConfig = LatencyConfig()
    final: FinalConfig = FinalConfig()
    cluster: ClusterConfig = ClusterConfig()

    @field_validator("space")
    @classmethod
    def _whole_path(cls, value: str) -> str:
        """A file by its whole path, so that the study is found to be the same from any folder."""
        file, colon, name = value.rpartition(":")
        if colon and file.endswith(".py"):
            return f"{Path(file).resolve()}:{name}"
        return str(Path(value).resolve()) if value.endswith((".json", ".yaml", ".yml")) else value

    @field_validator("evaluator")
    @classmethod
    def _known_evaluator(cls, value: str) -> str:
        if value.startswith("table:"):
            raise ValueError("a table has no space, data or device: use archfront search --evaluator table:FILE alone")
        if value not in EVALUATORS:
            raise ValueError(f"unknown evaluator {value!r}{nearest(value, EVALUATORS)}")
        return value

    @field_validator("budget")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            Budget.parse(value)
        except BudgetError as error:
            raise ValueError(str(error).removeprefix("budget: ")) from None
        return value

    @field_validator("final")
    @classmethod
    def _with_heads(cls, value: FinalConfig, info: ValidationInfo) -> FinalConfig:
        supernet = info.data.get("supernet")  # missing where it is wrong itself
        if info.data.get("evaluator") == "supernet" and supernet and not value.epochs:
            rule = rule_named(supernet.rule)
            if rule.rating == "block_agreement":
                raise ValueError(f"rule {rule.name!r} trains no heads: 1 or more epochs are needed, got 0")
        return value

    @property
    def rating(self) -> str:
        """The metric that candidates are rated by while searching."""
        return "alone_accuracy" if self.evaluator == "alone" else rule_named(self.supernet.rule).rating


def load(path: str | Path) -> StudyConfig:
    """Read `study.toml`.

    Raises:
        ConfigError: no TOML, or a key that is unknown or ill-typed, with its line.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from None
    return validate(data, lambda keys: f"{path}:{_line_of(text, keys)}")


def validate(data: dict[str, Any], where: Any = lambda keys: "configuration") -> StudyConfig:
    """The configuration in plain data; `where(keys)` says where a key stands, for messages."""
    try:
        return StudyConfig.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        keys = tuple(str(key) for key in problem["loc"])
        place, text = where(keys), _explain(keys, problem)
        if place.removeprefix("--").replace("-", "_") == keys[-1]:  # the place is the name
            text = text.removeprefix(f"{'.'.join(keys)}: ")
        raise ConfigError(f"{place}: {text}") from None


def _explain(keys: tuple[str, ...], problem: Any) -> str:
    name = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name!r}{nearest(keys[-1], _fields_of(keys[:-1]))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}, got {problem['input']!r}" if "got" not in message else f"{name}: {message}"


def _fields_of(keys: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = StudyConfig
    for key in keys:
        inner = model.model_fields[key].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line where a key stands, or its table if it stands nowhere; 1 where neither is found."""
    table: tuple[str, ...] = ()
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            table = tuple(part.strip().strip("\"'") for part in header.group(1).split("."))
            if table == keys[: len(table)]:
                best = number
            continue
        key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if key:
            full = table + tuple(part.strip("\"'") for part in key.group(1).split("."))
            if full == keys[: len(full)]:
                return number
    return best


# ---------------------------------------------------------------------- writing


def dump(config: StudyConfig, commented: bool = False) -> str:
    """`study.toml` with every key; `commented` adds what each one means."""
    lines = ["# archfront study; run: archfront search --config study.toml"] if commented else []
    lines += _dump_section(config, commented)
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            lines += ["", *_comment((type(section).__doc__ or "").strip().splitlines()[0], commented), f"[{name}]"]
            lines += _dump_section(section, commented)
    return "\n".join(lines) + "\n"


def _dump_section(model: BaseModel, commented: bool) -> list[str]:
    lines = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            continue
        lines += _comment(field.description or "", commented)
        if value is not None:
            lines.append(f"{name} = {_toml(value)}")
        elif commented:
            lines.append(f"# {name} =")
    return lines


def _comment(text: str, commented: bool) -> list[str]:
    return [f"# {text}"] if text and commented else []


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
