"""The first MViT for images against published figures."""

from __future__ import annotations

from archfront.space.references import references

from .figures import check, size_and_cost


def test_mvit_has_the_published_size_and_cost() -> None:
    check("MViT-B-16-image", "37.0", 7.8)


def test_mvit_is_what_its_table_of_widths_adds_up_to() -> None:
    """Sixteen blocks of width D with poolings of keys and values; D grows in the perceptrons of blocks 0, 2 and 13."""
    widths = [96] + [192] * 2 + [384] * 11 + [768] * 2
    total = 49 * 3 * 96 + 96 + 96 + (56 * 56 + 1) * 96
    for i, (width, after) in enumerate(zip(widths, [*widths[1:], 768], strict=True)):
        pools = 3 if i in (1, 3, 14) else 2
        total += 4 * width + 4 * width**2 + 4 * width + pools * (9 * 96 + 2 * 96)
        total += 4 * width**2 + 4 * width + 4 * width * after + after
        total += (width + 1) * after if width != after else 0
    total += 2 * 768 + 768 * 1000 + 1000
    assert size_and_cost("MViT-B-16-image")[0] == references["MViT-B-16-image"].params == total
