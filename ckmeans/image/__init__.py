"""Colour quantization of images."""

from ckmeans.image._animation import Animation
from ckmeans.image._before_after import before_after
from ckmeans.image._quantize import quantize, quantize_frames, quantize_sizes
from ckmeans.image._quantized import Quantized

__all__ = ["Animation", "Quantized", "before_after", "quantize", "quantize_frames", "quantize_sizes"]
