# Nothing for Python: a provable lower bound first.
