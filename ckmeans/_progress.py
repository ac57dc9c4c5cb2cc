"""The progress bar of `progress=True`, drawn by tqdm."""

from __future__ import annotations

from collections.abc import Callable


class ProgressBar:
    """Show how many of `total` units are done; show nothing unless `enabled`.

    As a context manager it gives the callback that takes the number of units done, None without a bar.
    """

    def __init__(self, enabled: bool, total: int, unit: str) -> None:
        self.bar = None
        if enabled:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                raise ImportError('progress=True needs tqdm: pip install "ckmeans-simd[progress]"') from None
            self.bar = tqdm(total=total, unit=unit)

    def __enter__(self) -> Callable[[int], None] | None:
        return None if self.bar is None else self.update

    def update(self, done: int) -> None:
        """Move the bar to `done` units."""
        assert self.bar is not None
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
