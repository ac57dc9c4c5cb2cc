"""`ckmeans.quantize`: the written file is read back, and the report is recomputed from it."""

from __future__ import annotations

import importlib.resources
import io
import json
import math
import os
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cases
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from PIL import ImageCms, ImageOps, features  # noqa: E402

import ckmeans  # noqa: E402
from ckmeans.image import _colors, _oklab, before_after, quantize, quantize_sizes  # noqa: E402
from ckmeans.image._png import check_output  # noqa: E402
from ckmeans.image._read import read  # noqa: E402

PHOTOS = cases.DATA / "photos"


def make_rgba(height=40, width=60, seed=0):
    """Return a smooth image with noise and a soft transparent disc: thousands of colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        255 * x / width,
        255 * y / height,
        128 + 100 * np.sin(x / 7.0 + y / 5.0),
        8.0 * np.hypot(x - width / 2, y - height / 2),
    ]
    noisy = np.stack(planes, axis=2) + rng.normal(0, 6, (height, width, 4))
    return noisy.clip(0, 255).astype(np.uint8)


def make_rgb(height=40, width=60, seed=0):
    return np.ascontiguousarray(make_rgba(height, width, seed)[..., :3])


def as_array(image):
    """Return an image's pixels: RGBA if it has transparency, else RGB."""
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def squared_error(a, b):
    """Return the mean over the pixels of the squared distance over red, green and blue; with alpha the
    mean of that on black and on white."""
    if a.shape[2] == 3:
        return float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).sum(axis=2).mean())
    return np.mean([squared_error(on_ground(a, ground), on_ground(b, ground)) for ground in (0, 255)])


def on_ground(rgba, ground):
    opacity = rgba[..., 3:] / 255
    return rgba[..., :3] * opacity + ground * (1 - opacity)


def png_header(path):
    """Return (bit depth, colour type) from a PNG's first chunk."""
    head = Path(path).read_bytes()[:26]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert head[12:16] == b"IHDR"
    return struct.unpack(">BB", head[24:26])


def demo_photo():
    return importlib.resources.files("ckmeans").joinpath("data", "demo.jpg").read_bytes()


def check_written(result, original, path):
    """Save, read back with Pillow alone, and compare pixels, J, PSNR and sizes with the report."""
    result.save(path)
    assert path.stat().st_size == result.bytes_after
    assert png_header(path) == (result.bit_depth, 3)
    with Image.open(path) as written:
        assert written.mode == "P"
        assert (written.height, written.width) == result.indices.shape
        np.testing.assert_array_equal(np.asarray(written), result.indices)
        pixels = np.asarray(written.convert("RGB" if original.shape[2] == 3 else "RGBA"))
    channels = result.palette.shape[1]
    np.testing.assert_array_equal(pixels[..., :channels], result.palette[result.indices])
    recomputed = squared_error(pixels, original)
    assert result.distortion == pytest.approx(recomputed, rel=1e-9, abs=1e-12)
    if recomputed:
        expected = 10 * math.log10(255**2 / (recomputed / 3))
        assert result.psnr == pytest.approx(expected, rel=1e-9)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) == result.colors_after
    if channels == 4 and result.colors_after > 1:
        for alpha in (0, 255):
            assert (pixels[original[..., 3] == alpha, 3] == alpha).all()


