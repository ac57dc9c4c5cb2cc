"""Images from memory and from other libraries, out to memory, and what a file says beside its pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from icons import ICONS  # noqa: E402
from PIL import ImageCms  # noqa: E402
from PIL.PngImagePlugin import PngInfo  # noqa: E402

from ckmeans.image import quantize  # noqa: E402
from ckmeans.image._read import read  # noqa: E402


def photo(height=30, width=40):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "BytesIO", "file", "pipe"])
def test_files_in_memory(kind, tmp_path):
    content = encoded(photo())
    (tmp_path / "in.png").write_bytes(content)
    expected = quantize(tmp_path / "in.png", 8, seed=0)
    with open(tmp_path / "in.png", "rb") as file:
        source = {
            "bytes": content,
            "bytearray": bytearray(content),
            "memoryview": memoryview(content),
            "BytesIO": io.BytesIO(content),
            "file": file,
            "pipe": io.BufferedReader(Unseekable(content)),
        }[kind]
        result = quantize(source, 8, seed=0)
    np.testing.assert_array_equal(result.indices, expected.indices)
    assert result.report() == expected.report()
    assert result.bytes_before == len(content)


class Unseekable(io.RawIOBase):
    """A stream such as a pipe."""

    def __init__(self, content):
        self.stream = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.stream.readinto(buffer)


def test_stream_at_its_end():
    stream = io.BytesIO(encoded(photo()))
    stream.read()
    with pytest.raises(ValueError, match=r"found it at its end: call seek\(0\)"):
        quantize(stream, 4)
    with pytest.raises(TypeError, match="must be opened as a binary file"):
        quantize(io.StringIO("text"), 4)
    with pytest.raises(ValueError, match="image is not an image"):
        quantize(b"text", 4)


def test_output_to_memory(tmp_path):
    result = quantize(photo(), 8, seed=0)
    stream = io.BytesIO()
    result.save(stream)
    result.save(tmp_path / "out.png")
    assert stream.getvalue() == result.to_bytes() == (tmp_path / "out.png").read_bytes()
    with open(tmp_path / "open.png", "wb") as file:
        result.save(file)
    assert (tmp_path / "open.png").read_bytes() == result.to_bytes()
    for wrong in (io.StringIO(), 3, None):
        with pytest.raises(TypeError, match="path must be a name or a file opened for writing bytes"):
            result.save(wrong)


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_floats_from_0_to_1(dtype, channels):
    bytes_ = np.random.default_rng(1).integers(0, 256, (20, 30, *channels), dtype=np.uint8)
    floats = (bytes_ / 255).astype(dtype)
    if dtype != np.float16:
        np.testing.assert_array_equal(read(floats).pixels, read(bytes_).pixels)
    assert quantize(floats, 5, seed=0).indices.shape == (20, 30)
    np.testing.assert_array_equal(read(np.array([[0.0, 1 + 1e-7]])).pixels[0, :, 0], [0, 255])


def test_grey_with_one_channel():
    grey = photo()[..., 0]
    np.testing.assert_array_equal(read(grey[..., None]).pixels, read(grey).pixels)


def test_grey_with_alpha():
    icon = ICONS["shadow"]()
    grey = icon[..., [0, 3]]
    np.testing.assert_array_equal(read(grey).pixels, icon)
    assert quantize(grey, 8, seed=0).palette.shape[1] == 4


def test_objects_with_an_array():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return photo()

    np.testing.assert_array_equal(read(Tensor()).pixels, photo())


# ---------------------------------------------------------------- 16 bits


def grey_tiff(values, **tags):
    """Return a TIFF of 16-bit grey."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[int(tag[1:])] = value
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "TIFF", tiffinfo=directory)
    return file.getvalue()


def test_sixteen_bit_grey_files():
    values = np.arange(0, 65536, 64).reshape(32, 32)
    np.testing.assert_array_equal(read(grey_tiff(values)).pixels[..., 0], values >> 8)
    np.testing.assert_array_equal(read(encoded(values.astype(np.uint16))).pixels[..., 0], values >> 8)
    np.testing.assert_array_equal(read(Image.fromarray(values.astype(np.uint16))).pixels[..., 0], values >> 8)


def test_twelve_in_sixteen_bits():
    """The largest value that the file names is white."""
    values = np.arange(4096).reshape(64, 64)
    np.testing.assert_array_equal(read(grey_tiff(values, _281=4095)).pixels[..., 0], values >> 4)


def test_transparent_value_of_deep_grey():
    values = np.full((4, 5), 1000, np.uint16)
    values[1:3] = 40000
    content = encoded(values, transparency=1000)
    pixels = read(content).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert pixels[1, 0].tolist() == [40000 >> 8] * 3 + [255]


# ---------------------------------------------------------------- beside the pixels


def written(result):
    image = Image.open(io.BytesIO(result.to_bytes()))
    image.load()
    return image


def test_png_metadata_survives():
    info = PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    chromaticities = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    info.add(b"cHRM", b"".join(value.to_bytes(4, "big") for value in chromaticities))
    info.add_text("Title", "A photo")
    info.add_itxt("Comment", "grün und 青", lang="de", tkey="Bemerkung")
    original = Image.open(io.BytesIO(encoded(photo(), pnginfo=info, dpi=(300, 150))))
    for source in (original, encoded(photo(), pnginfo=info, dpi=(300, 150))):
        image = written(quantize(source, 8, seed=0))
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        assert image.info["gamma"] == 0.45455
        assert image.info["chromaticity"] == original.info["chromaticity"]
        assert image.text == original.text
        assert image.text["Comment"].lang == "de"


def test_srgb_intent_survives():
    info = PngInfo()
    info.add(b"sRGB", b"\1")
    assert written(quantize(encoded(photo(), pnginfo=info), 4, seed=0)).info["srgb"] == 1


def test_photo_metadata_survives():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    content = encoded(photo(), "JPEG", exif=exif, dpi=(240, 240), comment="a comment")
    image = written(quantize(content, 8, seed=0))
    assert image.size == (30, 40)
    assert image.getexif()[0x010F] == "A camera"
    assert 0x0112 not in image.getexif()
    assert image.info["dpi"] == pytest.approx((240, 240), abs=0.02)
    assert image.text["Comment"] == "a comment"


def test_profile_of_grey_image():
    """One that describes RGB is kept; one of grey values has no place beside colours."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey_profile = profile[:16] + b"GRAY" + profile[20:]
    for content, kept in ((profile, True), (grey_profile, False)):
        result = quantize(encoded(photo()[..., 0], icc_profile=content), 8, seed=0)
        assert ("icc_profile" in written(result).info) == kept


def test_broken_exif_is_left_out():
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + bytes([0, 9]) + b"\x01\x0f\0\x02\xff\xff\xff\xff" + b"\xff" * 40
    for content in (encoded(photo(), "JPEG", exif=exif), encoded(photo(), "JPEG", exif=b"Exif\0\0XXXX")):
        assert written(quantize(content, 4, seed=0)).size == (40, 30)


def test_sixteen_bit_pgm():
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    content = b"P5 32 32 65535\n" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(read(content).pixels[..., 0], values >> 8)


def test_useless_resolution_is_left_out():
    image = Image.fromarray(photo())
    image.info["dpi"] = (0, 0)
    assert "dpi" not in written(quantize(image, 4, seed=0)).info
