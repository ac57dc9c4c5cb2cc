"""k-means estimators with scikit-learn's interface."""

from ckmeans.estimators.kmeans import KMeans
from ckmeans.estimators.minibatch import MiniBatchKMeans

__all__ = ["KMeans", "MiniBatchKMeans"]
