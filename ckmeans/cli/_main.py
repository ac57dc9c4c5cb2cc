"""The entry point of the ``ckmeans`` command; each subcommand is a function that returns its output.

A user error prints one line on stderr, starting with ``ckmeans: ``, and gives exit status 2. Each
subcommand imports what it needs when it runs, so that ``--help`` is quick and ``--version`` works
without Pillow.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]

OK, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141

# User errors raise one of these exceptions, whose message is the line that is printed.
_USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the command's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 2 for a user error, 130 after Ctrl-C, 141 for a closed output pipe.
    """
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            # Pillow warns about unusual files that it can read, and about very large ones.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            text = _run(arguments)
        _print(text)
    except SystemExit as stop:  # --help and --version
        with contextlib.suppress(OSError):  # a closed pipe: argparse ignores it too
            _flush()
        return stop.code if isinstance(stop.code, int) else OK
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return BROKEN_PIPE
    except _USER_ERRORS as error:
        return _fail(_explain(error), USER_ERROR)
    return OK


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are exceptions with a message of one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> _Parser:
    from ckmeans import __version__
    from ckmeans.cli import _assign, _cluster, _elbow, _quantize
    from ckmeans.cli._options import add_report_options

    parser = _Parser(prog="ckmeans", description="Exact and fast k-means.")
    parser.add_argument("--version", action="version", version=f"ckmeans {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    quantize, demo = _quantize.add_parsers(commands)
    tables = [module.add_parser(commands) for module in (_cluster, _elbow, _assign)]
    config = commands.add_parser(
        "config",
        help="print how the package was built and what it uses",
        description="Print how the package was built and what it uses.",
    )
    config.set_defaults(run=_config)
    for command in (quantize, demo, *tables, config):
        add_report_options(command)
    return parser


def _run(arguments: argparse.Namespace) -> str:
    """Run the subcommand and return the text to print."""
    interactive = sys.stderr is not None and sys.stderr.isatty() and not arguments.quiet
    arguments.progress = interactive and importlib.util.find_spec("tqdm") is not None
    text: str = arguments.run(arguments)
    return text if arguments.json or not arguments.quiet else ""


def _config(arguments: argparse.Namespace) -> str:
    import ckmeans

    config = ckmeans.show_config()
    return json.dumps(config, default=str) if arguments.json else str(config)


# ---- messages ------------------------------------------------------------------------------------


def _explain(error: BaseException) -> str:
    """Return the message of an exception in terms of the command's arguments."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(message: str, status: int) -> int:
    """Print the message on stderr as one line and return the exit status."""
    print("ckmeans:", " ".join(message.split()), file=sys.stderr)
    return status


def _print(text: str) -> None:
    """Print the text on stdout, unless it is empty or there is no stdout."""
    if not text or sys.stdout is None:
        return
    # File names may hold characters that the encoding lacks: print them as escapes.
    encoding = sys.stdout.encoding or "utf-8"
    _flush(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _flush(text: str = "") -> None:
    """Write the text and flush the buffer."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # Discard what is left in the buffer, or Python reports the same error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
