# Nothing for Python: bounds of distances, carried from step to step.
