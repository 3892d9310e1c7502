"""Where a search is carried out, as configured: in this process or on a cluster, and the device that measures latency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from archfront.hw_profiles.metrics import Measurement
from archfront.hw_profiles.profile import Profile
from archfront.hw_profiles.transport import Transport
from archfront.space.architecture import Architecture

from .cluster import meter
from .cluster.backend import RayBackend
from .cluster.connection import connect
from .cluster.trainings import TrainingBackend, Trainings
from .config import StudyConfig
from .evaluation import Backend, Local
from .progress import Note

if TYPE_CHECKING:
    from .raters import Raters
    from .setting import Setting


@contextmanager
def backend_of(setting: Setting, raters: Raters) -> Iterator[Backend]:
    """Where candidates are evaluated; there is a cluster for as long as that takes, and no longer."""
    config, cluster = setting.config, setting.config.cluster
    if config.backend == "local":

        def evaluate(architecture: Architecture) -> dict[str, Measurement]:
            return {**setting.at_once(architecture), **raters.evaluator.evaluate(architecture)}

        yield Local(evaluate, cluster.workers * cluster.ahead if cluster.workers else 1)
        return
    with connect(cluster.address, cluster.workers) as found:
        if config.evaluator == "alone":
            trainings = Trainings(found, raters.alone, setting.space, workers=cluster.workers, gpus=cluster.gpus)
            backend: Backend = TrainingBackend(trainings, config.seed, setting.at_once)
        else:
            backend = RayBackend(
                found,
                raters.evaluator,
                setting.space,
                setting.at_once,
                workers=cluster.workers,
                ahead=cluster.ahead,
                gpus=cluster.gpus,
                note=setting.reporter.note,
            )
        with closing(backend):
            yield backend


@contextmanager
def device_of(config: StudyConfig, profile: Profile, note: Note) -> Iterator[Transport | None]:
    """Where latency is measured: None for where the profile says, else a node of the cluster that is the device."""
    if config.backend == "local" or not config.cluster.address or profile.transport != "local":
        yield None
        return
    with connect(config.cluster.address) as found, meter.device_of(found, profile, note) as device:
        yield device
