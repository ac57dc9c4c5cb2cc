"""``python -m ckmeans`` is the ``ckmeans`` command."""

import sys

from ckmeans.cli import main

if __name__ == "__main__":
    sys.exit(main())
