"""Icons with soft edges, drawn: RGBA arrays of uint8, straight colours."""

from __future__ import annotations

import importlib.resources

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["ICONS"]

SIZE = 96
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float64)
CENTRE = (SIZE - 1) / 2
RADIUS = np.hypot(X - CENTRE, Y - CENTRE)
ANGLE = np.arctan2(Y - CENTRE, X - CENTRE)


def stacked(red, green, blue, alpha):
    planes = [
        np.broadcast_to(np.asarray(plane, np.float64), (SIZE, SIZE)) for plane in (red, green, blue, alpha)
    ]
    return np.stack(planes, axis=2).round().clip(0, 255).astype(np.uint8)


def drawn(paint, scale=4):
    """Draw on a canvas `scale` times as large and average it down, colours weighted by their alpha."""
    canvas = Image.new("RGBA", (SIZE * scale, SIZE * scale))
    paint(ImageDraw.Draw(canvas), SIZE * scale)
    return np.asarray(canvas.convert("RGBa").resize((SIZE, SIZE), Image.Resampling.BOX).convert("RGBA"))


def above(front, back):
    """Put one picture on another."""
    return np.asarray(Image.alpha_composite(Image.fromarray(back), Image.fromarray(front)))


def edge(radius, softness=1.0):
    """Alpha of a disc."""
    return 255 * ((radius - RADIUS) / softness + 0.5).clip(0, 1)


def shadow_of(icon, shift=5, blur=4, strength=0.6):
    alpha = Image.fromarray(np.roll(icon[..., 3], (shift, shift), (0, 1))).filter(
        ImageFilter.GaussianBlur(blur)
    )
    return stacked(0, 0, 0, strength * np.asarray(alpha))


def disc():
    return stacked(200, 40, 60, edge(40))


def shaded_disc():
    return stacked(2.5 * X, 2.5 * Y, 90, edge(40, 3))


def ring():
    return stacked(60, 120 + Y, 255 - 2 * X, np.minimum(edge(44, 2), 255 - edge(24, 2)))


def letters():
    def paint(draw, size):
        font = ImageFont.load_default(size // 2)
        draw.text((size // 20, size // 20), "Ag", fill=(20, 60, 160, 255), font=font)
        draw.text((size // 6, size // 2.3), "&7k", fill=(220, 120, 10, 255), font=font)

    return drawn(paint)


def button():
    def paint(draw, size):
        draw.rounded_rectangle((size // 8, size // 6, size * 7 // 8, size * 4 // 6), size // 10, fill="white")

    alpha = drawn(paint)[..., 3]
    body = stacked(80 + Y, 160 + Y / 2, 250 - Y, alpha)
    return above(body, shadow_of(body))


def glass():
    body = stacked(30, 90 + 0.8 * Y, 180 + 0.6 * X, 0.55 * edge(42, 2))
    shine = 0.8 * edge(30, 20) * (Y < 48)
    return above(stacked(255, 255, 255, shine), body)


def masked_photo():
    path = importlib.resources.files("ckmeans").joinpath("data", "demo.jpg")
    with importlib.resources.as_file(path) as file, Image.open(file) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((SIZE, SIZE)))
    return np.dstack([pixels, edge(40, 12).round().astype(np.uint8)])


def shadow():
    return shadow_of(disc(), blur=9, strength=0.9)


def glow():
    return stacked(255, 255 - 2.2 * RADIUS, 120 - RADIUS, 255 * np.exp(-((RADIUS / 22) ** 2)))


def overlapping_discs():
    def paint(draw, size):
        for turn, color in enumerate(((230, 30, 30), (30, 200, 60), (40, 60, 230))):
            x, y = (0.5 + 0.18 * np.array([np.cos(2.1 * turn), np.sin(2.1 * turn)])) * size
            layer = Image.new("RGBA", (size, size))
            ImageDraw.Draw(layer).ellipse(
                (x - size / 4, y - size / 4, x + size / 4, y + size / 4), fill=(*color, 140)
            )
            draw._image.alpha_composite(layer)

    return drawn(paint)


def face():
    def paint(draw, size):
        draw.ellipse((size // 10, size // 10, size * 9 // 10, size * 9 // 10), fill=(255, 204, 50, 255))
        for x in (size * 3 // 10, size * 6 // 10):
            draw.ellipse((x, size * 3 // 10, x + size // 10, size // 2), fill=(70, 40, 10, 255))
        draw.arc(
            (size // 4, size // 3, size * 3 // 4, size * 3 // 4), 20, 160, (160, 60, 20, 255), size // 25
        )

    return drawn(paint)


def colour_wheel():
    phases = ANGLE[..., None] + np.array([0, 2.1, 4.2])
    red, green, blue = np.moveaxis(127.5 + 127.5 * np.sin(phases), 2, 0)
    return stacked(red, green, blue, np.minimum(edge(44, 4), 255 - edge(8, 4)))


def smoke():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8))
    layers = [
        np.asarray(noise.filter(ImageFilter.GaussianBlur(radius))).astype(np.float64) - 127.5
        for radius in (2, 4, 8)
    ]
    density = sum(layer / layer.std() for layer in layers) / 3
    return stacked(
        150 + 40 * layers[1] / layers[1].std(), 150, 160, edge(36, 24) * (0.5 + 0.4 * density).clip(0, 1)
    )


def flag():
    wave = Y + 6 * np.sin(X / 9)
    inside = 255 * ((wave - 20).clip(0, 1) * (76 - wave).clip(0, 1)) * ((X > 6) & (X < 90))
    light = 0.8 + 0.2 * np.cos(X / 9)
    red, white = wave < 38, wave < 57
    return stacked(
        light * np.where(red, 210, np.where(white, 250, 20)),
        light * np.where(red, 20, np.where(white, 250, 60)),
        light * np.where(red, 40, np.where(white, 250, 170)),
        inside,
    )


def hidden_noise():
    icon = above(face(), shadow_of(face()))
    noise = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    icon = icon.copy()
    icon[..., :3] = np.where(icon[..., 3:] == 0, noise, icon[..., :3])
    return icon


def stripes():
    bands = ((X + Y) // 12).astype(int) % 5
    colors = np.array([[240, 60, 60], [60, 200, 80], [70, 90, 220], [250, 220, 60], [30, 30, 30]])
    soft = 255 * np.clip((X - 8) / 30, 0, 1) * (Y > 6)
    return np.dstack([colors[bands].astype(np.uint8), soft.round().astype(np.uint8)])


ICONS = {
    draw.__name__: draw
    for draw in (
        disc,
        shaded_disc,
        ring,
        letters,
        button,
        glass,
        masked_photo,
        shadow,
        glow,
        overlapping_discs,
        face,
        colour_wheel,
        smoke,
        flag,
        hidden_noise,
        stripes,
    )
}
