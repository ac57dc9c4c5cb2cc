"""What an image file says beside its pixels: collected from Pillow's image, and put into a PNG."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["collect", "png_options"]

_KEPT = ("gamma", "srgb", "chromaticity")
_EXIF_TAG = 0x8769  # of the directory with what the camera says
_RAW_EXIF = "Raw profile type exif"
_XMP = "XML:com.adobe.xmp"
_RGB_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}
_MOST_TEXT = 79  # bytes of a keyword in a PNG


def collect(image: Image.Image, upright: Image.Image) -> dict[str, Any]:
    """Return what a PNG has a place for, with the keys of Pillow's `info`.

    Parameters
    ----------
    image : PIL.Image.Image
        As it was read.
    upright : PIL.Image.Image
        The same without the orientation in its EXIF data.

    Returns
    -------
    dict
        ICC profile, resolution, gamma, sRGB intent, chromaticities, EXIF data and texts, if there.
    """
    info = {key: image.info[key] for key in _KEPT if key in image.info}
    if all(0 < number < 1e6 for number in image.info.get("dpi", [0])):
        info["dpi"] = tuple(map(float, image.info["dpi"]))
    # A profile describes the values that it was made for: of RGB, and not of what became RGB here.
    profile = image.info.get("icc_profile")
    if profile and profile[16:20] == b"RGB " and image.mode in _RGB_MODES:
        info["icc_profile"] = profile
    if "exif" in image.info or _RAW_EXIF in image.info:
        # What a camera wrote may be nothing that Pillow can write: no reason to refuse the image.
        with contextlib.suppress(Exception):
            exif = upright.getexif()
            if len(exif) or exif.get_ifd(_EXIF_TAG):
                info["exif"] = exif.tobytes()
    texts = {key: upright.info.get(key, text) for key, text in getattr(image, "text", {}).items()}
    comment = image.info.get("comment")
    if comment:
        texts.setdefault("Comment", _decoded(comment))
    xmp = upright.info.get("xmp")
    if xmp:
        texts.setdefault(_XMP, _decoded(xmp))
    texts.pop(_RAW_EXIF, None)
    return info | texts


def _decoded(text: bytes | str) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return text.rstrip(b"\0").decode("latin-1")


def png_options(info: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the keyword arguments of Pillow's `save` that write what `collect` returned."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    if "gamma" in info:
        chunks.add(b"gAMA", _hundred_thousandths(info["gamma"]))
    if "chromaticity" in info:
        chunks.add(b"cHRM", b"".join(map(_hundred_thousandths, info["chromaticity"])))
    if "srgb" in info and "icc_profile" not in info:
        chunks.add(b"sRGB", bytes([info["srgb"]]))
    for key, text in info.items():
        if isinstance(text, str) and 0 < len(key.encode("latin-1", "ignore")) == len(key) <= _MOST_TEXT:
            if getattr(text, "lang", None) is not None or key == _XMP:  # international: UTF-8
                chunks.add_itxt(key, text, getattr(text, "lang", "") or "", getattr(text, "tkey", "") or "")
            else:
                chunks.add_text(key, text)
    return {"pnginfo": chunks} | {key: info[key] for key in ("dpi", "exif") if key in info}


def _hundred_thousandths(value: float) -> bytes:
    return round(100_000 * value).to_bytes(4, "big")
