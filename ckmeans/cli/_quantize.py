"""``ckmeans quantize`` and ``ckmeans demo``: reduce the colours of an image."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
from typing import Any

from ckmeans.cli._options import add_fit_options, add_output_option, fit_options

__all__ = ["add_parsers"]


def add_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add both subcommands to the command line's parser."""
    return [_add_quantize(commands), _add_demo(commands)]


def _add_quantize(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize",
        help="reduce an image to a few colours",
        description="Reduce an image to at most K colours and write it as an indexed PNG; with --sizes "
        "once for each of several K, side by side: OUT-4.png, OUT-16.png and so on.",
    )
    parser.add_argument("photo", metavar="PHOTO", help="any image that Pillow can read")
    number = parser.add_mutually_exclusive_group()
    number.add_argument("-k", type=int, default=16, metavar="K", help="colours, 1 to 256 (16)")
    number.add_argument("--sizes", metavar="K,K,...", help="several numbers of colours, such as 4,16,64")
    add_output_option(parser, "OUT.png", "where to write", required=True)
    parser.add_argument(
        "--space",
        choices=("rgb", "oklab"),
        default="rgb",
        help="measure distances in RGB, or in OKLab as they are perceived (rgb)",
    )
    parser.add_argument("--dither", action="store_true", help="diffuse the error: noise instead of bands")
    add_fit_options(parser, n_init=1)
    parser.set_defaults(run=_quantize)
    return parser


def _add_demo(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="reduce a photo that comes with the package to 16 colours",
        description="Reduce a photo that comes with the package to 16 colours and draw it before "
        "and after, with the palette below.",
    )
    add_output_option(parser, "OUT.png", "where to draw (ckmeans-demo.png)", default="ckmeans-demo.png")
    parser.set_defaults(run=_demo)
    return parser


def _quantize(arguments: argparse.Namespace) -> str:
    from ckmeans import image
    from ckmeans.image._png import check_output

    sizes = [arguments.k] if arguments.sizes is None else _numbers(arguments.sizes)
    outputs = [arguments.output]
    if arguments.sizes is not None:
        outputs = [f"-{K}".join(os.path.splitext(arguments.output)) for K in sizes]
    for output in outputs:
        check_output(output)
    options = fit_options(arguments)
    # A single fit of a photo's colours is too short for a progress bar.
    options["progress"] = options["progress"] and options["n_init"] > 1
    results = image.quantize_sizes(
        arguments.photo, sizes, space=arguments.space, dither=arguments.dither, **options
    )
    for result, output in zip(results, outputs, strict=True):
        result.save(output)
    figures = [
        {"photo": arguments.photo, "k": K, "output": output, **result.report()}
        for K, output, result in zip(sizes, outputs, results, strict=True)
    ]
    if arguments.sizes is not None:
        return json.dumps({"sizes": figures}) if arguments.json else _table(figures)
    return json.dumps(figures[0]) if arguments.json else _report(figures[0])


def _numbers(text: str) -> list[int]:
    """Return the distinct numbers of a list such as 4,16,64, in order."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise ValueError(f"--sizes must be numbers of colours, such as 4,16,64, found {text!r}")
    return list(dict.fromkeys(int(word) for word in words))


def _demo(arguments: argparse.Namespace) -> str:
    from ckmeans import image
    from ckmeans.image._png import check_output, save_png

    check_output(arguments.output)
    demo_photo = importlib.resources.files("ckmeans").joinpath("data", "demo.jpg")
    with importlib.resources.as_file(demo_photo) as photo:
        result = image.quantize(photo, 16, seed=0)
        save_png(image.before_after(photo, result), arguments.output)
    output = os.path.abspath(arguments.output)
    figures = {"photo": "demo.jpg", "output": output, **result.report()}
    if arguments.json:
        return json.dumps(figures)
    return f"{_report(figures)}\nThe image before and after, with its palette: {output}"


# ---- messages ------------------------------------------------------------------------------------


def _report(figures: dict[str, Any]) -> str:
    """Return the figures of `Quantized.report` as a few aligned lines."""
    pixels = figures["width"] * figures["height"]
    palette_bits = figures["colors_after"] * 8 * figures["channels"]
    index_bits = (figures["bits_after"] - palette_bits) // pixels
    bit_sum = f"{figures['colors_after']} x {8 * figures['channels']} + {pixels} x {index_bits}"
    lines = {
        "image": _image_line(figures),
        "colours": f"{figures['colors_before']:,} -> {figures['colors_after']:,}",
        "J": f"{figures['distortion']:.12g} (mean squared distance to the written palette)",
        "PSNR": _psnr(figures),
        "bits": f"{figures['bits_before']:,} -> {figures['bits_after']:,} = {bit_sum}",
        "bytes": f"{figures['bytes_before']:,} -> {figures['bytes_after']:,} "
        f"(PNG, {figures['bit_depth']} bits per pixel)",
    }
    return "\n".join(f"{name:<8} {value}" for name, value in lines.items())


def _table(sizes: list[dict[str, Any]]) -> str:
    """Return a line for the image and one for each size."""
    first = sizes[0]
    lines = [
        f"image    {_image_line(first)}, {first['colors_before']:,} colours, {first['bytes_before']:,} bytes",
        f"{'colours':>7} {'J':>12} {'PSNR':>12} {'bytes':>12}  written to",
    ]
    for size in sizes:
        numbers = f"{size['colors_after']:>7} {size['distortion']:>12.6g} {_psnr(size):>12}"
        lines.append(f"{numbers} {size['bytes_after']:>12,}  {size['output']}")
    return "\n".join(lines)


def _image_line(figures: dict[str, Any]) -> str:
    return f"{figures['photo']}, {figures['width']} x {figures['height']} pixels"


def _psnr(figures: dict[str, Any]) -> str:
    return "nothing lost" if figures["psnr"] is None else f"{figures['psnr']:.2f} dB"
