# Nothing for Python: equal points made one.
