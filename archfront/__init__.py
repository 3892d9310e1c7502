"""Neural architecture search for a hardware budget: typed spaces, exact cost, measured latency, a Pareto report, code.

Names are imported where they are first used, so `import archfront` costs nothing:

    import archfront

    result = archfront.run(space="micro", data="digits", budget="latency<=2ms, params<=200k")
    result.front
    result.report("report.html")
    result.export()
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Result, load, run
    from .hw_profiles.cost import Cost, cost, register_cost
    from .hw_profiles.metrics import METRICS, Measurement, Metric
    from .hw_profiles.profile import Profile, profile
    from .search.budget import Budget
    from .search.config import StudyConfig
    from .space import (
        ArchfrontError,
        Architecture,
        Block,
        ChannelMixer,
        Downsample,
        Feature,
        Gate,
        Head,
        Image,
        Mixer,
        Network,
        Operator,
        Paper,
        ShapeError,
        Space,
        SpaceError,
        Spec,
        SpecError,
        Stage,
        Stem,
        StridedBlock,
        int_range,
        one_of,
        registry,
        shared,
        tied,
    )

__version__ = version("archfront")

_HOMES = {
    "api": ("Result", "load", "run"),
    "hw_profiles.cost": ("Cost", "cost", "register_cost"),
    "hw_profiles.metrics": ("METRICS", "Measurement", "Metric"),
    "hw_profiles.profile": ("Profile", "profile"),
    "search.budget": ("Budget",),
    "search.config": ("StudyConfig",),
    "space": (
        "Architecture", "ArchfrontError", "Block", "ChannelMixer", "Downsample", "Feature", "Gate", "Head", "Image",
        "Mixer", "Network", "Operator", "Paper", "ShapeError", "Space", "SpaceError", "Spec", "SpecError", "Stage",
        "Stem", "StridedBlock", "int_range", "one_of", "registry", "shared", "tied",
    ),
}  # fmt: skip
"""The modules that names of this one come from. Names of rooms (`search`, `space`, ...) are those of the rooms."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "METRICS",
    "ArchfrontError",
    "Architecture",
    "Block",
    "Budget",
    "ChannelMixer",
    "Cost",
    "Downsample",
    "Feature",
    "Gate",
    "Head",
    "Image",
    "Measurement",
    "Metric",
    "Mixer",
    "Network",
    "Operator",
    "Paper",
    "Profile",
    "Result",
    "ShapeError",
    "Space",
    "SpaceError",
    "Spec",
    "SpecError",
    "Stage",
    "Stem",
    "StridedBlock",
    "StudyConfig",
    "__version__",
    "cost",
    "int_range",
    "load",
    "one_of",
    "profile",
    "register_cost",
    "registry",
    "run",
    "shared",
    "tied",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
