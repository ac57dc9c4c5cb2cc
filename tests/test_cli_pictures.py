"""`ckmeans quantize` with several files, streams, default names and frames, as a real command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from icons import ICONS  # noqa: E402
from PIL import ImageSequence  # noqa: E402

import ckmeans  # noqa: E402


def run(*arguments, cwd, stdin=b""):
    return subprocess.run(
        [sys.executable, "-m", "ckmeans", "quantize", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    for name in ("face", "button"):
        Image.fromarray(ICONS[name]()).save(tmp_path / f"{name}.png")
    frames = [Image.fromarray(np.roll(ICONS["face"](), 5 * step, axis=1)) for step in range(3)]
    for frame in frames:
        frame.putalpha(frame.getchannel("A").point(lambda alpha: 255 * (alpha > 127)))
    frames[0].save(
        tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=80, loop=0, disposal=2
    )
    frames[0].save(tmp_path / "pages.tiff", save_all=True, append_images=frames[1:])
    return tmp_path


def test_default_name_beside_the_input(folder):
    before = (folder / "face.png").read_bytes()
    process = run("face.png", "-k", 8, cwd=folder)
    assert (process.returncode, process.stderr) == (0, b"")
    assert process.stdout.decode().splitlines()[-1] == "written  face-8.png"
    assert (folder / "face.png").read_bytes() == before
    assert (folder / "face-8.png").read_bytes() == ckmeans.quantize(folder / "face.png", 8, seed=0).to_bytes()


def test_default_name_from_another_folder(folder):
    (folder / "elsewhere").mkdir()
    run("../face.png", "--sizes", "2,4", cwd=folder / "elsewhere")
    assert {"face-2.png", "face-4.png"} <= set(os.listdir(folder))
    assert os.listdir(folder / "elsewhere") == []


def test_an_input_is_not_overwritten(folder):
    (folder / "face-16.png").write_bytes((folder / "face.png").read_bytes())
    process = run("face.png", "face-16.png", cwd=folder)
    assert process.returncode == 2
    assert b"face-16.png is one of the inputs" in process.stderr
    assert sorted(os.listdir(folder)) == [
        "button.png",
        "face-16.png",
        "face.png",
        "moving.gif",
        "pages.tiff",
    ]


@pytest.mark.parametrize("where", ["out", "out/"])
def test_several_files_into_a_folder(folder, where):
    (folder / "out").mkdir()
    process = run("face.png", "button.png", "-k", 4, "-o", where, "--json", cwd=folder)
    photos = json.loads(process.stdout)["photos"]
    assert [photo["photo"] for photo in photos] == ["face.png", "button.png"]
    assert [photo["output"] for photo in photos] == [
        os.path.join(where, "face-4.png"),
        os.path.join(where, "button-4.png"),
    ]
    for photo in photos:
        assert (folder / photo["output"]).stat().st_size == photo["bytes_after"]


def test_several_files_print_each_report(folder):
    process = run("face.png", "button.png", cwd=folder)
    reports = process.stdout.decode().split("\n\n")
    assert [report.split()[1] for report in reports] == ["face.png,", "button.png,"]
    assert run("face.png", "button.png", "-q", cwd=folder).stdout == b""


@pytest.mark.parametrize("arguments", [("-",), ("-", "-o", "-"), ("face.png", "-o", "-")])
def test_standard_input_and_output(folder, arguments):
    content = (folder / "face.png").read_bytes()
    process = run(*arguments, "-k", 8, cwd=folder, stdin=content)
    assert process.returncode == 0
    assert process.stdout == ckmeans.quantize(content, 8, seed=0).to_bytes()
    assert b"written  standard output" in process.stderr
    assert run(*arguments, "-k", 8, "-q", cwd=folder, stdin=content).stderr == b""
    report = json.loads(run(*arguments, "-k", 8, "--json", cwd=folder, stdin=content).stderr)
    assert report["output"] == "-"


def test_standard_input_into_a_file(folder):
    content = (folder / "face.png").read_bytes()
    process = run("-", "-o", "out.png", "-k", 8, cwd=folder, stdin=content)
    assert b"written  out.png" in process.stdout
    assert (folder / "out.png").read_bytes() == ckmeans.quantize(content, 8, seed=0).to_bytes()


def test_one_frame(folder):
    process = run("moving.gif", cwd=folder)
    assert process.returncode == 2
    assert b"moving.gif has 3 frames" in process.stderr
    assert b"--frame 0" in process.stderr
    run("moving.gif", "--frame", 2, "-o", "out.png", cwd=folder)
    expected = ckmeans.quantize(folder / "moving.gif", 16, frame=2, seed=0)
    assert (folder / "out.png").read_bytes() == expected.to_bytes()


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_all_frames(folder, suffix):
    process = run("moving.gif", "--frame", "all", "-k", 6, "-o", f"out.{suffix}", "--json", cwd=folder)
    report = json.loads(process.stdout)
    assert (report["frames"], report["colors_after"]) == (3, 6)
    expected = ckmeans.image.quantize_frames(folder / "moving.gif", 6, seed=0)
    content = (folder / f"out.{suffix}").read_bytes()
    assert content == expected.to_bytes(suffix)
    shown = ImageSequence.Iterator(Image.open(io.BytesIO(content)))
    for frame, result in zip(shown, expected.frames, strict=True):
        np.testing.assert_array_equal(np.asarray(frame.convert("RGBA")), result.palette[result.indices])


def test_pages_are_files_of_their_own(folder):
    process = run("pages.tiff", "--frame", "all", cwd=folder)
    names = [f"pages-16-{page}.png" for page in range(3)]
    assert process.stdout.decode().splitlines()[-1] == f"written  {', '.join(names)}"
    for name in names:
        with Image.open(folder / name) as page:
            assert page.size == (96, 96)


def test_all_frames_of_one_image(folder):
    Image.fromarray(ICONS["face"]()[..., :3]).save(folder / "photo.jpg")
    run("photo.jpg", "--frame", "all", cwd=folder)
    expected = ckmeans.quantize(folder / "photo.jpg", 16, seed=0)
    assert (folder / "photo-16.png").read_bytes() == expected.to_bytes()


def test_all_frames_in_several_sizes(folder):
    process = run("moving.gif", "--frame", "all", "--sizes", "2,4", cwd=folder)
    assert process.returncode == 0
    assert {"moving-2.png", "moving-4.png"} <= set(os.listdir(folder))


def test_dithered_icon(folder):
    run("button.png", "--dither", "-o", "out.png", cwd=folder)
    with Image.open(folder / "out.png") as written:
        alpha = np.asarray(written.convert("RGBA"))[..., 3]
    original = ICONS["button"]()[..., 3]
    assert (alpha[original == 0] == 0).all()
    assert (alpha[original == 255] == 255).all()
