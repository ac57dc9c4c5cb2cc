# Nothing for Python: points and centroids on few directions.
