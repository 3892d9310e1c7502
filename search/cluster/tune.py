"""Any space as a search space of Ray Tune: for those who bring their own Tuner, searcher and scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.limits import Bounds
from archfront.space.space import Space, trial_pick

from .connection import ray_module


def param_space(space: Space) -> dict[str, Any]:
    """One `tune.choice` a site, among its labels; for `tune.Tuner(param_space=...)`."""
    ray_module()
    from ray import tune

    return {path: tune.choice(list(site.domain.labels)) for path, site in space.sites.items()}


def architecture(space: Space, config: Mapping[str, Any], bounds: Bounds | None = None) -> Architecture:
    """The architecture that a configuration of Ray Tune describes.

    Sites that do not occur under the other choices are passed over. Where a choice cannot be built, or not within
    the bounds, the nearest possible option is taken.

    Args:
        config: a label for every site, as `param_space` offers them; further keys are left alone.
        bounds: additive costs to stay within.

    Raises:
        SpaceError: the configuration lacks a site or has a label that it does not offer, or the architecture breaks a
            predicate of the space.
    """
    return space.resolve(trial_pick(space, _Answers(config)), bounds)


@dataclass(frozen=True)
class _Answers:
    """A configuration as `trial_pick` asks it."""

    config: Mapping[str, Any]

    def suggest_categorical(self, site: str, labels: tuple[Any, ...]) -> Any:
        """What the configuration says about a site."""
        if site not in self.config:
            raise SpaceError(f"the configuration says nothing about {site}; param_space(space) has every site")
        if self.config[site] not in labels:
            offered = ", ".join(map(repr, labels))
            raise SpaceError(f"{site}: {self.config[site]!r} is no choice there; choices: {offered}")
        return self.config[site]
