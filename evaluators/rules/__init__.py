"""Training rules by name: what `rule` in study.toml may say."""

from __future__ import annotations

from archfront.space.errors import nearest

from ..store import SupernetError
from .alpha import AlphaDivergence
from .attentive import AttentiveBest, AttentiveWorst
from .bootstrapping import Bootstrapping
from .fair import Fair
from .few_shot import FewShot
from .progressive import ProgressiveShrinking
from .rule import Rule, extreme
from .sandwich import Sandwich
from .single_path import SinglePath

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Sandwich,
        SinglePath,
        Fair,
        AttentiveBest,
        AttentiveWorst,
        AlphaDivergence,
        ProgressiveShrinking,
        FewShot,
        Bootstrapping,
    )
}
"""Every rule by its name."""


def rule_named(name: str) -> type[Rule]:
    """The rule called `name`.

    Raises:
        SupernetError: there is none; names those there are.
    """
    if name not in RULES:
        raise SupernetError(f"unknown training rule {name!r}{nearest(name, RULES)}")
    return RULES[name]


__all__ = ["RULES", "Rule", "extreme", "rule_named"]
