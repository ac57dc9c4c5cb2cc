"""Exact k-means for Python programs that care about speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckmeans._config import release_memory, show_config
from ckmeans._inputs import Prepared
from ckmeans._result import Result, load
from ckmeans._version import __version__
from ckmeans.api import assign, distortion, init_centroids, kmeans, kmeans_chunks, prepare, update

if TYPE_CHECKING:
    from ckmeans import dask as dask
    from ckmeans import image as image
    from ckmeans import plot
    from ckmeans._elbow import compare, elbow
    from ckmeans._many import ManyResult, kmeans_many
    from ckmeans._partial import PartialStep, combine, partial_step
    from ckmeans._quantizer import ProductQuantizer
    from ckmeans._silhouette import silhouette
    from ckmeans.estimators import KMeans, MiniBatchKMeans
    from ckmeans.image import quantize

__all__ = [
    "KMeans",
    "ManyResult",
    "MiniBatchKMeans",
    "PartialStep",
    "Prepared",
    "ProductQuantizer",
    "Result",
    "__version__",
    "assign",
    "combine",
    "compare",
    "distortion",
    "elbow",
    "init_centroids",
    "kmeans",
    "kmeans_chunks",
    "kmeans_many",
    "load",
    "partial_step",
    "plot",
    "prepare",
    "quantize",
    "release_memory",
    "show_config",
    "silhouette",
    "update",
]

# Names whose modules need an extra, or are not worth importing every time; "": a module itself.
_LAZY = {
    "KMeans": "ckmeans.estimators",
    "ManyResult": "ckmeans._many",
    "MiniBatchKMeans": "ckmeans.estimators",
    "PartialStep": "ckmeans._partial",
    "ProductQuantizer": "ckmeans._quantizer",
    "combine": "ckmeans._partial",
    "compare": "ckmeans._elbow",
    "elbow": "ckmeans._elbow",
    "_elbow": "",
    "dask": "",
    "image": "",
    "kmeans_many": "ckmeans._many",
    "partial_step": "ckmeans._partial",
    "plot": "",
    "quantize": "ckmeans.image",
    "silhouette": "ckmeans._silhouette",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ckmeans' has no attribute {name!r}")
    from importlib import import_module

    module = _LAZY[name]
    value = getattr(import_module(module), name) if module else import_module(f"ckmeans.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__) | set(_LAZY))
