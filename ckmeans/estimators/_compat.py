"""scikit-learn's base classes and exceptions if it is installed, else minimal replacements.

Only the estimators import this module: `import ckmeans` must not import scikit-learn.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

__all__ = ["INSTALLED", "Base", "ConvergenceWarning", "NotFittedError", "check_features"]

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
    from sklearn.exceptions import ConvergenceWarning, NotFittedError
    from sklearn.utils.validation import validate_data

    INSTALLED = True
except ImportError:
    INSTALLED = False


if INSTALLED:

    class Base(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
        """Provide parameters, tags, metadata routing and set_output."""

    def check_features(estimator: Any, X: Any, reset: bool) -> None:
        """Store the number and names of the features if `reset`, else compare them with those stored."""
        validate_data(estimator, X, reset=reset, skip_check_array=True)

else:

    class ConvergenceWarning(UserWarning):  # type: ignore[no-redef]
        """Fewer clusters were found than asked for."""

    class NotFittedError(ValueError, AttributeError):  # type: ignore[no-redef]
        """The estimator was used before it was fitted."""

    class Base:  # type: ignore[no-redef]
        """Provide the parameters of __init__ by name."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the parameters by name."""
            names = list(inspect.signature(type(self).__init__).parameters)[1:]
            return {name: getattr(self, name) for name in names}

        def set_params(self, **params: Any) -> Any:
            """Set parameters by name; return the estimator."""
            valid = self.get_params()
            for name, value in params.items():
                if name not in valid:
                    raise ValueError(
                        f"{type(self).__name__} has no parameter {name!r}: it has {sorted(valid)}"
                    )
                setattr(self, name, value)
            return self

        def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
            """Return the names of the columns of `transform`."""
            count = self._n_features_out  # type: ignore[attr-defined]
            return np.asarray([f"{type(self).__name__.lower()}{i}" for i in range(count)], dtype=object)

        def __repr__(self) -> str:
            defaults = inspect.signature(type(self).__init__).parameters
            changed = [f"{k}={v!r}" for k, v in self.get_params().items() if v is not defaults[k].default]
            return f"{type(self).__name__}({', '.join(changed)})"

    def check_features(estimator: Any, X: Any, reset: bool) -> None:
        """Store the number and names of the features if `reset`, else compare the number."""
        count = np.shape(X)[1]
        if reset:
            estimator.n_features_in_ = count
            names = getattr(X, "columns", None)
            if names is not None and all(isinstance(name, str) for name in names):
                estimator.feature_names_in_ = np.asarray(names, dtype=object)
            elif hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
        elif count != estimator.n_features_in_:
            raise ValueError(
                f"X has {count} features, but {type(estimator).__name__} is expecting "
                f"{estimator.n_features_in_} features as input"
            )
