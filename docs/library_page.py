"""The page docs/library.md: which paper each block and each reference architecture is from, and how their figures agree."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront import catalogue
from archfront.space import FeatureType, Spec
from archfront.space.references import Reference, references
from archfront.space.spec import KINDS, Paper

ROWS = {
    "block": "24 moat, 37 pvt_v2, 42 res2net, 43 xception_separable, 45 pan_pixel_attention, 46 pvt_v1, 68 moganet, "
    "75 botnet_mhsa_bottleneck, 81 resnest_split_attention, 82 nextvit, 96 uniformer, 100 maxvit, 106 unireplknet, "
    "120 wide_resnet, 129 i2rmb, 135 inception_resnet, 137 efficient_vmamba, 147 ghostnet_v2, 153 convnext_v2, 183 osnet",
    "downsample": "59 spd_conv, 102 all_convolutional_net",
    "gate": "3 squeeze_excitation, 17 scse, 25 cbam",
    "mixer": "30 hornet_gnconv, 34 parcnetv2, 57 raft_token_mixing, 63 mvit_pooling_attention, 66 non_local_block, "
    "91 cvt_conv_projection, 139 gated_positional_self_attention, 165 biformer, 180 glmix",
    "operator": "16 involution, 31 condconv, 60 ghostnet, 117 sic_topological_spatial_bottleneck, 145 selective_kernel, "
    "161 deform_conv_v2",
    "regulariser": "7 dropblock",
    "runtime": "20 convfirst_block_fusion",
    "hardware": "173 hls_cnn_accelerator",
    "search": "56 bossnas, 156 nasnet_cell_space",
    "topology": "21 nest, 47 unified_stm_metaarch, 93 ascan_asymmetric_hybrid, 110 deep_layer_aggregation, 182 hrnet",
}
"""The papers that the library is made from, by what they propose: their rows in the catalogue of ideas and their keys."""

COMPOSED = {
    "hls_cnn_accelerator": "Bjerge et al., 2021, A scalable and efficient convolutional neural network accelerator using HLS "
    "for a System on Chip design | no block: `archfront.hw_profiles.accelerator` models it ([how](efficiency.md#accelerators))",
    "ascan_asymmetric_hybrid": "Kag et al., 2024, AsCAN: Asymmetric Convolution-Attention Networks for Efficient "
    "Recognition and Generation | no block of its own: `archfront.space.references.ascan` writes its networks in strings",
}
"""Paper and blocks of the rows that no block and no registered network names."""

NO_MACS = {
    "CondConv-EfficientNet-B0 (4 experts)": "the authors count 1.3 % more also for EfficientNet-B0",
    "CondConv-EfficientNet-B0 (8 experts)": "the authors count 1.3 % more also for EfficientNet-B0",
    "CondConv-EfficientNet-B0-depth (8 experts)": "the authors count 1.3 % more also for EfficientNet-B0",
    "ResNet-50 + CBAM": "the printed 3.864 G are those of the network with the stride on the 1x1 convolution",
}
"""Why a reference architecture is held to no published multiply-adds, where its source does not say it."""

INTRODUCTION = """\
Which papers the library is made from. A paper has a row and a key in the catalogue of ideas from which archfront is
built; `archfront blocks --json` gives the key of every block. Where a paper, its authors' code and the catalogue row
disagree, [deviations](deviations.md) says what is followed. The blocks themselves are described in [blocks](blocks.md)."""

TESTED = """\
*Contract*: how many blocks of the paper [the contract test](../tests/test_contract.py) holds to types, gradients, additive
cost, shared weights, source and ONNX: it takes all that are registered. *Tests of its own* hold them to brute force,
identities and published figures; parameters and multiply-adds of all networks are held by
[references](../tests/space/test_references.py)."""

REFERENCES = "archfront.space.references."

OWN_TESTS = (
    "tests/space/library/test_*.py",
    "tests/space/references/test_*.py",
    "tests/evaluators/test_*.py",
    "tests/hw_profiles/test_*.py",
    "tests/space/test_hytra.py",
)
"""Where tests of single papers are."""

FIGURES = """\
Reference architectures by the rows of their papers; those without a row are textbook networks. *Parameters* and *GMACs*
(10^9 multiply-adds of convolutions and matrix products, for one image of the input) are counted by torch on the meta
device. *Published* is what archfront has registered and its tests hold the networks to: parameters to the last one,
multiply-adds to 1 %. The last column says who published the figures, and as what: many sources print fewer digits, some
count normalisations besides, which are then taken off. *None* stands where no published figure counts the same."""


class Counted(NamedTuple):
    """What torch counts in a network: parameters, and 10^9 multiply-adds to four digits."""

    params: int
    gmacs: str


def library_page(generated: str, counted: Mapping[str, Counted]) -> str:
    """Papers with their blocks and networks, then the networks with their figures, as `counted` has them by name."""
    overview = [paper_row(kind, number, key) for number, (kind, key) in sorted(rows().items())]
    numbers = {key: number for number, (_, key) in rows().items()}
    order = sorted(references.values(), key=lambda each: (numbers.get(each.paper.key, math.inf), each.name))
    networks = [network_row(each, numbers.get(each.paper.key), counted.get(each.name)) for each in order]
    parts = [
        "# Library by paper",
        generated,
        INTRODUCTION.replace("\n", " "),
        "## Papers",
        TESTED.replace("\n", " "),
        table(
            "row | key | proposes | paper | blocks | networks | contract | tests of its own",
            "--: | --- | --- | --- | --- | --- | --: | ---",
            overview,
        ),
        "## Networks",
        FIGURES.replace("\n", " "),
        table(
            "row | network | parameters | published | GMACs | published | difference | input | classes | published by",
            "--: | --- | --: | --: | --: | --: | --: | --- | --: | ---",
            networks,
        ),
    ]
    return "\n\n".join(parts) + "\n"


def rows() -> dict[int, tuple[str, str]]:
    """What a row proposes and its key, by its number."""
    found = ((kind, entry.split()) for kind, entries in ROWS.items() for entry in entries.split(", "))
    return {int(number): (kind, key) for kind, (number, key) in found}


def paper_row(kind: str, number: int, key: str) -> str:
    """One paper: what it is, its blocks by kind, its networks."""
    blocks = [spec for spec in catalogue.blocks() if is_own(spec) and spec.paper and spec.paper.key == key]
    networks = [each for each in references.values() if each.paper.key == key]
    papers = [spec.paper for spec in blocks if spec.paper] + [each.paper for each in networks]
    about = f"{short(papers[0])} | {by_kind(blocks)}" if papers else COMPOSED[key]
    names = escaped(", ".join(sorted(each.name for each in networks)))
    modules = {each.network.__module__ for each in networks if each.network.__module__.startswith(REFERENCES)}
    words = [*(spec.__name__ for spec in blocks), *sorted(modules), *re.findall(r"`(archfront[\w.]+)`", about), key]
    tests = own_tests(words)
    return f"{number} | `{key}` | {kind} | {about} | {names} | {len(blocks) or ''} | {tests}"


def own_tests(words: Iterable[str]) -> str:
    """Links to the files of tests that name one of these: blocks, modules of networks, the key of the paper."""
    wanted = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in words))
    found = [file for file, text in tests().items() if wanted.search(text)]
    return ", ".join(f"[{Path(file).stem.removeprefix('test_')}](../{file})" for file in found)


@cache
def tests() -> dict[str, str]:
    """The text of every file of tests that is about a few blocks, by its path."""
    root = Path(__file__).parents[1]
    files = sorted(file for place in OWN_TESTS for file in root.glob(place))
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def is_own(spec: type[Spec]) -> bool:
    """Whether a block ships with archfront."""
    return spec.__module__.startswith("archfront.space.library.")


def short(paper: Paper) -> str:
    """`Hu et al., 2018, Squeeze-and-Excitation Networks`."""
    names = [name.split()[-1] for name in paper.authors.split(", ")]
    who = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
    return escaped(f"{who}, {paper.year}, {paper.title}")


def by_kind(blocks: Iterable[type[Spec]]) -> str:
    """`gate A, B; operator C`, every block a link to its description."""
    blocks = list(blocks)
    groups = {kind.kind: [spec for spec in blocks if spec.kind == kind.kind] for kind in KINDS}
    return "; ".join(f"{kind} {', '.join(map(link, found))}" for kind, found in groups.items() if found)


def link(spec: type[Spec]) -> str:
    """The name of a block, leading to its description."""
    return f"[{spec.__name__}](blocks.md#{spec.__name__.lower()})"


def network_row(reference: Reference, number: int | None, counted: Counted | None) -> str:
    """One network: its figures as counted and as published, and who published them."""
    found = counted or Counted(0, "0")  # a network that the page does not state yet
    published, difference = "none", ""
    if reference.gmacs is not None:
        published = f"{reference.gmacs:g}"
        difference = f"{round(100 * (float(found.gmacs) / reference.gmacs - 1), 1) + 0.0:.1f} %"
    source = "; ".join(filter(None, (reference.source, NO_MACS.get(reference.name))))
    cells = (
        "" if number is None else number, reference.name, f"{found.params:,}", f"{reference.params:,}", found.gmacs,
        published, difference, reference.input, reference.classes, escaped(source),
    )  # fmt: skip
    return " | ".join(map(str, cells))


def table(head: str, rule: str, body: Iterable[str]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {row} |" for row in (head, rule, *body))


# --------------------------------------------------------------------------- figures


def count_references() -> dict[str, Counted]:
    """What torch counts in every reference architecture, on the meta device; takes 15 to 30 seconds."""
    return {name: count(reference) for name, reference in references.items()}


def stated(page: str) -> dict[str, Counted]:
    """What a page that was written before says that torch counts."""
    cells = re.findall(r"^\| \d* ?\| ([^|]+) \| ([\d,]+) \| [\d,]+ \| ([\d.]+) \|", page, re.MULTILINE)
    return {name: Counted(int(params.replace(",", "")), gmacs) for name, params, gmacs in cells}


def count(reference: Reference) -> Counted:
    """What torch counts in a network: the sum over its parts."""
    parts = [part_count(part.spec, part.input) for part in reference.architecture().parts]
    return Counted(sum(params for params, _ in parts), f"{sum(macs for _, macs in parts) / 1e9:.4g}")


@cache
def part_count(spec: Spec, x: FeatureType) -> tuple[int, int]:
    """Parameters and multiply-adds of a part; counted once, many networks have parts in common."""
    with torch.device("meta"), torch.no_grad():
        module = spec.build(x).eval()
        with FlopCounterMode(display=False) as counter:
            module(*x.arguments())
    return sum(parameter.numel() for parameter in module.parameters()), counter.get_total_flops() // 2


def escaped(text: str) -> str:
    """Text in which Markdown finds no markup but code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([|*<])", r"\\\1", part) for part in parts)
