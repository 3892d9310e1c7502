"""Trees and diagrams of architectures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from archfront.reports import diagram
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.types import Image

ARCHITECTURE = Architecture(
    Image(3, 32, 32),
    Network(
        stem=ConvStem(width=16),
        stages=(
            Stage(width=24, depth=2, stride=1, block=MBConv(kernel=5, expand=4.0, gate=SqueezeExcite())),
            Stage(width=48, depth=1, stride=2, block=MetaFormer(mixer=LargeKernel(kernel=7))),
        ),
        head=Classifier(classes=10),
    ),
)
SVG = "{http://www.w3.org/2000/svg}"


def drawing() -> ET.Element:
    return ET.fromstring(diagram.svg(ARCHITECTURE))


def test_the_lines_hold_every_part_once_in_the_order_of_the_forward_pass() -> None:
    parts = [(line.spec, line.output) for line in diagram.lines(ARCHITECTURE) if diagram.is_part(line.spec)]
    assert parts == [(part.spec, part.spec.output(part.input)) for part in ARCHITECTURE.parts]


def test_the_tree_shows_where_each_part_stands_what_it_is_and_what_it_yields() -> None:
    lines = diagram.tree(ARCHITECTURE).splitlines()
    assert lines[0].split()[0] == "network" and lines[1].split()[:2] == ["├─", "stem"]
    assert any("blocks[1]" in line and "MBConv(" in line and line.endswith("24x16x16") for line in lines)
    assert lines[-1].startswith("└─ head") and lines[-1].endswith("10 scores")


def test_the_last_child_closes_its_branch() -> None:
    branches = {line.name: line.branch for line in diagram.lines(ARCHITECTURE)}
    assert branches["stem"] == "├─ " and branches["head"] == "└─ "
    assert branches["blocks[1]"].endswith("└─ ")


def test_a_diagram_has_one_box_a_part_without_overlap() -> None:
    groups = drawing().findall(f"{SVG}g")
    boxes = [g for g in groups if g.find(f"{SVG}g") is not None]
    assert len(boxes) == len(ARCHITECTURE.parts)
    tops = [float(re.findall(r"[\d.]+", g.get("transform", ""))[1]) for g in groups]
    heights = [diagram.height(line.spec) for line in diagram.lines(ARCHITECTURE)[1:]]
    assert tops == [sum(heights[:i]) for i in range(len(heights))]
    assert drawing().get("height") == str(sum(heights))


def test_the_bar_is_longer_for_more_channels() -> None:
    bars = [float(bar.get("width", "0")) for bar in drawing().iter(f"{SVG}rect") if bar.get("class") == "bar"]
    channels = [part.spec.output(part.input) for part in ARCHITECTURE.parts]
    known = [x.channels for x in channels if hasattr(x, "channels")]
    assert len(bars) == len(known)
    assert [b for _, b in sorted(zip(known, bars, strict=True))] == sorted(bars)


def test_blocks_around_different_mixers_get_different_colours_and_stems_none() -> None:
    families = {diagram.family(MetaFormer(mixer=m)) for m in (LargeKernel(), SelfAttention())}
    assert len(families) == 2
    assert diagram.family(ConvStem(width=16)) == ""
    assert len(set(diagram.colours({*families, ""}).values())) == 3


def test_the_detail_names_the_choices_and_leaves_out_untouched_switches() -> None:
    words = diagram.detail(MBConv(kernel=5, expand=4.0, gate=SqueezeExcite()))
    assert words.startswith("kernel 5 · expand 4 · SqueezeExcite")
    assert "relu6" not in words and "drop path" not in words
    assert "activation silu" in diagram.detail(MBConv(activation="silu"))


def test_a_diagram_says_in_words_what_it_shows() -> None:
    root = drawing()
    assert root.get("role") == "img"
    assert ARCHITECTURE.digest in root.get("aria-label", "")
    assert any("kernel=5" in (title.text or "") for title in root.iter(f"{SVG}title"))
