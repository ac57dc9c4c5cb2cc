"""``ckmeans quantize`` and ``ckmeans demo``: reduce the colours of an image."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import logging
import os
import sys
from typing import Any

from ckmeans.cli._options import add_fit_options, add_output_option, fit_options
from ckmeans.cli._picture_names import STANDARD, output_names

__all__ = ["add_parsers"]

ALL = "all"  # frames


def add_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add both subcommands to the command line's parser."""
    return [_add_quantize(commands), _add_demo(commands)]


def _add_quantize(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize",
        help="reduce images to a few colours",
        description="Reduce each image to at most K colours and write it as an indexed PNG: NAME-K.png "
        "beside it, unless -o says where; with --sizes once for each of several K, side by side: OUT-4.png, "
        "OUT-16.png and so on.",
    )
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="any image that Pillow can read; - is standard input, whose result goes to standard output",
    )
    number = parser.add_mutually_exclusive_group()
    number.add_argument("-k", type=int, default=16, metavar="K", help="colours, 1 to 256 (16)")
    number.add_argument("--sizes", metavar="K,K,...", help="several numbers of colours, such as 4,16,64")
    add_output_option(
        parser,
        "OUT.png",
        "where to write: a name, - for standard output, or a folder (ending in /, or for several images); "
        "with --frame all also a name in .gif",
    )
    parser.add_argument(
        "--frame",
        metavar="N",
        help="of an animation, or page of a file, from 0; all: an animated PNG or GIF with one palette, or "
        "each page in a file of its own, OUT-0.png and so on",
    )
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
    from ckmeans.image._png import check_output

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # its errors are raised, too
    sizes = [arguments.k] if arguments.sizes is None else _numbers(arguments.sizes)
    frame = _frame(arguments.frame)
    names = output_names(arguments.photos, arguments.output, sizes, arguments.sizes is not None)
    for name in (name for outputs in names for name in outputs if name != STANDARD):
        check_output(name, (".png", ".gif") if frame == ALL else (".png",))
    if len(arguments.photos) > 1:
        for photo in arguments.photos:
            if photo != STANDARD:
                os.stat(photo)
    options = fit_options(arguments)
    # A single fit of a photo's colours is too short for a progress bar.
    options["progress"] = options["progress"] and options["n_init"] > 1
    options |= {"space": arguments.space, "dither": arguments.dither}
    photos = [
        _reduce_one(photo, sizes, outputs, frame, options)
        for photo, outputs in zip(arguments.photos, names, strict=True)
    ]
    text = _text(photos, arguments.sizes is not None, arguments.json)
    if names != [[STANDARD]]:
        return text
    if arguments.json or not arguments.quiet:  # standard output is taken by the picture
        print(text, file=sys.stderr)
    return ""


def _reduce_one(
    photo: str, sizes: list[int], outputs: list[str], frame: int | str | None, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Write one image in each number of colours and return the figures of each."""
    from ckmeans import image

    source: Any = sys.stdin.buffer if photo == STANDARD else photo
    results: list[Any]
    if frame == ALL:
        source = source.read() if photo == STANDARD else source
        results = [image.quantize_frames(source, K, **options) for K in sizes]
    else:
        results = image.quantize_sizes(source, sizes, frame=frame, **options)
    figures = []
    for K, result, output in zip(sizes, results, outputs, strict=True):
        written = _write(result, output)
        figures.append({"photo": photo, "k": K, "output": written, **result.report()})
    return figures


def _write(result: Any, output: str) -> str | list[str]:
    """Write an image or an animation, or each page of a file, and return the names."""
    if getattr(result, "durations", ()) is None and len(result.frames) == 1:
        result = result.frames[0]
    elif getattr(result, "durations", ()) is None:
        if output == STANDARD:
            raise ValueError("-o - takes one picture, found a file of several pages")
        pages = [f"-{page}".join(os.path.splitext(output)) for page in range(len(result.frames))]
        for frame, name in zip(result.frames, pages, strict=True):
            frame.save(name)
        return pages
    if output == STANDARD:
        sys.stdout.buffer.write(result.to_bytes())
        sys.stdout.buffer.flush()
    else:
        result.save(output)
    return output


def _frame(text: str | None) -> int | str | None:
    if text is None or text == ALL:
        return text
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"--frame must be a number from 0, or all, found {text!r}")
    return int(text)


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
    figures = {"photo": "demo.jpg", **result.report()}
    if arguments.json:
        return json.dumps(figures | {"output": output})
    return f"{_report(figures)}\nThe image before and after, with its palette: {output}"


# ---- messages ------------------------------------------------------------------------------------


def _text(photos: list[list[dict[str, Any]]], several_sizes: bool, as_json: bool) -> str:
    """Return what is printed: for one image as for a list of one, without the list around it."""
    if as_json:
        figures = [{"sizes": sizes} if several_sizes else sizes[0] for sizes in photos]
        return json.dumps(figures[0] if len(figures) == 1 else {"photos": figures})
    if several_sizes and "frames" not in photos[0][0]:
        return "\n\n".join(map(_table, photos))
    return "\n\n".join(_report(figures) for sizes in photos for figures in sizes)


def _report(figures: dict[str, Any]) -> str:
    """Return the figures of an image as a few aligned lines."""
    lines = _animation_lines(figures) if "frames" in figures else _image_lines(figures)
    if "output" in figures:
        lines["written"] = _names(figures["output"])
    return "\n".join(f"{name:<8} {value}" for name, value in lines.items())


def _animation_lines(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "image": f"{figures['photo']}, {figures['frames']} frames",
        "colours": f"{figures['colors_after']:,} for all frames",
        "J": f"{figures['distortion']:.12g} (mean squared distance to the written palette)",
        "PSNR": _psnr(figures),
    }


def _names(output: str | list[str]) -> str:
    names = [output] if isinstance(output, str) else output
    return ", ".join("standard output" if name == STANDARD else name for name in names)


def _image_lines(figures: dict[str, Any]) -> dict[str, str]:
    pixels = figures["width"] * figures["height"]
    palette_bits = figures["colors_after"] * 8 * figures["channels"]
    index_bits = (figures["bits_after"] - palette_bits) // pixels
    bit_sum = f"{figures['colors_after']} x {8 * figures['channels']} + {pixels} x {index_bits}"
    return {
        "image": _image_line(figures),
        "colours": f"{figures['colors_before']:,} -> {figures['colors_after']:,}",
        "J": f"{figures['distortion']:.12g} (mean squared distance to the written palette)",
        "PSNR": _psnr(figures),
        "bits": f"{figures['bits_before']:,} -> {figures['bits_after']:,} = {bit_sum}",
        "bytes": f"{figures['bytes_before']:,} -> {figures['bytes_after']:,} "
        f"(PNG, {figures['bit_depth']} bits per pixel)",
    }


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
