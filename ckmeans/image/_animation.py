"""The result of `quantize_frames`."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ckmeans.image._metadata import png_options
from ckmeans.image._png import write_encoded
from ckmeans.image._quantized import Quantized

if TYPE_CHECKING:
    from PIL import Image

    from ckmeans.image._types import Bytes

__all__ = ["Animation"]

_PERMANENT, _BACKGROUND = 1, 2  # what becomes of a frame of a GIF


@dataclass(frozen=True, eq=False)
class Animation:
    """Result of `quantize_frames`: frames with one palette.

    Attributes
    ----------
    frames : list of Quantized
        The frames or pages in order, each of them whole.
    durations : list of float, or None
        For how many milliseconds each frame is shown; None for the pages of a file that is no animation.
    plays : int
        How often the animation is shown; 0 for ever.
    """

    frames: list[Quantized] = field(repr=False)
    durations: list[float] | None = field(repr=False)
    plays: int

    @property
    def palette(self) -> Bytes:
        """The colours of all frames, (k, 3) or (k, 4), by descending number of pixels."""
        return self.frames[0].palette

    @property
    def distortion(self) -> float:
        """The mean of the frames' distortions over all their pixels."""
        sizes = [frame.indices.size for frame in self.frames]
        errors = [frame.distortion * size for frame, size in zip(self.frames, sizes, strict=True)]
        return math.fsum(errors) / sum(sizes)

    def report(self) -> dict[str, Any]:
        """Return the figures as plain numbers that JSON can hold.

        Returns
        -------
        dict
            ``frames``, ``distortion``, ``psnr`` and ``colors_after`` of all frames together.
        """
        distortion = self.distortion
        return {
            "frames": len(self.frames),
            "distortion": distortion,
            "psnr": 10 * math.log10(255**2 * 3 / distortion) if distortion else None,
            "colors_after": len(self.palette),
        }

    def to_bytes(self, format: str = "png") -> bytes:
        """Return the content of the file that `save` writes.

        Parameters
        ----------
        format : {"png", "gif"}
            The format.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If the frames cannot be an animation, or the format cannot hold them.
        """
        if self.durations is None:
            raise ValueError("these are pages, not frames of an animation: save each of `frames`")
        if len({frame.image.size for frame in self.frames}) > 1:
            raise ValueError("the frames differ in size: save each of `frames`")
        if format not in ("png", "gif"):
            raise ValueError(f"format must be one of 'png', 'gif', found {format!r}")
        return self._png if format == "png" else self._gif

    def save(self, path: str | os.PathLike[str] | BinaryIO, format: str | None = None) -> None:
        """Write the frames as an animated PNG or GIF; on failure an existing file stays as it was.

        Parameters
        ----------
        path : str, path-like or binary file
            Where to write; a name must end in .png or .gif.
        format : {"png", "gif"}, optional
            By default what the name says, and PNG for a binary file.

        Raises
        ------
        ValueError
            If the name ends in something else, or as in `to_bytes`.
        OSError
            If `path` cannot be written.
        """
        if format is None:
            suffix = Path(path).suffix.lower() if isinstance(path, str | os.PathLike) else ""
            format = "gif" if suffix == ".gif" else "png"
        write_encoded(self.to_bytes(format), path, (".png", ".gif"))

    @cached_property
    def _png(self) -> bytes:
        encoded, first = io.BytesIO(), self.frames[0]
        first.image.save(
            encoded,
            "PNG",
            save_all=True,
            append_images=[frame.image for frame in self.frames[1:]],
            duration=self.durations,
            loop=self.plays,
            disposal=0,
            blend=0,
            bits=first.bit_depth,
            **png_options(first.image.info),
        )
        return encoded.getvalue()

    @cached_property
    def _gif(self) -> bytes:
        palette = self.palette
        clear = [row for row, color in enumerate(palette.tolist()) if color[3:] == [0]]
        if palette.shape[1] == 4 and not set(palette[:, 3].tolist()) <= {0, 255}:
            raise ValueError("a GIF holds no translucent pixels: save as .png")
        images = [_without_alpha(frame, clear) for frame in self.frames]
        # A GIF counts the repetitions; without the count it is shown once.
        loop = {} if self.plays == 1 else {"loop": max(0, self.plays - 1)}
        encoded = io.BytesIO()
        images[0].save(
            encoded,
            "GIF",
            save_all=True,
            append_images=images[1:],
            duration=self.durations,
            disposal=_BACKGROUND if clear else _PERMANENT,
            optimize=False,
            **loop,
        )
        return encoded.getvalue()


def _without_alpha(frame: Quantized, clear: list[int]) -> Image.Image:
    """Return the image with a palette of three channels, and the transparent entry by its number."""
    from PIL import Image

    image = Image.fromarray(frame.indices)
    image.putpalette(frame.palette[:, :3].tobytes())
    if clear:
        image.info["transparency"] = clear[0]
    if "Comment" in frame.image.info:
        image.info["comment"] = frame.image.info["Comment"].encode()
    return image
