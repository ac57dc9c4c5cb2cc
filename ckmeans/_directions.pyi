# Nothing for Python: directions for a projection.
