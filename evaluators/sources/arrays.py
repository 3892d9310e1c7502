"""Images that already are numbers in one array: `.npz` files, IDX files, the built-in digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .listing import Advance, DataError, Faults, Form, IntArray, Listing, Size, centre_box, integer_labels

_LUMA = torch.tensor([0.299, 0.587, 0.114])
"""ITU-R 601-2, as Pillow converts colour to grey."""

_CHUNK = 1024


class Arrays(Listing):
    """Images in an array.

    Args:
        images: (N, H, W), (N, H, W, C) or (N, C, H, W). Of four dimensions, the channels are the one that is 1 or 3
            (or `channels`); if both the second and the last are, the array is ambiguous and refused.
            uint8 stays uint8; other integers must lie in 0..255 and become uint8; floats become float32, unscaled.
        labels: one integer an image.
        name: how messages call the array.
        channels: a further number of channels to recognise.

    Raises:
        DataError: shapes or types are none of these, or the lengths differ.
    """

    def __init__(self, images: NDArray[Any], labels: Any, name: str, channels: int | None = None) -> None:
        self.name = name
        self.labels = integer_labels(labels, f"{name} labels")
        self.images = _as_nchw(images, name, {1, 3} if channels is None else {1, 3, channels})
        if len(self.images) != len(self.labels):
            raise DataError(f"{name}: {len(self.images)} images but {len(self.labels)} labels")
        self.real = np.issubdtype(images.dtype, np.floating)
        if not self.real and images.dtype != np.uint8:
            _check_bytes(images, name)

    def where(self, row: int) -> str:
        return f"{self.name} row {row}"

    def form(self, rows: IntArray, channels: int | None, size: Size | None) -> Form:
        found, height, width = self.images.shape[1:]
        if channels not in (None, found) and (found, channels) not in ((1, 3), (3, 1)):
            raise DataError(f"{self.name}: holds {found} channels, which cannot be converted to {channels}")
        return Form(channels or found, size or (height, width), size is not None, self.where(rows[0]))

    def load(self, rows: IntArray, form: Form, faults: Faults, advance: Advance) -> tuple[Tensor, IntArray]:
        self._check_size(form)
        images = torch.empty(len(rows), form.channels, *form.size, dtype=torch.float32 if self.real else torch.uint8)
        kept = np.ones(len(rows), bool)
        for start in range(0, len(rows), _CHUNK):
            chunk = self._read(rows[start : start + _CHUNK])
            for i in (~chunk.isfinite().flatten(1).all(1)).nonzero()[:, 0].tolist() if self.real else ():
                faults.add(self.where(rows[start + i]), "holds NaN or infinite values")
                kept[start + i] = False
            images[start : start + _CHUNK] = _resize(_recolour(chunk, form.channels), form.size)
            advance(len(chunk))
        return images if kept.all() else images[torch.from_numpy(kept)], rows[kept]

    def _read(self, rows: IntArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.images[rows], np.float32 if self.real else np.uint8))

    def _check_size(self, form: Form) -> None:
        size = self.images.shape[2:]
        if not form.resize and size != form.size:
            raise DataError(
                f"{self.name}: images are {size[0]}x{size[1]} (height x width) where {form.like} is "
                f"{form.size[0]}x{form.size[1]}; give size to bring all images to one size"
            )


def _as_nchw(images: NDArray[Any], name: str, channels: set[int]) -> NDArray[Any]:
    """A view of `images` as (N, C, H, W)."""
    if not (np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)):
        raise DataError(f"{name}: images must be numbers (uint8 or floats), got {images.dtype}")
    if 0 in images.shape:
        raise DataError(f"{name}: holds no images (shape {images.shape})")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        raise DataError(f"{name}: expected (N, H, W), (N, H, W, C) or (N, C, H, W), got shape {images.shape}")
    first, last = images.shape[1] in channels, images.shape[3] in channels
    if first and last:
        raise DataError(f"{name}: shape {images.shape} may be (N, C, H, W) or (N, H, W, C): ambiguous")
    if not first and not last:
        known = " or ".join(map(str, sorted(channels)))
        raise DataError(f"{name}: no dimension of {images.shape} is {known}; give channels=... for another number")
    return images if first else images.transpose(0, 3, 1, 2)


def _check_bytes(images: NDArray[Any], name: str) -> None:
    low, high = int(images.min()), int(images.max())
    if low < 0 or high > 255:
        raise DataError(f"{name}: {images.dtype} images must lie in 0..255, found {low}..{high}; store floats instead")


def _recolour(images: Tensor, channels: int) -> Tensor:
    found = images.shape[1]
    if found == channels:
        return images
    if found == 1:
        return images.expand(-1, channels, -1, -1)
    grey = torch.einsum("nchw,c->nhw", images.float(), _LUMA)[:, None]
    return grey if images.is_floating_point() else grey.round().to(torch.uint8)


def _resize(images: Tensor, size: Size) -> Tensor:
    """Antialiased bilinear; another aspect ratio is cut to the centre first. Pillow's filter, to within rounding."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    top, left, bottom, right = centre_box(height, width, size)
    return F.interpolate(images[:, :, top:bottom, left:right], size, mode="bilinear", antialias=True)


def digits() -> Arrays:
    """1797 handwritten digits of 8x8 pixels that come with scikit-learn.

    The test part of Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998, UCI Machine Learning
    Repository). The values 0..16 are stored times 15, so that they fill 8 bits without rounding.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return Arrays((data.images * 15).astype(np.uint8), data.target, "digits")
