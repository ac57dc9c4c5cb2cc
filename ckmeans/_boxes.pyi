# Nothing for Python: the points in a spatial order.
