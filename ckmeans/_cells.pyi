# Nothing for Python: whole boxes of points at once.
