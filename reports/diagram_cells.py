"""How a stack of search cells is drawn: the sequence of its cells as small boxes, and each kind of cell once.

A node is one box with its two paths, each an operator and what it reads: "cell -1" is the output of the cell before,
"cell -2" that of the cell before it, "node 2" a node of the same cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from html import escape
from typing import Any

from archfront.space.cell import Cell, CellInputs, CellNode, Wiring, positions
from archfront.space.library.topology.cells import Cells
from archfront.space.spec import Operator, Spec
from archfront.space.types import Feature

SMALL, GAP, EVERY = 22, 4, 9
"""Size of the boxes of a stack, what lies between them, and how many stand in a row."""

LONGEST = 29
"""Characters that an operator may take in a box of `diagram.WIDTH`."""


def drawn_whole(spec: Spec) -> bool:
    """Whether the drawing of `spec` says all that is said of what it contains."""
    return isinstance(spec, (CellNode, CellInputs))


def letters(spec: Cells) -> str:
    """The cells of a stack in the order of the forward pass, N for normal and R for reduction cells."""
    return "".join("R" if position.reduction else "N" for position in positions(spec.stack(Feature(1, (1, 1)))))


def stack_height(spec: Cells) -> int:
    """How tall `stack_svg` is."""
    return (SMALL + GAP) * -(-len(letters(spec)) // EVERY)


def stack_svg(spec: Cells, left: int, top: int) -> str:
    """One small box a cell, row by row."""
    boxes = []
    for i, letter in enumerate(letters(spec)):
        x, y = left + (SMALL + GAP) * (i % EVERY), top + (SMALL + GAP) * (i // EVERY)
        boxes.append(
            f'<rect class="{"edge" if letter == "R" else "body"}" x="{x}" y="{y}" width="{SMALL}" height="{SMALL}" rx="4"/>'
            f'<text class="letter {letter}" x="{x + SMALL // 2}" y="{y + 15}" text-anchor="middle">{letter}</text>'
        )
    return "".join(boxes)


def cell_words(spec: Cell, name: str) -> str:
    """The caption of a cell: which it is, and what its output holds."""
    before, nodes = [i for i in spec.outputs if i < 2], [i for i in spec.outputs if i > 1]
    row = len(nodes) > 2 and nodes == [*range(nodes[0], nodes[-1] + 1)]
    told = f"nodes {nodes[0]} to {nodes[-1]}" if row else ", ".join(_state(i) for i in nodes)
    return f"{name} cell, yields {', '.join([*map(_state, before), *([told] if nodes else [])])}"


def node_svg(node: CellNode, left: int, right: int, detail: Callable[[Spec], str]) -> str:
    """The two paths of a node, one below the other: the operator, and what it reads."""
    return "".join(
        f'<text class="detail ink" x="{left}" y="{y}">{escape(_operator(path.operator, detail))}</text>'
        f'<text class="detail" x="{right}" y="{y}" text-anchor="end">{sign}← {_state(path.source)}</text>'
        for path, y, sign in ((node.left, 17, ""), (node.right, 31, "" if node.combine == "add" else "concat "))
    )


def node_name(output: Wiring) -> str:
    """What stands beside a node that yields `output`: its number."""
    return _state(len(output.used) - 1)


def _state(state: int) -> str:
    return f"node {state}" if state > 1 else f"cell \u2212{2 - state}"


def _operator(operator: Operator, detail: Callable[[Spec], str]) -> str:
    """An operator in a few words; one around another by what is inside."""
    inner = next((v for f in _fields(operator) if isinstance(v := getattr(operator, f.name), Operator)), None)
    if inner is not None:
        return _operator(inner, detail)
    return clip(f"{type(operator).__name__} {detail(operator)}".strip(), LONGEST)


def clip(words: str, limit: int) -> str:
    """`words` in at most `limit` characters: with an ellipsis for what does not fit, brackets first, choices whole."""
    if len(words) <= limit:
        return words
    words = re.sub(r" \([^()]*\)", "…", words)
    if len(words) <= limit:
        return words
    fits = words[: limit - 1].rpartition(" · ")[0]
    return f"{fits} · …" if fits else words[: limit - 1].rstrip(" ·,(") + "…"


def _fields(spec: Any) -> Any:
    return fields(spec)
