"""k-means for points on a Dask cluster: `kmeans` and `KMeans`; needs the extra ``ckmeans-simd[dask]``."""

try:
    import distributed as _distributed  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f'ckmeans.dask needs dask and distributed ({_error}): pip install "ckmeans-simd[dask]"'
    ) from None

from ckmeans.dask._estimator import KMeans
from ckmeans.dask._kmeans import kmeans

__all__ = ["KMeans", "kmeans"]
