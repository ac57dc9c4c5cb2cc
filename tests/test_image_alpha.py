"""`ckmeans.quantize` with transparency: what is seen on black and on white."""

from __future__ import annotations

import math

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from icons import ICONS  # noqa: E402

from ckmeans.image import quantize  # noqa: E402
from ckmeans.image._dither import dither  # noqa: E402
from ckmeans.image._spaces import SPACES, on_grounds  # noqa: E402

KS = (8, 16, 64)


def seen_error(pixels, original):
    """Return the mean over the pixels, black and white of the squared distance in RGB."""
    errors = []
    for ground in (0, 255):
        a, b = (
            rgba[..., :3] * (rgba[..., 3:] / 255) + ground * (1 - rgba[..., 3:] / 255)
            for rgba in (pixels, original)
        )
        errors.append(((a - b) ** 2).sum(axis=2).mean())
    return float(np.mean(errors))


def as_rgba(result):
    return np.asarray(result.image.convert("RGBA"))


def assert_alpha_is_kept(pixels, original):
    for alpha in (0, 255):
        assert (pixels[original[..., 3] == alpha, 3] == alpha).all()


@pytest.mark.parametrize("name", ICONS)
@pytest.mark.parametrize(("K", "space"), [(2, "rgb"), (9, "oklab"), (16, "rgb"), (256, "rgb")])
def test_transparent_and_opaque_stay(name, K, space):
    original = ICONS[name]()
    result = quantize(original, K, seed=0, space=space)
    assert_alpha_is_kept(as_rgba(result), original)
    assert result.colors_after == min(K, result.colors_before)
    assert result.distortion == pytest.approx(seen_error(as_rgba(result), original), rel=1e-9)
    if result.distortion:
        expected = 10 * math.log10(255**2 / (result.distortion / 3))
        assert result.psnr == pytest.approx(expected, rel=1e-12)


def by_imagequant(original, K):
    """Return imagequant's pixels, and the same with alpha kept as ours is."""
    imagequant = pytest.importorskip("imagequant")
    height, width = original.shape[:2]
    indices, palette = imagequant.quantize_raw_rgba_bytes(
        original.tobytes(), width, height, dithering_level=0.0, max_colors=K
    )
    colors = np.array(palette, np.uint8).reshape(-1, 4)
    indices = np.frombuffer(indices, np.uint8).reshape(height, width)
    kept = colors.copy()
    for alpha in (0, 255):
        kept[np.unique(indices[original[..., 3] == alpha]), 3] = alpha
    return colors[indices], kept[indices]


@pytest.mark.parametrize("K", KS)
@pytest.mark.parametrize("name", ICONS)
def test_seen_error_is_below_imagequants(name, K):
    """Where imagequant makes the ground visible, its palette is compared with the ground put right: an
    entry bound to alpha 0 costs something, and no palette may do without it."""
    original = ICONS[name]()
    theirs, kept = by_imagequant(original, K)
    fair = theirs if (theirs[original[..., 3] == 0, 3] == 0).all() else kept
    assert quantize(original, K, seed=0).distortion <= seen_error(fair, original)


def test_hidden_colours_weigh_nothing():
    rng = np.random.default_rng(0)
    original = np.zeros((40, 40, 4), np.uint8)
    original[..., :3] = rng.integers(0, 256, (40, 40, 3))
    original[10:30, 10:30] = [200, 30, 30, 255]
    original[15:20, 15:20] = [30, 200, 30, 255]
    original[22:26, 22:26] = [30, 30, 200, 255]
    result = quantize(original, 4, seed=0)
    assert result.distortion == 0
    assert result.colors_before == 4
    before = original.copy()
    shown = original.copy()
    shown[shown[..., 3] == 0] = 0
    np.testing.assert_array_equal(as_rgba(result), shown)
    np.testing.assert_array_equal(original, before)


@pytest.mark.parametrize("K", [3, 4, 6])
def test_empty_ground_stays_empty(K):
    original = np.zeros((32, 32, 4), np.uint8)
    original[..., 3] = np.clip((np.arange(32) - 16) * 16, 0, 255)
    assert_alpha_is_kept(as_rgba(quantize(original, K, seed=0)), original)


@pytest.mark.parametrize("K", [2, 8, 16])
def test_soft_disc_stays_opaque(K):
    y, x = np.mgrid[:64, :64]
    alpha = np.clip((24 - np.hypot(x - 31.5, y - 31.5)) * 40 + 128, 0, 255)
    original = np.stack([4 * x, 4 * y, np.full_like(x, 90), alpha], axis=2).astype(np.uint8)
    assert_alpha_is_kept(as_rgba(quantize(original, K, seed=0)), original)


