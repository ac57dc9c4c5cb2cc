"""Frames of animations and pages of files, alone and with one palette."""

from __future__ import annotations

import io

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from PIL import ImageSequence, features  # noqa: E402

from ckmeans.image import Animation, quantize, quantize_frames  # noqa: E402

DURATIONS = [100, 200, 50, 120]


def moving_disc(alpha=True):
    """Return frames of a disc that moves over an empty ground, or a blue one."""
    y, x = np.mgrid[:40, :60]
    frames = []
    for step in range(4):
        inside = np.hypot(x - 15 - 9 * step, y - 20) < 12
        ground = np.array([0, 0, 0, 0] if alpha else [20, 30, 200, 255])
        disc = np.stack([4 * x, 6 * y, np.full_like(x, 60 * step), np.full_like(x, 255)], axis=2)
        frames.append(np.where(inside[..., None], disc, ground).astype(np.uint8))
    return frames


def stored(frames, format, **options):
    file = io.BytesIO()
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(file, format, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def animation(format, alpha=True):
    if format == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    lossless = {"lossless": True} if format == "WEBP" else {}
    disposal = {"disposal": 2} if format == "GIF" else {}
    return stored(moving_disc(alpha), format, duration=DURATIONS, loop=0, **lossless, **disposal)


def shown(content):
    """Return the frames as they are shown, RGBA, with 0 where nothing is."""
    frames = []
    for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content))):
        pixels = np.array(frame.convert("RGBA"))
        pixels[pixels[..., 3] == 0] = 0
        frames.append(pixels)
    return frames


def opaque(pixels):
    return pixels if pixels.shape[2] == 4 else np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_one_frame_of_several(format):
    content = animation(format) if format != "TIFF" else stored(moving_disc(), "TIFF")
    frames = shown(content)
    for number in (0, 3, 1):
        result = quantize(content, 256, frame=number, seed=0)
        alone = quantize(frames[number], 256, seed=0)
        np.testing.assert_array_equal(result.palette[result.indices], alone.palette[alone.indices])
    with pytest.raises(ValueError, match=r"frame must be less than 4.*found 4"):
        quantize(content, 4, frame=4)
    with pytest.raises(ValueError, match="frame must be at least 0, found -1"):
        quantize(content, 4, frame=-1)


def test_pillow_image_keeps_its_frame():
    image = Image.open(io.BytesIO(animation("GIF")))
    image.seek(1)
    quantize(image, 4, frame=2, seed=0)
    assert image.tell() == 1
    quantize_frames(image, 4, seed=0)
    assert image.tell() == 1


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_frames_share_one_palette(format, alpha, tmp_path):
    content = animation(format, alpha)
    result = quantize_frames(content, 12, seed=0)
    assert isinstance(result, Animation)
    assert len(result.frames) == 4
    assert len(result.palette) == 12
    assert result.durations == DURATIONS
    assert result.plays == 0
    original = shown(content)
    errors = []
    for frame, pixels in zip(result.frames, original, strict=True):
        np.testing.assert_array_equal(frame.palette, result.palette)
        ours = opaque(frame.palette[frame.indices])
        np.testing.assert_array_equal(ours[..., 3], pixels[..., 3])
        errors.append(((ours[..., :3] - pixels[..., :3].astype(float)) ** 2).sum(axis=2).mean())
        assert frame.distortion == pytest.approx(errors[-1], rel=1e-9)
    assert result.distortion == pytest.approx(np.mean(errors), rel=1e-9)
    assert result.report()["frames"] == 4


@pytest.mark.parametrize("suffix", ["png", "gif"])
@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("K", [2, 12, 256])
def test_written_animation_is_lossless(suffix, alpha, K, tmp_path):
    result = quantize_frames(animation("PNG", alpha), K, seed=0)
    result.save(tmp_path / f"out.{suffix}")
    content = (tmp_path / f"out.{suffix}").read_bytes()
    assert content == result.to_bytes(suffix)
    image = Image.open(io.BytesIO(content))
    assert image.info["loop"] == 0
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations == DURATIONS
    for frame, pixels in zip(result.frames, shown(content), strict=True):
        np.testing.assert_array_equal(opaque(frame.palette[frame.indices]), pixels)


def test_animation_shown_once():
    once = stored(moving_disc(), "GIF", duration=DURATIONS, disposal=2)
    result = quantize_frames(once, 8, seed=0)
    assert result.plays == 1
    assert "loop" not in Image.open(io.BytesIO(result.to_bytes("gif"))).info
    assert Image.open(io.BytesIO(result.to_bytes())).info["loop"] == 1


def test_translucent_frames_are_no_gif():
    frames = moving_disc()
    frames[1][5:9, :, 3] = 90
    result = quantize_frames(stored(frames, "PNG", duration=DURATIONS), 8, seed=0)
    with pytest.raises(ValueError, match=r"a GIF holds no translucent pixels: save as \.png"):
        result.to_bytes("gif")
    shown(result.to_bytes())


def test_pages_of_different_sizes():
    pages = [frame[: 40 - 5 * number] for number, frame in enumerate(moving_disc(alpha=False))]
    result = quantize_frames(stored(pages, "TIFF"), 8, seed=0)
    assert result.durations is None
    assert [frame.indices.shape for frame in result.frames] == [page.shape[:2] for page in pages]
    with pytest.raises(ValueError, match=r"these are pages.*save each"):
        result.to_bytes()


def test_frames_with_and_without_alpha():
    frames = moving_disc()
    frames[2][..., 3] = 255
    result = quantize_frames(stored(frames, "PNG", duration=DURATIONS), 8, seed=0)
    assert result.palette.shape[1] == 4
    assert (result.palette[result.frames[2].indices][..., 3] == 255).all()


def test_single_image_as_frames():
    pixels = moving_disc(alpha=False)[0]
    result = quantize_frames(pixels, 8, seed=0)
    alone = quantize(pixels, 8, seed=0)
    np.testing.assert_array_equal(result.frames[0].indices, alone.indices)
    assert result.frames[0].report() == alone.report()


def test_options_of_frames():
    with pytest.raises(TypeError, match="frame is none of the options"):
        quantize_frames(moving_disc()[0], 8, frame=1)
    with pytest.raises(ValueError, match="K must be at most 256"):
        quantize_frames("missing.gif", 257)
    dithered = quantize_frames(animation("GIF"), 8, seed=0, dither=True)
    for frame, pixels in zip(dithered.frames, shown(animation("GIF")), strict=True):
        np.testing.assert_array_equal(frame.palette[frame.indices][..., 3], pixels[..., 3])
