"""Many problems in any form become one object, once: a stack, a list, or points with groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ckmeans import _arrays, _inputs, _validate
from ckmeans._inputs import Inputs
from ckmeans._points import ProblemRows


class Problems:
    """Checked problems with their weights.

    Attributes
    ----------
    lengths : ndarray of shape (P,), int64
        Points of each problem.
    first : ndarray of shape (P + 1,), int64
        Where the points of each problem begin among those of all.
    n : int
        Features of all.
    itemsizes : ndarray of shape (P,)
        Bytes of a value of the computing dtype of each problem; 0: it is no array, or prepared.
    weights : ndarray of shape (total,), float64, or None
        Of the points, those of problem i from ``weight_starts[i]`` on, which is -1 if each of them is 1.
    """

    def __init__(self, lengths: np.ndarray, n: int, itemsizes: np.ndarray) -> None:
        self.lengths, self.n, self.itemsizes = lengths, n, itemsizes
        self.first = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self.weights: np.ndarray | None = None
        self.weight_starts = self.first[:-1]

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, i: int) -> str:
        """Return what messages call a problem."""
        return f"problem {i}"

    def inputs(self, i: int) -> Inputs:
        """Return the points of one problem."""
        raise NotImplementedError

    def rows(self) -> ProblemRows:
        """Return the points of all problems that are arrays, for compiled code."""
        raise NotImplementedError

    def arrange(self, labels: np.ndarray) -> Any:
        """Return the labels of all points in the form of the problems."""
        raise NotImplementedError

    def weights_of(self, i: int) -> np.ndarray | None:
        """Return the weights of the points of one problem."""
        if self.weights is None:
            return None
        return self.weights[self.weight_starts[i] : self.weight_starts[i] + self.lengths[i]]

    def _set_weights(self, weights: np.ndarray) -> None:
        """Take the weights of all points, if those of each problem are valid."""
        self.weights = weights
        sums = np.add.reduceat(weights, self.first[:-1])
        if weights.min() >= 0 and sums.min() > 1e-199 and sums.max() < 1e199:
            return
        for i in range(len(self)):
            with _validate.naming(self.name(i)):
                _validate.weights(self.weights_of(i), int(self.lengths[i]))


class Stack(Problems):
    """Problems of as many points each: an array of shape (P, m, n)."""

    def __init__(self, X: np.ndarray, sample_weight: object = None) -> None:
        P, m, n = X.shape
        super().__init__(np.full(P, m, np.int64), n, np.full(P, _arrays.COMPUTING_ITEMSIZE[X.dtype]))
        self.X = X
        if sample_weight is not None:
            self._set_weights(_validate.weights_of_stack(sample_weight, P, m).reshape(-1))

    def share_weights(self, weights: np.ndarray | None) -> None:
        """Let the points of each problem have these weights, (m,), which were checked."""
        self.weights, self.weight_starts = weights, np.zeros(len(self), np.int64)

    def inputs(self, i: int) -> Inputs:
        return Inputs(self.X[i], self.weights_of(i))

    def rows(self) -> ProblemRows:
        starts = np.arange(len(self), dtype=np.int64) * self.X.strides[0]
        return ProblemRows(self.X[0], self.lengths, starts, self.weights, self.weight_starts)

    def arrange(self, labels: np.ndarray) -> np.ndarray:
        return labels.reshape(len(self), -1)


class Separate(Problems):
    """Problems of which each is points in any form."""

    def __init__(self, problems: list[Any], sample_weight: object = None) -> None:
        self.each = _read_each(problems, _validate.weights_of_list(sample_weight, len(problems)))
        lengths = np.array([len(points) for points in self.each], np.int64)
        itemsizes = [
            points.itemsize if points.kind == "array" and not points.persistent else 0 for points in self.each
        ]
        super().__init__(lengths, self.each[0].shape[1], np.array(itemsizes))
        if sample_weight is not None:
            given = [points.weights for points in self.each]
            self.weights = np.concatenate([np.empty(0) if weights is None else weights for weights in given])
            sizes = np.array([0 if weights is None else len(weights) for weights in given])
            self.weight_starts = np.where(sizes > 0, np.cumsum(sizes) - sizes, -1).astype(np.int64)

    def inputs(self, i: int) -> Inputs:
        return self.each[i]

    def rows(self) -> ProblemRows:
        arrays = [
            points.rows if itemsize else None
            for points, itemsize in zip(self.each, self.itemsizes.tolist(), strict=True)
        ]
        return ProblemRows(arrays, self.lengths, None, self.weights, self.weight_starts)

    def arrange(self, labels: np.ndarray) -> list[np.ndarray]:
        return [labels[first:end] for first, end in itertools.pairwise(self.first.tolist())]


def _read_each(problems: list[Any], weights: list[Any]) -> list[Inputs]:
    """Return the points of each problem; all have as many features as the first one."""
    each: list[Inputs] = []
    n: int | None = None
    try:
        for X, sample_weight in zip(problems, weights, strict=True):
            points = _inputs.read(X, sample_weight)
            if n is None:
                n = points.shape[1]
            elif points.shape[1] != n:
                raise ValueError(
                    f"X must have {n} features, as problem 0 has, found shape {tuple(points.shape)}"
                )
            each.append(points)
    except (ValueError, TypeError) as error:
        raise _validate.named(f"problem {len(each)}", error) from None
    return each


class Grouped(Problems):
    """Problems that are the points of each group, in rising order of the groups."""

    def __init__(self, points: Inputs, groups: object) -> None:
        values = _validate.groups(groups, len(points))
        self.points = points
        self.order: np.ndarray | None = None  # of the rows; None: they are in it
        if (values[1:] < values[:-1]).any():
            self.order = np.argsort(values, kind="stable")
            values = values[self.order]
        first = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(values[1:] != values[:-1]) + 1])
        self.values = values[first]
        is_array = points.kind == "array"
        itemsizes = np.full(len(first), points.itemsize if is_array else 0)
        super().__init__(np.diff(first, append=len(points)), points.shape[1], itemsizes)
        if points.weights is not None:
            self._set_weights(points.weights if self.order is None else points.weights[self.order])

    def name(self, i: int) -> str:
        return f"problem {i} (group {self.values[i]})"

    def inputs(self, i: int) -> Inputs:
        which: Any = slice(self.first[i], self.first[i + 1])
        return self.points.part(which if self.order is None else self.order[which], self.weights_of(i))

    def rows(self) -> ProblemRows:
        assert isinstance(self.points.rows, np.ndarray)
        X = self.points.rows if self.order is None else self.points.rows[self.order]
        starts = self.first[:-1] * X.strides[0]
        return ProblemRows(X, self.lengths, starts, self.weights, self.weight_starts)

    def arrange(self, labels: np.ndarray) -> np.ndarray:
        if self.order is None:
            return labels
        arranged = np.empty_like(labels)
        arranged[self.order] = labels
        return arranged


def read(problems: Any, groups: object = None, sample_weight: object = None) -> Problems:
    """Return checked problems with their weights, from any accepted form."""
    if groups is not None:
        return Grouped(_inputs.read(problems, sample_weight), groups)
    of_arrays = isinstance(problems, np.ndarray) and problems.dtype.kind == "O" and problems.ndim == 1
    if of_arrays or (isinstance(problems, Iterable) and not hasattr(problems, "shape")):
        each = list(problems)
        _validate.some_problems(len(each))
        return Separate(each, sample_weight)
    X = None if isinstance(problems, (Inputs, _inputs.Prepared)) else _arrays.read("problems", problems)[0]
    return Stack(_validate.stack(X, problems), sample_weight)