# ---------------------------------------------------------------- input


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode(mode, tmp_path):
    rgba = Image.fromarray(make_rgba())
    with_alpha = mode in ("LA", "PA", "RGBA", "RGBa")
    if mode == "RGBA":
        image = rgba
    elif mode in ("LA", "RGBa"):
        image = rgba.convert(mode)
    elif mode == "PA":
        image = rgba.convert("RGB").convert("P").convert("PA")
        image.putalpha(rgba.getchannel("A"))
    else:
        image = rgba.convert("RGB").convert(mode)
    assert image.mode == mode
    result = quantize(image, 7, seed=0)
    check_written(result, as_array(image), tmp_path / "out.png")
    assert result.palette.shape == (2 if mode == "1" else 7, 4 if with_alpha else 3)


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        ("png", "RGB", {}),
        ("png", "RGBA", {}),
        ("png", "LA", {}),
        ("png", "1", {}),
        ("png", "L", {"transparency": 0}),
        ("png", "P", {"transparency": 3}),
        ("png", "P", {"transparency": bytes(range(0, 250, 10))}),
        ("png", "RGB", {"transparency": (0, 0, 0)}),
        ("gif", "P", {"transparency": 3}),
        ("jpg", "L", {}),
        ("jpg", "CMYK", {}),
        ("bmp", "RGB", {}),
        ("tiff", "CMYK", {}),
        ("ppm", "RGB", {}),
        ("webp", "RGBA", {"lossless": True}),
    ],
)
def test_every_file(suffix, mode, options, tmp_path):
    if suffix == "webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    source = Image.fromarray(make_rgba())
    source = source.convert(mode) if mode in ("RGBA", "LA") else source.convert("RGB").convert(mode)
    path = tmp_path / f"in.{suffix}"
    source.save(path, **options)
    result = quantize(path, 9, seed=0)
    with Image.open(path) as image:
        original = as_array(image)
    check_written(result, original, tmp_path / "out.png")
    assert result.bytes_before == path.stat().st_size
    transparent = original.shape[2] == 4 and original[..., 3].min() < 255
    assert result.palette.shape[1] == (4 if transparent else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "phone.jpg"
    Image.fromarray(make_rgb(24, 40)).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = as_array(ImageOps.exif_transpose(image))
    for source in (path, Image.open(path)):
        result = quantize(source, 8, seed=0)
        assert result.indices.shape == ((40, 24) if orientation > 4 else (24, 40))
        check_written(result, upright, tmp_path / "out.png")


def test_pillow_image_is_unchanged():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    Image.fromarray(make_rgb()).save(stored, "PNG", exif=exif)
    image = Image.open(stored)
    quantize(image, 4, seed=0)
    assert image.size == (60, 40)
    assert image.mode == "RGB"
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("shape", ["grey", "rgb", "rgba"])
@pytest.mark.parametrize("layout", ["C", "Fortran", "strided", "reversed", "read-only"])
def test_arrays(shape, layout, tmp_path):
    whole = make_rgba(80, 120)
    whole = {"grey": whole[..., 0], "rgb": whole[..., :3], "rgba": whole}[shape]
    array = {
        "C": np.ascontiguousarray(whole),
        "Fortran": np.asfortranarray(whole),
        "strided": whole[::2, 1::3],
        "reversed": whole[::-1, ::-1],
        "read-only": whole.copy(),
    }[layout]
    array.flags.writeable = layout != "read-only"
    result = quantize(array, 6, seed=0)
    original = np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array
    check_written(result, original, tmp_path / "out.png")
    assert result.bytes_before == array.size


def test_path_string_pillow_and_array_agree(tmp_path):
    array = make_rgb()
    path = tmp_path / "in.png"
    Image.fromarray(array).save(path)
    results = [quantize(source, 12, seed=3) for source in (path, str(path), Image.open(path), array)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.indices, results[0].indices)
        np.testing.assert_array_equal(result.palette, results[0].palette)


def test_mpo_reads_the_first_frame(tmp_path):
    path = tmp_path / "phone.mpo"
    first = Image.fromarray(make_rgb())
    first.save(path, save_all=True, append_images=[first.resize((30, 20))])
    with Image.open(path) as image:
        assert image.format == "MPO"
        assert image.n_frames == 2
        original = as_array(image)
    check_written(quantize(path, 8, seed=0), original, tmp_path / "out.png")


def test_icc_profile_survives_unconverted_modes(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = Image.fromarray(make_rgb())
    rgb.save(tmp_path / "in.png", icc_profile=profile)
    quantize(tmp_path / "in.png", 4, seed=0).save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == profile
    cmyk = rgb.convert("CMYK")
    cmyk.info["icc_profile"] = profile
    assert "icc_profile" not in quantize(cmyk, 4, seed=0).image.info


# ---------------------------------------------------------------- output


@pytest.mark.parametrize(
    ("K", "bits"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (200, 8), (256, 8)],
)
@pytest.mark.parametrize("make", [make_rgb, make_rgba])
def test_bit_depth(K, bits, make, tmp_path):
    array = make()
    result = quantize(array, K, seed=0)
    assert result.colors_after == len(result.palette) == K
    assert result.bit_depth == bits
    check_written(result, array, tmp_path / "out.png")


def test_nearest_colours_and_sorted_palette():
    array = make_rgb()
    result = quantize(array, 16, seed=0)
    distances = (array[:, :, None].astype(int) - result.palette.astype(int)) ** 2
    assert result.distortion == pytest.approx(distances.sum(axis=3).min(axis=2).mean(), rel=1e-12)
    counts = np.bincount(result.indices.ravel(), minlength=16)
    order = [(-count, *color) for count, color in zip(counts, result.palette, strict=True)]
    assert order == sorted(order)


def test_palette_ties_sort_by_value():
    sorted_colors = [[0, 255, 0], [9, 9, 9], [200, 0, 0], [200, 0, 1]]
    colors = np.array(sorted_colors, dtype=np.uint8)[[2, 0, 3, 1]]
    result = quantize(np.stack([colors, colors[::-1]]), 8)
    assert result.palette.tolist() == sorted_colors


def test_transparency_is_kept(tmp_path):
    array = make_rgba()
    array[:10] = (255, 0, 0, 0)
    result = quantize(array, 8, seed=0)
    check_written(result, array, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.has_transparency_data
        np.testing.assert_array_less(np.asarray(written.convert("RGBA"))[:10, :, 3], 30)


def test_opaque_alpha_is_dropped(tmp_path):
    array = make_rgba()
    array[..., 3] = 255
    result = quantize(array, 8, seed=0)
    assert result.palette.shape == (8, 3)
    check_written(result, array, tmp_path / "out.png")


@pytest.mark.parametrize("K", [5, 6, 256])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_at_most_k_colours_is_lossless(K, channels, tmp_path):
    rng = np.random.default_rng(1)
    colors = rng.permutation(256).astype(np.uint8)[: 5 * channels].reshape(5, channels)
    array = colors[np.arange(600).reshape(20, 30) % 5]
    array = array[..., 0] if channels == 1 else array
    result = quantize(array, K)
    assert (result.distortion, result.psnr, result.colors_after) == (0.0, math.inf, 5)
    original = np.repeat(array[..., None], 3, axis=2) if channels == 1 else array
    check_written(result, original, tmp_path / "out.png")


@pytest.mark.parametrize("K", [250, 256])
def test_every_palette_entry_is_used(K, tmp_path):
    """Colours so close that rounded centroids coincide: all K palette entries are used."""
    cube = np.stack(np.meshgrid(*[np.arange(7)] * 3), axis=-1).reshape(-1, 3)
    counts = np.random.default_rng(0).integers(1, 400, len(cube))
    pixels = np.repeat(cube + 100, counts, axis=0).astype(np.uint8)
    array = pixels[: len(pixels) // 50 * 50].reshape(50, -1, 3)
    result = quantize(array, K, seed=0)
    assert result.colors_after == K
    check_written(result, array, tmp_path / "out.png")


def test_report_values():
    array = make_rgb(128, 128)
    result = quantize(array, 16, seed=0)
    assert result.colors_before == len(np.unique(array.reshape(-1, 3), axis=0))
    assert result.bits_before == 128 * 128 * 24 == 393_216
    assert result.bits_after == 16 * 24 + 128 * 128 * 4 == 65_920
    report = json.loads(json.dumps(result.report(), allow_nan=False))
    assert report["distortion"] == result.distortion
    assert (report["width"], report["height"], report["channels"]) == (128, 128, 3)
    alpha = quantize(make_rgba(16, 16), 5, seed=0)
    assert (alpha.bits_before, alpha.bits_after) == (256 * 32, 5 * 32 + 256 * 3)


def test_lossless_report_is_json():
    report = quantize(np.zeros((3, 4), np.uint8), 2).report()
    assert report["psnr"] is None
    assert report["distortion"] == 0
    assert (report["colors_after"], report["bits_after"]) == (1, 24)
    json.dumps(report, allow_nan=False)


def test_same_seed_gives_same_file(tmp_path):
    files = []
    for n_threads in (1, 2, 3):
        result = quantize(make_rgb(), 16, seed=5, n_threads=n_threads)
        result.save(tmp_path / "out.png")
        files.append((tmp_path / "out.png").read_bytes())
    assert files[0] == files[1] == files[2]


def test_colour_table_equals_sorting(monkeypatch):
    """A table of colours and many strips give the counts and labels of sorting and one strip."""
    array = make_rgb(50, 70)
    expected = quantize(array, 16, seed=0)
    monkeypatch.setattr(_colors, "STRIP_PIXELS", 3 * 70 + 1)
    strips = quantize(array, 16, seed=0)
    monkeypatch.setattr(_colors, "TABLE_PIXELS", 1)
    table = quantize(array, 16, seed=0)
    for result in (strips, table):
        np.testing.assert_array_equal(result.indices, expected.indices)
        np.testing.assert_array_equal(result.palette, expected.palette)
        assert result.report() == expected.report()


def by_pillow(image, K):
    """Yield an image in K colours by each method of Pillow."""
    methods = [Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE, Image.Quantize.FASTOCTREE]
    if features.check("libimagequant"):
        methods.append(Image.Quantize.LIBIMAGEQUANT)
    return [image.quantize(K, method=method, dither=Image.Dither.NONE) for method in methods]


@pytest.mark.parametrize("K", [4, 16, 64, 256])
def test_distortion_is_below_pillows(K):
    with Image.open(io.BytesIO(demo_photo())) as image:
        image.load()
        original = as_array(image)
    ours = quantize(original, K, seed=0).distortion
    for theirs in by_pillow(image, K):
        assert ours < squared_error(as_array(theirs), original)


@pytest.mark.parametrize("name", ["china.jpg", "kodim05.png"])
def test_distortion_of_photos_is_below_pillows(name):
    """Photos are reduced in size, to save time."""
    if not (PHOTOS / name).exists():
        pytest.skip(cases.NO_DATA)
    with Image.open(PHOTOS / name) as whole:
        image = whole.convert("RGB").resize((whole.width // 2, whole.height // 2))
    original = np.asarray(image)
    for K in (4, 16, 64, 256):
        ours = quantize(original, K, seed=0).distortion
        for theirs in by_pillow(image, K):
            assert ours < squared_error(as_array(theirs), original), K


# ---------------------------------------------------------------- OKLab, dithering, several sizes


@pytest.mark.parametrize(
    ("color", "lab"),
    [
        # White, and what B. Ottosson's matrices give for the corners of sRGB.
        ((255, 255, 255), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 255, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 255), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_of_known_colours(color, lab):
    np.testing.assert_allclose(_oklab.from_rgb(np.array([color], np.uint8))[0], lab, atol=2e-5)


def test_oklab_and_back():
    edges = [0, 1, 2, 9, 10, 11, 12, 127, 254, 255]
    colors = np.array(np.meshgrid(edges, edges, edges), np.uint8).reshape(3, -1).T
    points = _oklab.from_rgb(colors)
    assert points.dtype == np.float32
    np.testing.assert_allclose(_oklab.to_rgb(points), colors, atol=0.01)
    np.testing.assert_array_equal(_oklab.from_rgb(colors.astype(float)), points)


def test_oklab_outside_srgb_is_finite():
    far = np.array([[0.5, 0.4, -0.4], [-0.1, 0, 0], [1.2, 0, 0]])
    colors = _oklab.to_rgb(far)
    assert np.isfinite(colors).all()
    assert (colors[1] < 0).all()
    assert (colors[2] > 255).all()


def perceived(colors):
    """Return points in OKLab; with alpha on black and on white, so that squared distances are means."""
    if colors.shape[1] == 3:
        return _oklab.from_rgb(colors).astype(np.float64)
    grounds = [_oklab.from_rgb(on_ground(colors, ground)) / 2**0.5 for ground in (0, 255)]
    return np.hstack(grounds).astype(np.float64)


@pytest.mark.parametrize("K", [4, 16, 64])
@pytest.mark.parametrize("alpha", [False, True])
def test_oklab_lowers_perceived_error(K, alpha, tmp_path):
    """The error in OKLab is lower than from RGB, the error in RGB higher; and each pixel has the
    colour that is nearest in OKLab."""
    array = make_rgba() if alpha else make_rgb()
    rgb, lab = (quantize(array, K, seed=0, n_init=5, space=space) for space in ("rgb", "oklab"))
    check_written(lab, array, tmp_path / "out.png")
    assert lab.colors_after == K
    assert rgb.distortion < lab.distortion
    points = perceived(array.reshape(-1, array.shape[2]))
    errors = {}
    for name, result in {"rgb": rgb, "lab": lab}.items():
        places = perceived(result.palette)
        distances = ((points[:, None] - places) ** 2).sum(axis=2)
        taken = distances[np.arange(len(points)), result.indices.ravel()]
        errors[name] = taken.mean()
        if name == "lab":  # with alpha, opaque and transparent pixels have entries of their own
            free = array.reshape(len(points), -1)[:, 3] % 255 > 0 if alpha else slice(None)
            np.testing.assert_allclose(taken[free], distances[free].min(axis=1), atol=1e-6)
    assert errors["lab"] < errors["rgb"]


def floyd_steinberg(pixels, palette):
    """Diffuse errors pixel by pixel with the nearest colour; return the palette's rows."""
    work, colors = pixels.astype(np.float64), palette.astype(np.float64)
    height, width = pixels.shape[:2]
    rows = np.empty((height, width), int)
    for y, x in np.ndindex(height, width):
        wanted = work[y, x].clip(0, 255)
        rows[y, x] = ((wanted - colors) ** 2).sum(axis=1).argmin()
        error = wanted - colors[rows[y, x]]
        for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
            if y + down < height and 0 <= x + right < width:
                work[y + down, x + right] += error * share / 16
    return rows


def test_dithering_keeps_mean_colours(tmp_path):
    """As good as error diffusion in exact arithmetic, and far better than without dithering."""
    slopes = make_rgb(48, 64)
    corners = np.array(np.meshgrid([0, 255], [0, 255], [0, 255]), np.uint8).reshape(3, 8).T
    # The palette: nearly the corners, so that it can mix every colour of the slopes.
    array = np.concatenate([np.repeat(corners, 8, axis=0)[None].repeat(300, axis=0), slopes])
    plain, dithered = (quantize(array, 8, seed=0, dither=dither) for dither in (False, True))
    check_written(dithered, array, tmp_path / "out.png")
    assert sorted(map(tuple, dithered.palette.tolist())) == sorted(map(tuple, plain.palette.tolist()))
    assert plain.distortion < dithered.distortion

    def error_of_areas(pixels):
        difference = (pixels[-48:].astype(np.float64) - slopes).reshape(6, 8, 8, 8, 3)
        return (difference.mean(axis=(1, 3)) ** 2).mean()

    exact = plain.palette[floyd_steinberg(slopes, plain.palette)]
    ours = error_of_areas(dithered.palette[dithered.indices])
    assert ours < 0.1 * error_of_areas(plain.palette[plain.indices])
    assert ours < 1.5 * error_of_areas(exact)


def test_dithering_sorts_the_palette_by_use():
    result = quantize(make_rgb(), 16, seed=0, dither=True)
    counts = np.bincount(result.indices.ravel(), minlength=len(result.palette))
    assert counts.min() > 0
    order = [(-count, *color) for count, color in zip(counts, result.palette, strict=True)]
    assert order == sorted(order)


def test_dithering_few_colours_is_lossless(tmp_path):
    """Colours closer than the resolution of Pillow's colour lookup."""
    array = (100 + np.arange(48).reshape(4, 4, 3) % 7).astype(np.uint8)
    result = quantize(array, 16, dither=True)
    assert result.distortion == 0
    check_written(result, array, tmp_path / "out.png")


def test_dithering_grey_and_strided_images(monkeypatch, tmp_path):
    monkeypatch.setattr(_colors, "STRIP_PIXELS", 100)
    grey = make_rgb()[::-1, ::2, 0]
    result = quantize(grey, 3, seed=0, dither=True)
    check_written(result, np.repeat(grey[..., None], 3, axis=2), tmp_path / "out.png")


def test_quantize_sizes_equals_separate_calls():
    array = make_rgb()
    for options in ({}, {"space": "oklab"}, {"dither": True, "n_init": 2}):
        for K, result in zip((16, 3), quantize_sizes(array, [16, 3], seed=1, **options), strict=True):
            alone = quantize(array, K, seed=1, **options)
            np.testing.assert_array_equal(result.indices, alone.indices)
            np.testing.assert_array_equal(result.palette, alone.palette)
    assert quantize_sizes(array, []) == []
    with pytest.raises(ValueError, match="K must be at most 256"):
        quantize_sizes("missing.png", [4, 257])
    with pytest.raises(ValueError, match="n_init must be at least 1"):
        quantize_sizes("missing.png", [4], n_init=0)


def png_chunks(path):
    """Return {type: content} of the chunks of a PNG."""
    data, at, chunks = path.read_bytes(), 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks[data[at + 4 : at + 8].decode()] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return chunks


@pytest.mark.parametrize("K", [2, 5, 200])
@pytest.mark.parametrize("make", [make_rgb, make_rgba])
def test_file_palette_equals_result_palette(K, make, tmp_path):
    """The palette keeps its order and transparency (old versions of Pillow append black)."""
    result = quantize(make(), K, seed=0)
    result.save(tmp_path / "out.png")
    chunks = png_chunks(tmp_path / "out.png")
    palette, alpha = result.palette[:, :3].tobytes(), result.palette[:, 3:].tobytes()
    assert chunks["PLTE"].startswith(palette)
    assert not any(chunks["PLTE"][len(palette) :])
    assert len(chunks["PLTE"]) <= 3 << result.bit_depth
    assert chunks.get("tRNS", b"").startswith(alpha)
    assert ("tRNS" in chunks) == (make is make_rgba)


def test_before_after_layout():
    array = make_rgba()
    result = quantize(array, 4, seed=0)
    sheet = before_after(array, result)
    assert sheet.mode == "RGB"
    opaque = quantize(make_rgb(), 4, seed=0)
    shown = np.asarray(before_after(make_rgb(), opaque))
    np.testing.assert_array_equal(shown[12:52, 12:72], make_rgb())
    np.testing.assert_array_equal(shown[12:52, 84:144], opaque.palette[opaque.indices])
    strip = shown[80, 12:144]
    assert {tuple(c) for c in strip.tolist()} == {tuple(c) for c in opaque.palette.tolist()}


def test_grey_is_read_as_rgb():
    grey = make_rgb()[..., 0]
    np.testing.assert_array_equal(read(grey).pixels, np.repeat(grey[..., None], 3, axis=2))


def test_pillow_is_imported_lazily(tmp_path):
    code = (
        "import sys, ckmeans, ckmeans.image; assert 'PIL' not in sys.modules; "
        "import numpy; ckmeans.quantize(numpy.zeros((2, 2), 'uint8'), 1); "
        "assert 'PIL' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)


def test_quantize_is_public():
    assert ckmeans.quantize is quantize


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("K", "error", "words"),
    [
        (0, ValueError, "K must be at least 1, found 0"),
        (-3, ValueError, "K must be at least 1, found -3"),
        (257, ValueError, "K must be at most 256 .*, found 257"),
        (10**30, ValueError, "K must be at most 256 .*, found 1000"),
        (16.0, TypeError, "K must be an integer, found 16.0"),
        ("16", TypeError, "K must be an integer, found '16'"),
        (None, TypeError, "K must be an integer, found None"),
        (True, TypeError, "K must be an integer, found True"),
        (np.array([3]), TypeError, "K must be an integer, found array"),
    ],
)
def test_bad_k(K, error, words):
    with pytest.raises(error, match=words):
        quantize(make_rgb(), K)


def test_k_of_any_integer_type():
    assert quantize(make_rgb(), np.uint8(3), seed=0).colors_after == 3


@pytest.mark.parametrize("option", ["n_init", "max_iter", "n_threads", "tol", "seed"])
@pytest.mark.parametrize("array", [make_rgb(), np.zeros((4, 4), np.uint8)], ids=["photo", "black"])
def test_options_are_checked_without_clustering(option, array):
    with pytest.raises(ValueError, match=option):
        quantize(array, 4, **{option: -1})


def test_space_is_checked():
    with pytest.raises(ValueError, match=r"space must be .*'rgb'.*'oklab'.*found 'lab'"):
        quantize(make_rgb(), 4, space="lab")


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.full((4, 4, 3), 200.0), ValueError, "uint8.*floats from 0 to 1, found float64 from 200 to 200"),
        (np.full((4, 4), -0.1), ValueError, "floats from 0 to 1.*-0.1"),
        (np.full((4, 4), np.nan), ValueError, "floats from 0 to 1.*nan"),
        (np.zeros((4, 4), np.uint16), TypeError, "uint8.*uint16"),
        (np.zeros((4, 4), bool), TypeError, "uint8.*bool"),
        (np.zeros((4, 4, 5), np.uint8), ValueError, r"shape.*\(4, 4, 5\): numpy.moveaxis"),
        (np.zeros((3, 40, 60), np.uint8), ValueError, r"shape.*\(3, 40, 60\): numpy.moveaxis"),
        (np.zeros(4, np.uint8), ValueError, r"shape.*\(4,\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"shape.*\(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"at least one pixel.*\(0, 4\)"),
        (np.zeros((4, 0), np.uint8), ValueError, r"at least one pixel.*\(4, 0\)"),
        ([[1, 2], [3, 4]], TypeError, "path, a PIL image or a uint8 array, found.*list"),
        (None, TypeError, "found.*NoneType"),
    ],
)
def test_bad_arrays(array, error, words):
    with pytest.raises(error, match=words):
        quantize(array, 4)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_deep_modes_are_rejected(mode, tmp_path):
    path = tmp_path / "deep.tiff"
    Image.new(mode, (5, 4)).save(path)
    for source in (path, Image.new(mode, (5, 4))):
        with pytest.raises(ValueError, match=f"more than 8 bits.*{mode}.*reduce it first"):
            quantize(source, 4)


def deep_png(values, color_type):
    """Return a PNG of 16 bits per channel, which Pillow does not write."""
    height, width = values.shape[:2]

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_sixteen_bit_images(tmp_path):
    array = make_rgb()
    (tmp_path / "deep.png").write_bytes(deep_png(257 * array.astype(int), 2))
    check_written(quantize(tmp_path / "deep.png", 8, seed=0), array, tmp_path / "out.png")
    (tmp_path / "grey.png").write_bytes(deep_png(257 * array[..., 0].astype(int), 0))
    grey = np.repeat(array[..., :1], 3, axis=2)
    check_written(quantize(tmp_path / "grey.png", 8, seed=0), grey, tmp_path / "out.png")
    as_color = deep_png(257 * grey.astype(int), 2)
    (tmp_path / "color.png").write_bytes(as_color)
    results = [quantize(tmp_path / name, 8, seed=0) for name in ("grey.png", "color.png")]
    np.testing.assert_array_equal(results[0].indices, results[1].indices)
    np.testing.assert_array_equal(results[0].palette, results[1].palette)


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff"])
def test_several_frames_are_rejected(suffix, tmp_path):
    path = tmp_path / f"moving.{suffix}"
    frames = [Image.fromarray(make_rgb(seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"moving.* has 3 frames or pages: choose one first"):
        quantize(path, 4)
    with Image.open(path) as moving:
        assert quantize(moving.copy(), 4, seed=0).colors_after == 4


def test_unreadable_files(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("not an image\n")
    with pytest.raises(ValueError, match=r"notes\.jpg is not an image"):
        quantize(text, 4)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.png is not an image"):
        quantize(tmp_path / "empty.png", 4)
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        quantize(tmp_path / "missing.png", 4)
    with pytest.raises(OSError, match=tmp_path.name):
        quantize(tmp_path, 4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_raise_value_error(suffix, share, tmp_path):
    whole = io.BytesIO()
    Image.fromarray(make_rgb()).save(whole, {"jpg": "JPEG"}.get(suffix, suffix))
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
    with pytest.raises(ValueError, match=r"cut\."):
        quantize(path, 4)


# ---------------------------------------------------------------- writing


@pytest.fixture
def result():
    return quantize(make_rgb(), 4, seed=0)


def test_unwritable_output_is_reported(result, tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.png: it is a folder"):
        result.save(tmp_path / "folder.png")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        result.save(tmp_path / "nowhere" / "out.png")
    with pytest.raises(ValueError, match=r"must end in \.png"):
        result.save(tmp_path / "out.jpg")
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_output_must_be_regular_file(result, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        result.save(tmp_path / "pipe.png")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_keeps_old_file(result, step, failure, tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")

    def fail(*_):
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(failure)) as caught:
        result.save(path)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["out.png"]
    if isinstance(failure, OSError):
        assert "out.png" in str(caught.value)
        assert "No space left" in str(caught.value)


def test_unwritable_folder_is_reported_early(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "some temporary name")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"cannot write .*out\.png: Permission denied"):
        check_output(tmp_path / "out.png")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_output_file_permissions(result, tmp_path):
    (tmp_path / "plain").touch()
    result.save(tmp_path / "new.png")
    assert (tmp_path / "new.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new.png").chmod(0o640)
    result.save(tmp_path / "new.png")
    assert stat.S_IMODE((tmp_path / "new.png").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_symbolic_link_is_followed(result, tmp_path):
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    result.save(tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert png_header(tmp_path / "real.png") == (2, 3)
