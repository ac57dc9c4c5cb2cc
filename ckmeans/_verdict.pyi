# Nothing for Python: whether screening pays.
