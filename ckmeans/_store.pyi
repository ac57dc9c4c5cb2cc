from typing_extensions import disjoint_base

from ckmeans._points import Points

@disjoint_base
class Store(Points):
    lasting: bool
    @property
    def distinct(self) -> int | None: ...
    @property
    def bytes(self) -> int: ...
