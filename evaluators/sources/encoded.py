"""Encoded images (PNG, JPEG, ...) from files or from bytes: decoded by Pillow in threads.

Every image becomes uint8. Grey and colour may stand side by side: the set is grey if most of a sample of it is,
colour otherwise, and the others are converted (colour to grey by the ITU-R 601-2 luma, grey to colour by repetition).
Transparency is dropped, the orientation that a camera noted is applied, animated files give their first frame.
"""

from __future__ import annotations

import os
import struct
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .listing import Advance, DataError, Faults, Form, IntArray, Listing, Size, centre_box

T = TypeVar("T")

Payload = bytes | Path | None
"""An encoded image, the file that holds it, or None where the source has neither."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What is decoded; formats whose decoders run other programs are left out."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})

_GREY = frozenset({"1", "L", "LA", "La"})
_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged files, depending on the format and on where the damage is."""

_SAMPLE = 64
_CHUNK = 128
_WINDOW = 32 * _CHUNK


class UnusableError(Exception):
    """An image that cannot be used; its text says why."""


class Encoded(Listing):
    """Images that stand encoded in files or in the rows of a table."""

    @abstractmethod
    def fetch(self, rows: IntArray) -> Iterator[Payload]:
        """The payloads at `rows` (rising), one after the other."""

    def form(self, rows: IntArray, channels: int | None, size: Size | None) -> Form:
        if channels not in (None, 1, 3):
            raise DataError(f"channels={channels}: encoded images are read with 1 (grey) or 3 (colour) channels")
        if size and channels:
            return Form(channels, size, resize=True, like="")
        sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)]
        seen: list[tuple[int, Size, int]] = []
        problem = ""
        for row, payload in zip(sample, self.fetch(sample), strict=True):
            try:
                image = _decode(payload)
            except UnusableError as error:
                problem = problem or f"{self.where(row)}: {error}"
            else:
                seen.append((1 if image.mode in _GREY else 3, (image.height, image.width), row))
        if not seen:
            raise DataError(f"none of {len(sample)} sampled images can be read; the first: {problem}")
        if channels is None:
            channels = 1 if sum(found == 1 for found, _, _ in seen) > len(seen) / 2 else 3
        if size:
            return Form(channels, size, resize=True, like="")
        common = Counter(found for _, found, _ in seen).most_common(1)[0][0]
        like = next(row for _, found, row in seen if found == common)
        return Form(channels, common, resize=False, like=self.where(like))

    def load(self, rows: IntArray, form: Form, faults: Faults, advance: Advance) -> tuple[Tensor, IntArray]:
        images = np.empty((len(rows), form.channels, *form.size), np.uint8)
        kept = np.ones(len(rows), bool)
        start = 0
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            for window in _portions(self.fetch(rows), _WINDOW):
                chunks = list(_portions(window, _CHUNK))
                targets = [images[start + i * _CHUNK :] for i in range(len(chunks))]
                for reasons in threads.map(_decode_into, chunks, targets, [form] * len(chunks)):
                    for i, reason in enumerate(reasons):
                        if reason:
                            faults.add(self.where(rows[start + i]), reason)
                            kept[start + i] = False
                    start += len(reasons)
                    advance(len(reasons))
        return torch.from_numpy(images if kept.all() else images[kept]), rows[kept]


def _portions(items: Iterable[T], count: int) -> Iterator[list[T]]:
    """`items` in lists of `count`, the last one shorter."""
    rest = iter(items)
    while portion := list(islice(rest, count)):
        yield portion


def _decode_into(payloads: Sequence[Payload], target: NDArray[np.uint8], form: Form) -> list[str]:
    """Decode each payload into the rows of `target`; for each, why it could not be used, or ""."""
    reasons = []
    for payload, out in zip(payloads, target, strict=False):
        reason = ""
        try:
            pixels = np.asarray(_fit(_decode(payload, form.size if form.resize else None), form))
            out[...] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        except UnusableError as error:
            reason = str(error)
        reasons.append(reason)
    return reasons


def _decode(payload: Payload, size: Size | None = None) -> Image.Image:
    """The decoded image; with `size`, a JPEG may come out reduced, at no less than twice that size."""
    if payload is None:
        raise UnusableError("holds no bytes of an image")
    try:
        with Image.open(BytesIO(payload) if isinstance(payload, bytes) else payload, formats=FORMATS) as image:
            if size:
                image.draft(None, (2 * max(size), 2 * max(size)))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except _UNREADABLE as error:
        raise UnusableError(_reason(error)) from None
    if image.mode in _DEEP:
        raise UnusableError(f"has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    return image


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is no image of a known format ({', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"cannot be decoded: {error}"


def _fit(image: Image.Image, form: Form) -> Image.Image:
    """The image with the form's channels and size; another aspect ratio is cut to the centre before it is resized."""
    mode = "L" if form.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    height, width = form.size
    if image.size == (width, height):
        return image
    if not form.resize:
        raise UnusableError(
            f"is {image.height}x{image.width} (height x width) where {form.like} is {height}x{width}; "
            f"give size, for example {height},{width}, to bring all images to one size"
        )
    top, left, bottom, right = centre_box(image.height, image.width, form.size)
    return image.crop((left, top, right, bottom)).resize((width, height), Image.Resampling.BILINEAR)