def test_one_colour_is_for_what_shows():
    opaque = ICONS["face"]()
    assert quantize(opaque, 1, seed=0).palette[0, 3] == 255
    shadow = ICONS["shadow"]()
    color = quantize(shadow, 1, seed=0).palette[0]
    assert 0 < color[3] < 255
    assert (color[:3] == 0).all()


def test_invisible_picture():
    original = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    original[..., 3] = 0
    result = quantize(original, 4, seed=0)
    assert result.palette.tolist() == [[0, 0, 0, 0]]
    assert result.distortion == 0


@pytest.mark.parametrize("color", [(250, 10, 90, 3), (1, 2, 3, 1), (255, 0, 128, 254), (9, 200, 31, 128)])
def test_points_lead_back_to_colours(color):
    colors = np.array([color, (0, 0, 0, 0), (7, 8, 9, 255)], np.uint8)
    for name in ("rgb", "oklab"):
        space = SPACES[name, 4]
        back = space.to_bytes(space.to_points(colors))
        error = np.abs(on_grounds(back) - on_grounds(colors)).max()
        assert error <= (0 if name == "rgb" else 1)


def test_distance_is_the_seen_error():
    colors = np.random.default_rng(0).integers(0, 256, (2, 50, 4), dtype=np.uint8)
    a, b = (on_grounds(half) for half in colors)
    distances = ((a - b) ** 2).sum(axis=1)
    for at in range(50):
        assert distances[at] == pytest.approx(seen_error(*colors[:, None, at : at + 1]), rel=1e-12)


def test_threads_give_one_palette():
    original = ICONS["masked_photo"]()
    results = [quantize(original, 16, seed=3, n_threads=n) for n in (1, 2)]
    np.testing.assert_array_equal(results[0].palette, results[1].palette)
    np.testing.assert_array_equal(results[0].indices, results[1].indices)


# ---------------------------------------------------------------- dithering


@pytest.mark.parametrize("name", ["shaded_disc", "button", "masked_photo", "glass", "hidden_noise"])
def test_dithering_keeps_the_ground(name):
    original = ICONS[name]()
    result = quantize(original, 8, seed=0, dither=True)
    assert_alpha_is_kept(as_rgba(result), original)
    assert result.distortion == pytest.approx(seen_error(as_rgba(result), original), rel=1e-9)


def test_dithering_keeps_mean_colours():
    """Of areas of an icon on an empty ground, as well as Pillow does without the ground."""
    original = ICONS["masked_photo"]()
    original[..., 3] = np.where(original[..., 3] > 128, 255, 0)
    plain, dithered = (quantize(original, 8, seed=0, dither=dither) for dither in (False, True))
    opaque = plain.palette[plain.palette[:, 3] == 255, :3]
    by_pillow = opaque[dither(np.ascontiguousarray(original[..., :3]), opaque)]

    def error_of_areas(pixels):
        inside = np.s_[24:72, 24:72, :3]
        difference = (pixels[inside] - original[inside].astype(float)).reshape(6, 8, 6, 8, 3)
        return (difference.mean(axis=(1, 3)) ** 2).mean()

    ours = error_of_areas(as_rgba(dithered))
    assert ours < error_of_areas(as_rgba(plain))
    assert ours < 1.1 * error_of_areas(by_pillow)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (3, 8), (8, 2)])
def test_dithering_equals_pixel_by_pixel(shape):
    """Slanted lines give what error diffusion in the order of reading gives."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
    pixels[..., 3] = rng.choice([0, 90, 255], shape)
    palette = np.array([[0, 0, 0, 0], [200, 30, 30, 255], [10, 90, 220, 255], [90, 90, 90, 80]], np.uint8)
    entries = on_grounds(palette)
    wanted = on_grounds(pixels.reshape(-1, 4)).reshape(*shape, 4)
    expected = np.empty(shape, int)
    for y, x in np.ndindex(shape):
        alpha = pixels[y, x, 3]
        top = (255 + float(alpha)) / 2
        wanted[y, x, :3] = wanted[y, x, :3].clip(255 - top, top)
        distances = ((wanted[y, x] - entries) ** 2).sum(axis=1)
        if alpha in (0, 255):
            distances[palette[:, 3] != alpha] = np.inf
        expected[y, x] = distances.argmin()
        error = (wanted[y, x] - entries[expected[y, x]])[:3] * (alpha > 0)
        for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
            if y + down < shape[0] and 0 <= x + right < shape[1]:
                wanted[y + down, x + right, :3] += error * share / 16
    np.testing.assert_array_equal(dither(pixels, palette), expected)
