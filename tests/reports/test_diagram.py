"""Trees and diagrams of architectures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from archfront.reports import diagram
from archfront.reports.diagram_cells import clip
from archfront.space.architecture import Architecture
from archfront.space.library.block.hytra import HyTraLayer
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.head.pyramid_classifier import PyramidClassifier
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.cells import Cells
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


def test_what_a_space_left_open_comes_first_even_where_it_is_the_default() -> None:
    layer = HyTraLayer(widest=256, most_positions=64)
    assert diagram.detail(layer).startswith("widest 256")
    assert diagram.detail(layer, {"core", "down"}).startswith("core conv · widest 256")
    other = HyTraLayer(core="attention", down=True, widest=256, most_positions=64)
    assert diagram.detail(other, {"core", "down"}).startswith("core attention · down · widest 256")


def test_choices_that_do_not_fit_into_a_box_are_left_out_whole() -> None:
    assert clip("kernel 5 · expand 4 · SqueezeExcite", 30) == "kernel 5 · expand 4 · …"
    assert clip("kernel 5 · SqueezeExcite (ratio 0.25)", 30) == "kernel 5 · SqueezeExcite…"
    assert clip("StackedSeparable kernel 7 · layers 2", 29) == "StackedSeparable kernel 7 · …"
    assert clip("kernel 5 · expand 4", 30) == "kernel 5 · expand 4"
    assert clip("AVeryLongNameOfAnOperator", 10) == "AVeryLong…"


def test_a_stack_of_cells_is_its_sequence_and_each_cell_once_with_the_paths_of_its_nodes() -> None:
    stack = Cells(width=8, repeats=2, reductions=1)  # of NASNet-A, whose cells have five nodes
    network = Network(stem=ConvStem(width=8), stages=(stack,), head=PyramidClassifier(classes=10))
    root = ET.fromstring(diagram.svg(Architecture(Image(3, 32, 32), network)))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert [word for word in texts if word in "NR"] == list("NNRNN")
    assert [word for word in texts if word.startswith("node ")] == 2 * [f"node {i}" for i in range(2, 7)]
    paths = [word[2:] for word in texts if word.startswith("← ")]
    cells = (stack.normal, stack.reduction)
    names = {0: "cell −2", 1: "cell −1"}
    assert paths == [names.get(source, f"node {source}") for cell in cells for source in cell.sources]
    assert sum(word.startswith(("StackedSeparable", "Pool", "Skip")) for word in texts) == 20
    captions = [word for word in texts if "cell, yields" in word]
    assert captions == ["normal cell, yields cell −2, nodes 2 to 6", "reduction cell, yields nodes 3 to 6"]


def test_a_diagram_says_in_words_what_it_shows() -> None:
    root = drawing()
    assert root.get("role") == "img"
    assert ARCHITECTURE.digest in root.get("aria-label", "")
    assert any("kernel=5" in (title.text or "") for title in root.iter(f"{SVG}title"))
