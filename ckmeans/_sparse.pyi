# Nothing for Python: sparse rows against dense centroids.
