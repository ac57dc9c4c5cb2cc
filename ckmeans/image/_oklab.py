"""Conversion between sRGB and OKLab, a colour space in which distances match perceived differences.

Ottosson, B., "A perceptual color space for image processing", 2020, with its matrices of 2021 for
linear sRGB; the transfer function is that of IEC 61966-2-1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_rgb", "to_rgb"]

_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _to_linear(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


_SRGB_TO_LINEAR = _to_linear(np.arange(256) / 255)


def from_rgb(colors: NDArray[Any]) -> NDArray[np.float32]:
    """Convert sRGB colours to OKLab: lightness, green to red, blue to yellow.

    Parameters
    ----------
    colors : ndarray of uint8 or float64, shape (u, 3)
        RGB, on the scale 0 to 255.

    Returns
    -------
    ndarray of float32, shape (u, 3)
        Lightness 0 to 1.
    """
    linear = _SRGB_TO_LINEAR[colors] if colors.dtype == np.uint8 else _to_linear(colors / 255)
    lab = np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab.astype(np.float32)


def to_rgb(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Convert points in OKLab to sRGB.

    Parameters
    ----------
    points : ndarray of shape (u, 3)
        As returned by `from_rgb`.

    Returns
    -------
    ndarray of float64, shape (u, 3)
        On the scale 0 to 255, not rounded; outside that range for colours that sRGB cannot represent.
    """
    linear = (points @ np.linalg.inv(_LMS_TO_LAB).T) ** 3 @ np.linalg.inv(_RGB_TO_LMS).T
    curved = 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    return 255 * np.where(linear <= 0.04045 / 12.92, linear * 12.92, curved)
