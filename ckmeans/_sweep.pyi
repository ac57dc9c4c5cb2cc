# Nothing for Python: one pass over the rows, shared out over the threads.
