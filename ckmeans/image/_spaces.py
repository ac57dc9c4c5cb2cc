"""Colour spaces: colours as points whose squared distances are the error, and points as colours again.

A colour with alpha is seen on a ground. Its error is the mean of the errors on black and on white. In
RGB that is the squared distance between points of four features: the colour on the grey between black
and white, and sqrt(3)/2 times alpha. With p the colour times its opacity, and d for differences:
(|d p|^2 + |d p - d alpha|^2) / 2 = |d p - d alpha / 2|^2 + 3/4 (d alpha)^2. In OKLab, which is not
linear, the features are those on black and those on white, each divided by sqrt(2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckmeans.image import _oklab

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckmeans.image._types import Bytes

__all__ = ["SPACES", "ColorSpace", "on_grounds"]

_ALPHA_SCALE = 0.75**0.5


class ColorSpace(NamedTuple):
    """A colour space, for colours of a fixed number of channels."""

    to_points: Callable[[Bytes], NDArray[Any]]
    to_bytes: Callable[[NDArray[Any]], Bytes]  # the nearest colours of whole numbers
    to_opaque: Callable[[NDArray[Any]], NDArray[Any]]  # the nearest points of opaque colours


def on_grounds(colors: Bytes) -> NDArray[np.float64]:
    """Return points (u, 4) of RGBA colours, whose squared distance is the mean error on black and white."""
    alpha = colors[:, 3:].astype(np.float64)
    return np.hstack([colors[:, :3] * (alpha / 255) + (255 - alpha) / 2, _ALPHA_SCALE * alpha])


def _from_grounds(points: NDArray[Any]) -> Bytes:
    """Return the RGBA colours whose points are nearest to these, of both whole numbers next to alpha."""
    wanted = points.astype(np.float64)
    alpha = (wanted[:, 3:] / _ALPHA_SCALE).clip(0, 255)
    candidates = []
    for rounded in (np.floor(alpha + 1e-4), np.ceil(alpha - 1e-4)):
        on_black = wanted[:, :3] - (255 - rounded) / 2
        straight = np.divide(255 * on_black, rounded, out=np.zeros_like(on_black), where=rounded > 0)
        candidates.append(np.hstack([_round(straight), rounded.astype(np.uint8)]))
    low, high = candidates
    errors = [((on_grounds(colors) - wanted) ** 2).sum(axis=1) for colors in candidates]
    return np.where((errors[0] <= errors[1])[:, None], low, high)


def _opaque_on_grounds(points: NDArray[Any]) -> NDArray[Any]:
    opaque = points.copy()
    opaque[:, 3] = _ALPHA_SCALE * 255
    return opaque


def _lab_on_grounds(colors: Bytes) -> NDArray[np.float32]:
    """Return the OKLab points (u, 6) of RGBA colours on black and on white, divided by sqrt(2)."""
    alpha = colors[:, 3:] / 255
    on_black = colors[:, :3] * alpha
    grounds = (on_black, on_black + 255 * (1 - alpha))
    return np.hstack([_oklab.from_rgb(seen) for seen in grounds]) / np.float32(2**0.5)


def _lab_from_grounds(points: NDArray[Any]) -> Bytes:
    """Return the RGBA colours whose points are near these; a mean of points need not be any colour's."""
    on_black, on_white = (_oklab.to_rgb(2**0.5 * half) for half in np.hsplit(points.astype(np.float64), 2))
    alpha = 255 - (on_white - on_black).mean(axis=1, keepdims=True).clip(0, 255)
    on_grey = (on_black + on_white) / 2
    return _from_grounds(np.hstack([on_grey, _ALPHA_SCALE * alpha]))


def _lab_opaque_on_grounds(points: NDArray[Any]) -> NDArray[Any]:
    mean = (points[:, :3] + points[:, 3:]) / 2
    return np.hstack([mean, mean])


def _round(colors: NDArray[Any]) -> Bytes:
    return np.rint(colors).clip(0, 255).astype(np.uint8)


def _unchanged(points: NDArray[Any]) -> NDArray[Any]:
    return points


# By name and number of channels.
SPACES = {
    ("rgb", 3): ColorSpace(_unchanged, _round, _unchanged),
    ("rgb", 4): ColorSpace(
        lambda colors: on_grounds(colors).astype(np.float32), _from_grounds, _opaque_on_grounds
    ),
    ("oklab", 3): ColorSpace(_oklab.from_rgb, lambda points: _round(_oklab.to_rgb(points)), _unchanged),
    ("oklab", 4): ColorSpace(_lab_on_grounds, _lab_from_grounds, _lab_opaque_on_grounds),
}
