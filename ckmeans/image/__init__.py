"""Color quantization of images."""

from ckmeans.image._quantize import Quantized, before_after, quantize, quantize_sizes

__all__ = ["Quantized", "before_after", "quantize", "quantize_sizes"]
