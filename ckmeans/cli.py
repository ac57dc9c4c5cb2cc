"""The ``ckmeans`` command: one function a subcommand, each returning the lines it has to say.

Whatever a user can do wrong is one line on stderr, starting with ``ckmeans: ``, and exit status 2.
Pillow and the rest of the package are imported by the subcommand that needs them, so that
``--help`` is quick and ``--version`` works without Pillow.
"""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["main"]

OK, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141

# For every user error a plain exception of these kinds is raised; its message is the one line.
_USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the command's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 2 for a user error, 130 after Ctrl-C, 141 if nobody reads the output.
    """
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            # Pillow warns of odd files that it reads all the same, and of very large ones.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            text = arguments.run(arguments)
        _say(text)
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else OK
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return BROKEN_PIPE
    except _USER_ERRORS as error:
        return _fail(_explain(error), USER_ERROR)
    return OK


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> _Parser:
    from ckmeans import __version__, cli_cluster

    parser = _Parser(prog="ckmeans", description="Exact and fast k-means.")
    parser.add_argument("--version", action="version", version=f"ckmeans {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    quantize = commands.add_parser(
        "quantize",
        help="reduce a picture to a few colours",
        description="Reduce a picture to at most K colours and write it as an indexed PNG.",
    )
    quantize.add_argument("photo", metavar="PHOTO", help="any picture that Pillow reads")
    quantize.add_argument("-k", type=int, default=16, metavar="K", help="colours, 1 to 256 (16)")
    quantize.add_argument("-o", "--output", required=True, metavar="OUT.png", help="where to write")
    quantize.add_argument("--seed", type=int, default=0, metavar="N", help="of the start (0)")
    quantize.add_argument("--n-init", type=int, default=1, metavar="N", help="restarts (1)")
    quantize.add_argument("--threads", type=int, metavar="N", help="threads (as many as allowed)")
    quantize.add_argument("-q", "--quiet", action="store_true", help="no report, no progress")
    quantize.set_defaults(run=_quantize)

    demo = commands.add_parser(
        "demo",
        help="reduce a photo that comes with the package to 16 colours",
        description="Reduce a photo that comes with the package to 16 colours and draw it before "
        "and after, with the palette below.",
    )
    demo.add_argument(
        "-o", "--output", default="ckmeans-demo.png", metavar="FILE.png", help="(ckmeans-demo.png)"
    )
    demo.set_defaults(run=_demo)

    config = commands.add_parser("config", help="print how the package was built and what it uses")
    config.set_defaults(run=_config)

    cluster = cli_cluster.add_parser(commands)

    for command in (quantize, cluster, demo, config):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


# ---------------------------------------------------------------- subcommands


def _quantize(arguments: argparse.Namespace) -> str:
    from ckmeans import image

    image.check_output(arguments.output)
    result = image.quantize(
        arguments.photo,
        arguments.k,
        seed=arguments.seed,
        n_init=arguments.n_init,
        n_threads=arguments.threads,
        progress=_wants_progress(arguments),
    )
    result.save(arguments.output)
    figures = {"photo": arguments.photo, "output": arguments.output, **result.report()}
    if arguments.json:
        return json.dumps(figures)
    return "" if arguments.quiet else _report(figures)


def _wants_progress(arguments: argparse.Namespace) -> bool:
    """One run over a photo's colours is too short for a bar; many are shown to whoever watches."""
    watched = sys.stderr.isatty() and not arguments.quiet
    return watched and arguments.n_init > 1 and importlib.util.find_spec("tqdm") is not None


def _demo(arguments: argparse.Namespace) -> str:
    from ckmeans import image

    image.check_output(arguments.output)
    shipped = importlib.resources.files("ckmeans").joinpath("data", "demo.jpg")
    with importlib.resources.as_file(shipped) as photo:
        result = image.quantize(photo, 16, seed=0)
        image.save_png(image.before_after(photo, result), arguments.output)
    output = os.path.abspath(arguments.output)
    figures = {"photo": "demo.jpg", "output": output, **result.report()}
    if arguments.json:
        return json.dumps(figures)
    return f"{_report(figures)}\nThe picture before and after, with its palette: {output}"


def _config(arguments: argparse.Namespace) -> str:
    import ckmeans

    config = ckmeans.show_config()
    return json.dumps(config, default=str) if arguments.json else str(config)


def _report(figures: dict[str, Any]) -> str:
    """Say in a few aligned lines what `Quantized.report` counted."""
    pixels = figures["width"] * figures["height"]
    palette_bits = figures["colors_after"] * 8 * figures["channels"]
    index_bits = (figures["bits_after"] - palette_bits) // pixels
    psnr = "nothing lost" if figures["psnr"] is None else f"{figures['psnr']:.2f} dB"
    sums = f"{figures['colors_after']} x {8 * figures['channels']} + {pixels} x {index_bits}"
    lines = {
        "picture": f"{figures['photo']}, {figures['width']} x {figures['height']} pixels",
        "colours": f"{figures['colors_before']:,} -> {figures['colors_after']:,}",
        "J": f"{figures['distortion']:.12g} (mean squared distance to the written palette)",
        "PSNR": psnr,
        "bits": f"{figures['bits_before']:,} -> {figures['bits_after']:,} = {sums}",
        "bytes": f"{figures['bytes_before']:,} -> {figures['bytes_after']:,} "
        f"(PNG, {figures['bit_depth']} bits a pixel)",
    }
    return "\n".join(f"{name:<8} {value}" for name, value in lines.items())


# ---------------------------------------------------------------- words


def _explain(error: BaseException) -> str:
    """Put an exception into words for somebody who never saw the code."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(message: str, status: int) -> int:
    """Say one line on stderr, whatever the message holds, and return the exit status."""
    print("ckmeans:", " ".join(message.split()), file=sys.stderr)
    return status


def _say(text: str) -> None:
    """Print the text, if there is any and somewhere to print it."""
    if not text or sys.stdout is None:
        return
    # File names may hold what the encoding lacks: spell that out.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        # What is still in the buffer must go nowhere, or Python complains again as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
