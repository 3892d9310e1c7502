"""An architecture as a tree of text and as a vertical diagram in SVG.

Both are stacks of the same lines. A line has three parts that recur over and over in a study (its place in the tree,
the spec that stands there, the feature type it yields), so a report stores each distinct part once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, Field, fields
from html import escape
from typing import Any, NamedTuple

from archfront.space.architecture import Architecture
from archfront.space.cell import Cell, CellInputs, CellNode, Wiring
from archfront.space.library.topology.cells import Cells
from archfront.space.network import Composite
from archfront.space.spec import Block, Mixer, Operator, Spec
from archfront.space.types import Feature, FeatureType

from .diagram_cells import cell_words, clip, drawn_whole, node_name, node_svg, stack_height, stack_svg

WIDTH, SHAPE_WIDTH = 340, 92
ROW, CAPTION = 40, 24
COLOURS = 8
"""How many colours the stylesheet has for kinds of block (`.c0` to `.c7`); `.plain` is for stems, heads and such."""


class Line(NamedTuple):
    """One line of a tree: the branches drawn in front of it, its name, what stands there, what that yields."""

    branch: str
    name: str
    spec: Spec
    output: FeatureType


def lines(architecture: Architecture) -> tuple[Line, ...]:
    """Every container and part of `architecture`, in the order of the forward pass."""
    return tuple(_lines(architecture.network, architecture.input, "network", "", ""))


def _lines(spec: Spec, x: FeatureType, name: str, branch: str, below: str) -> Iterator[Line]:
    parts = spec.parts(x) if isinstance(spec, Composite) else []
    if len(parts) == 1 and not parts[0].path:  # a container around nothing but its block
        yield from _lines(parts[0].spec, x, name, branch, below)
        return
    yield Line(branch, name, spec, spec.output(x))
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        yield from _lines(
            part.spec,
            part.input,
            part.path or "block",
            below + ("└─ " if last else "├─ "),
            below + ("   " if last else "│  "),
        )


def is_part(spec: Spec) -> bool:
    """Whether `spec` computes something itself rather than containing what does."""
    return not isinstance(spec, Composite)


def tree(architecture: Architecture) -> str:
    """`architecture` as an indented tree: name, spec and output of every container and part, one a line."""
    rows = [(line.branch + line.name, text(line.spec), str(line.output)) for line in lines(architecture)]
    wide = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}" for a, b, c in rows)


def text(spec: Spec) -> str:
    """`spec` as it is written in Python; a container without what it contains."""
    if not isinstance(spec, Composite):
        return repr(spec)
    plain = (f.name for f in _fields(spec) if isinstance(getattr(spec, f.name), (bool, int, float, str)))
    return f"{type(spec).__name__}({', '.join(f'{name}={getattr(spec, name)!r}' for name in plain)})"


def family(spec: Spec) -> str:
    """What decides the colour of a block: its class and that of the mixer or operator in it; "" for other parts."""
    inner = (getattr(spec, f.name) for f in _fields(spec))
    core = next((type(value).__name__ for value in inner if isinstance(value, (Mixer, Operator))), "")
    return f"{type(spec).__name__} {core}".strip() if isinstance(spec, Block) else ""


def detail(spec: Spec, choices: AbstractSet[str] = frozenset()) -> str:
    """The choices inside `spec` in a few words, such as "kernel 5 · expand 4 · SqueezeExcite".

    Fields named in `choices`, those that a space left open, come first, and are said even where they are the default.
    """
    words = []
    for field in sorted(_fields(spec), key=lambda field: field.name not in choices):
        value, name = getattr(spec, field.name), field.name.replace("_", " ")
        default = field.default is not MISSING and value == field.default and field.name not in choices
        if value is None or name in ("width", "stride"):  # said by the shape beside the box
            continue
        if isinstance(value, Spec):
            inner = detail(value, choices)
            words.append(f"{type(value).__name__} ({inner.replace(' · ', ', ')})" if inner else type(value).__name__)
        elif isinstance(value, bool):
            words += [] if value == field.default else [name if value else f"no {name}"]
        elif isinstance(value, str) or value == 0:
            words += [] if default else [f"{name} {value}"]
        else:
            words.append(f"{name} {value:g}" if isinstance(value, (int, float)) else f"{name} {value}")
    return " · ".join(words)


def block_svg(spec: Spec, colour: str, name: str = "", choices: AbstractSet[str] = frozenset()) -> str:
    """The box of a part, or the caption of a container, drawn at the origin.

    Args:
        spec: what is drawn.
        colour: a class of the stylesheet.
        name: of its place, which tells one cell from another.
        choices: names of fields that the space left open.
    """
    box = WIDTH - SHAPE_WIDTH - 1
    if isinstance(spec, CellNode):
        paths = node_svg(spec, SHAPE_WIDTH + 14, WIDTH - 10, lambda operator: detail(operator, choices))
        frame = f'<rect class="body" x="{SHAPE_WIDTH}" y="2" width="{box}" height="{ROW - 4}" rx="4"/>'
        return f'<g class="block plain">{frame}{paths}</g>'
    if isinstance(spec, CellInputs):
        return ""
    if isinstance(spec, Composite):
        caption = (
            f'<text class="heading" x="{SHAPE_WIDTH}" y="{CAPTION - 8}">{escape(clip(_caption(spec, name), 44))}</text>'
        )
        return caption + (stack_svg(spec, SHAPE_WIDTH, CAPTION) if isinstance(spec, Cells) else "")
    return (
        f'<g class="block {escape(colour)}">'
        f'<rect class="body" x="{SHAPE_WIDTH}" y="2" width="{box}" height="{ROW - 4}" rx="4"/>'
        f'<rect class="edge" x="{SHAPE_WIDTH}" y="2" width="6" height="{ROW - 4}" rx="3"/>'
        f'<text class="name" x="{SHAPE_WIDTH + 14}" y="17">{escape(type(spec).__name__)}</text>'
        f'<text class="detail" x="{SHAPE_WIDTH + 14}" y="31">{escape(clip(detail(spec, choices), 36))}</text></g>'
    )


def _caption(spec: Spec, name: str) -> str:
    if isinstance(spec, Cell):
        return cell_words(spec, name)
    if isinstance(spec, Cells):
        return "Stack: N normal cell, R reduction cell"
    plain = {f.name: getattr(spec, f.name) for f in _fields(spec) if f.name != "stride"}
    said = [f"{word.replace('_', ' ')} {value:g}" for word, value in plain.items() if type(value) in (int, float)]
    return ", ".join([type(spec).__name__, *said])


def shape_svg(output: FeatureType) -> str:
    """A feature type in words, above a bar that is longer the more channels it has (logarithmic, full at 2048).

    Beside a node of a cell stands its number.
    """
    bar = ""
    if isinstance(output, Feature):
        length = (SHAPE_WIDTH - 16) * min(math.log2(output.channels + 1) / 11, 1)
        bar = f'<rect class="bar" x="{SHAPE_WIDTH - 8 - length:.1f}" y="25" width="{length:.1f}" height="4" rx="2"/>'
    words = node_name(output) if isinstance(output, Wiring) else escape(clip(str(output).replace("x", "×"), 16))
    return f'<text class="shape" x="{SHAPE_WIDTH - 8}" y="18" text-anchor="end">{words}</text>{bar}'


def height(spec: Spec) -> int:
    """How tall the line of `spec` is in a diagram."""
    if isinstance(spec, CellInputs):
        return 0
    if isinstance(spec, Cells):
        return CAPTION + stack_height(spec)
    return ROW if is_boxed(spec) else CAPTION


def is_boxed(spec: Spec) -> bool:
    """Whether `spec` is drawn as a box with what it yields beside it, rather than as a caption."""
    return is_part(spec) or isinstance(spec, CellNode)


def key(line: Line) -> str:
    """What tells drawings of specs apart: nodes by their paths, cells by their place and nodes, others by their text."""
    if isinstance(line.spec, (Cell, CellNode)):
        return f"{line.name if isinstance(line.spec, Cell) else ''} {line.spec!r}"
    return text(line.spec)


def visible(architecture: Architecture) -> list[Line]:
    """The lines that a diagram draws: all but the outermost, and none inside what is drawn whole."""
    found: list[Line] = []
    inside = math.inf
    for line in lines(architecture)[1:]:
        if len(line.branch) > inside:
            continue
        inside = len(line.branch) if drawn_whole(line.spec) else math.inf
        found.append(line)
    return found


def colours(families: set[str]) -> dict[str, str]:
    """The colour class of every family; "" (no block) is plain. Colours repeat after eight: names tell them apart."""
    return {name: f"c{i % COLOURS}" for i, name in enumerate(sorted(families - {""}))} | {"": "plain"}


def svg(architecture: Architecture) -> str:
    """The diagram of `architecture`: one box a part from input to output, its feature type beside it.

    The classes `body`, `edge`, `name`, `detail`, `heading`, `shape`, `bar` and `c0` ... are for a stylesheet.
    """
    drawn = visible(architecture)
    palette = colours({family(line.spec) for line in drawn})
    y, groups = 0, []
    for line in drawn:
        shape = shape_svg(line.output) if is_boxed(line.spec) else ""
        title = f"<title>{escape(text(line.spec))}</title>"
        block = block_svg(line.spec, palette[family(line.spec)], line.name)
        groups.append(f'<g transform="translate(0 {y})">{title}{shape}{block}</g>')
        y += height(line.spec)
    label = f"Diagram of architecture {architecture.digest}: {len(architecture.parts)} parts"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" role="img" aria-label="{label}">{"".join(groups)}</svg>'
    )


def _fields(spec: Any) -> tuple[Field[Any], ...]:
    return fields(spec)  # every spec is a dataclass, which the type of `Spec` does not say
