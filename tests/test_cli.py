"""The command line in a process of its own: exit status, output and errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

import ckmeans  # noqa: E402
from ckmeans import cli  # noqa: E402


def run(*arguments, cwd, env=None):
    """Run ``python -m ckmeans`` in a folder and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "ckmeans", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_line(process, *words):
    """Check for a user error: status 2, nothing on stdout, one line on stderr with these words."""
    assert process.returncode == 2, process
    assert process.stdout == ""
    assert process.stderr.startswith("ckmeans: ")
    assert process.stderr.endswith("\n")
    assert process.stderr.count("\n") == 1
    for word in words:
        assert word in process.stderr


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an image like a photo, and a text file with the suffix of an image."""
    y, x = np.mgrid[0:48, 0:64]
    smooth = np.stack([4 * x, 5 * y, 2 * (x + y)], axis=2)
    noise = np.random.default_rng(0).integers(-6, 7, smooth.shape)
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "text.jpg").write_text("not an image\n")
    return tmp_path


# ---------------------------------------------------------------- quantize


def test_quantize_prints_a_report(folder):
    process = run("quantize", "photo.png", "-k", 5, "-o", "out.png", cwd=folder)
    assert (process.returncode, process.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in process.stdout.splitlines())
    assert lines["image"] == "photo.png, 64 x 48 pixels"
    assert lines["colours"].endswith("-> 5")
    assert lines["bits"] == "73,728 -> 9,336 = 5 x 24 + 3072 x 3"
    assert lines["PSNR"].endswith(" dB")
    assert f"-> {(folder / 'out.png').stat().st_size:,} (PNG, 4 bits per pixel)" in lines["bytes"]
    columns = {line.index(line.split(maxsplit=1)[1]) for line in process.stdout.splitlines()}
    assert len(columns) == 1


def test_quantize_json_matches_the_file(folder):
    process = run("quantize", "photo.png", "-k", 16, "-o", "out.png", "--json", cwd=folder)
    assert (process.returncode, process.stderr) == (0, "")
    report = json.loads(process.stdout)
    with Image.open(folder / "photo.png") as before, Image.open(folder / "out.png") as after:
        assert after.mode == "P"
        a, b = (np.asarray(p.convert("RGB")).astype(np.float64) for p in (before, after))
    assert report["distortion"] == pytest.approx(((a - b) ** 2).sum(axis=2).mean(), rel=1e-9)
    assert report["psnr"] == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), rel=1e-9)
    assert report["colors_before"] == len(np.unique(a.reshape(-1, 3), axis=0))
    assert report["colors_after"] == len(np.unique(b.reshape(-1, 3), axis=0)) == 16
    assert report["bytes_before"] == (folder / "photo.png").stat().st_size
    assert report["bytes_after"] == (folder / "out.png").stat().st_size
    assert report["bits_after"] == 16 * 24 + 48 * 64 * 4
    assert (report["photo"], report["output"]) == ("photo.png", "out.png")


def test_quantize_takes_its_options(folder):
    options = ["--seed", 7, "--n-init", 3, "--threads", 1, "--quiet"]
    for name in ("one.png", "two.png"):
        process = run("quantize", "photo.png", "-k", 8, "-o", name, *options, cwd=folder)
        assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    expected = ckmeans.quantize(folder / "photo.png", 8, seed=7, n_init=3)
    with Image.open(folder / "one.png") as written:
        np.testing.assert_array_equal(np.asarray(written), expected.indices)


def test_quantize_onto_its_own_input(folder):
    process = run("quantize", "photo.png", "-k", 2, "-o", "photo.png", "--json", cwd=folder)
    assert json.loads(process.stdout)["colors_after"] == 2
    with Image.open(folder / "photo.png") as written:
        assert len(written.getcolors()) == 2


def test_several_sizes_side_by_side(folder):
    process = run("quantize", "photo.png", "--sizes", "4,16, 4", "-o", "out.v2.png", cwd=folder)
    assert (process.returncode, process.stderr) == (0, "")
    assert sorted(os.listdir(folder)) == ["out.v2-16.png", "out.v2-4.png", "photo.png", "text.jpg"]
    image, header, *sizes = process.stdout.splitlines()
    assert image.startswith("image    photo.png, 64 x 48 pixels")
    assert len({len(line.rsplit("  ", 1)[0]) for line in (header, *sizes)}) == 1
    for line, K in zip(sizes, (4, 16), strict=True):
        name = f"out.v2-{K}.png"
        assert line.split()[0] == str(K)
        assert line.endswith(f"  {name}")
        assert f" {(folder / name).stat().st_size:,} " in line
        with Image.open(folder / name) as written:
            alone = ckmeans.quantize(folder / "photo.png", K, seed=0)
            np.testing.assert_array_equal(np.asarray(written), alone.indices)


def test_several_sizes_as_json(folder):
    process = run("quantize", "photo.png", "--sizes", "16,4", "-o", "out.png", "--json", cwd=folder)
    sizes = json.loads(process.stdout)["sizes"]
    assert [size["k"] for size in sizes] == [16, 4]
    assert [size["output"] for size in sizes] == ["out-16.png", "out-4.png"]
    for size in sizes:
        run("quantize", "photo.png", "-k", size["k"], "-o", "alone.png", cwd=folder)
        assert (folder / "alone.png").read_bytes() == (folder / size["output"]).read_bytes()
        assert size["bytes_after"] == (folder / size["output"]).stat().st_size


def test_space_and_dithering(folder):
    options = {"--space oklab": {"space": "oklab"}, "--dither": {"dither": True}}
    for words, keywords in options.items():
        process = run("quantize", "photo.png", "-k", 8, "-o", "out.png", *words.split(), cwd=folder)
        assert process.returncode == 0
        expected = ckmeans.quantize(folder / "photo.png", 8, seed=0, **keywords)
        with Image.open(folder / "out.png") as written:
            np.testing.assert_array_equal(np.asarray(written), expected.indices)


def test_lossless_image(folder):
    Image.new("RGB", (4, 4), "red").save(folder / "red.png")
    process = run("quantize", "red.png", "-o", "out.png", cwd=folder)
    assert "nothing lost" in process.stdout
    process = run("quantize", "red.png", "-o", "out.png", "--json", cwd=folder)
    assert json.loads(process.stdout)["psnr"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("quantize missing.jpg -o out.png", ["missing.jpg", "No such file"]),
        ("quantize text.jpg -o out.png", ["text.jpg is not an image"]),
        ("quantize . -o out.png", [".: "]),
        ("quantize photo.png -k 0 -o out.png", ["K must be at least 1", "found 0"]),
        ("quantize photo.png -k 257 -o out.png", ["K must be at most 256", "found 257"]),
        ("quantize photo.png -k many -o out.png", ["-k", "'many'"]),
        ("quantize photo.png --n-init 0 -o out.png", ["n_init", "0"]),
        ("quantize photo.png --threads 0 -o out.png", ["n_threads", "0"]),
        ("quantize photo.png --seed -1 -o out.png", ["seed", "-1"]),
        ("quantize photo.png -o nowhere/out.png", ["no folder", "nowhere"]),
        ("quantize photo.png -o .", ["it is a folder"]),
        ("quantize photo.png -k 4 --sizes 4,8 -o out.png", ["-k", "not allowed with", "--sizes"]),
        ("quantize photo.png --sizes 4,many -o out.png", ["--sizes must be", "4,16,64", "'4,many'"]),
        ("quantize photo.png --sizes 4, -o out.png", ["--sizes must be", "'4,'"]),
        ("quantize photo.png --sizes 4,257 -o out.png", ["K must be at most 256", "found 257"]),
        ("quantize photo.png --sizes 4,8 -o nowhere/out.png", ["nowhere/out-4.png", "no folder"]),
        ("quantize photo.png --space hsv -o out.png", ["--space", "'hsv'", "oklab"]),
        ("quantize photo.png -o out.jpg", ["out.jpg", "must end in .png"]),
        ("quantize photo.png text.jpg -o out.png", ["-o must be a folder for 2 pictures", "'out.png'"]),
        ("quantize photo.png missing.png", ["missing.png: No such file"]),
        ("quantize photo.png photo.png", ["photo.png and photo.png would both be written", "photo-16.png"]),
        ("quantize - -", ["standard input (-) can be given only once"]),
        ("quantize photo.png --sizes 4,8 -o -", ["-o - takes one picture, found 2"]),
        ("quantize photo.png text.jpg -o nowhere/", ["no folder", "nowhere"]),
        ("quantize - -o out.png", ["<stdin> is not an image"]),
        ("quantize photo.png --frame last", ["--frame must be a number from 0, or all, found 'last'"]),
        ("quantize photo.png --frame 1", ["frame must be less than 1", "photo.png", "found 1"]),
        ("quantize photo.png --frame all -o out.jpg", ["must end in .png or .gif"]),
        ("quantize", ["PHOTO"]),
        ("quantize photo.png -o out.png --colour", ["--colour"]),
        ("demo -o nowhere/out.png", ["no folder", "nowhere"]),
        ("demo -o out.gif", ["must end in .png"]),
        ("dance", ["dance", "quantize", "demo"]),
        ("", ["COMMAND"]),
    ],
)
def test_user_errors(arguments, words, folder):
    before = sorted(os.listdir(folder))
    assert_one_line(run(*arguments.split(), cwd=folder), *words)
    assert sorted(os.listdir(folder)) == before


def test_output_is_checked_before_reading(folder):
    assert_one_line(run("quantize", "text.jpg", "-o", "out.jpg", cwd=folder), "out.jpg")


def test_an_error_keeps_the_old_output(folder):
    (folder / "out.png").write_bytes(b"precious")
    assert_one_line(run("quantize", "text.jpg", "-o", "out.png", cwd=folder), "text.jpg")
    assert (folder / "out.png").read_bytes() == b"precious"


def test_multiline_message_becomes_one_line(folder):
    assert_one_line(run("quantize", "two\nlines.png", "-o", "out.png", cwd=folder), "two lines")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names there are Unicode")
def test_undecodable_file_name(folder):
    name = os.fsdecode(b"caf\xe9.png")
    os.rename(folder / "photo.png", folder / name)
    process = run("quantize", name, "-o", "out.png", cwd=folder)
    assert process.returncode == 0
    assert "caf\\udce9.png" in process.stdout
    process = run("quantize", name, "-o", "out.png", "--json", cwd=folder)
    assert json.loads(process.stdout)["photo"] == name


# ---------------------------------------------------------------- demo, config, version


def test_demo_writes_before_and_after(tmp_path):
    process = run("demo", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    written = tmp_path / "ckmeans-demo.png"
    assert process.stdout.rstrip().endswith(str(written))
    with Image.open(written) as sheet:
        assert sheet.mode == "RGB"
        assert sheet.width > 2 * 480
        assert sheet.height > 320
    assert os.listdir(tmp_path) == ["ckmeans-demo.png"]


def test_demo_json(tmp_path):
    process = run("demo", "-o", "sheet.png", "--json", cwd=tmp_path)
    report = json.loads(process.stdout)
    assert report["output"] == str(tmp_path / "sheet.png")
    assert (report["colors_after"], report["width"], report["height"]) == (16, 480, 320)
    assert (tmp_path / "sheet.png").exists()


def test_version_help_and_config(tmp_path):
    process = run("--version", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (0, f"ckmeans {ckmeans.__version__}\n")
    for arguments in (["--help"], ["quantize", "--help"]):
        process = run(*arguments, cwd=tmp_path)
        assert process.returncode == 0
        assert "usage: ckmeans" in process.stdout
    process = run("config", cwd=tmp_path)
    assert process.returncode == 0
    assert ckmeans.__version__ in process.stdout
    config = json.loads(run("config", "--json", cwd=tmp_path).stdout)
    assert config["version"] == ckmeans.__version__


# ---------------------------------------------------------------- surroundings


def test_missing_pillow_message(folder):
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class NoPillow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'PIL':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoPillow())\n"
    )
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {"PYTHONPATH": os.pathsep.join(paths)}
    for arguments in (["quantize", "photo.png", "-o", "out.png"], ["demo"]):
        process = run(*arguments, cwd=folder, env=env)
        assert_one_line(process, 'pip install "ckmeans-simd[image]"')
    assert run("--version", cwd=folder, env=env).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_exits_with_130(folder):
    code = (
        "import sys, time, ckmeans.cli, ckmeans.image._quantize\n"
        "def wait(*_, **__):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "ckmeans.image._quantize.quantize = wait\n"
        "sys.exit(ckmeans.cli.main(['quantize', 'photo.png', '-o', 'out.png']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "ckmeans: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["quantize photo.png -o out.png", "--help", "config --json"])
def test_closed_output_pipe(arguments, unbuffered, folder):
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "ckmeans", *arguments.split()],
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=120,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (0 if arguments == "--help" else 141, b"")
    assert (folder / "out.png").exists() == arguments.startswith("quantize")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_progress_bar_needs_a_terminal(quiet, folder):
    pytest.importorskip("tqdm")
    pytest.importorskip("pandas")
    import pty
    import termios

    np.savetxt(folder / "t.csv", np.random.default_rng(0).random((50, 2)), delimiter=",")
    for line, unit in {
        "cluster t.csv -k 3": b"restart",
        "cluster t.csv --elbow 1:4": b"step",
        "quantize photo.png -o out.png --n-init 3": b"restart",
    }.items():
        master, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        process = subprocess.run(
            [sys.executable, "-m", "ckmeans", *line.split(), *quiet],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=terminal,
            timeout=120,
        )
        os.set_blocking(master, False)
        try:
            shown = os.read(master, 1 << 16)
        except BlockingIOError:
            shown = b""
        os.close(master)
        os.close(terminal)
        assert process.returncode == 0
        assert (unit in shown) == (not quiet)
        assert (process.stdout == b"") == bool(quiet)


def test_main_returns_the_exit_status(folder, capsys):
    photo, output = str(folder / "photo.png"), str(folder / "out.png")
    assert cli.main(["quantize", photo, "-k", "4", "-o", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["colors_after"] == 4
    assert cli.main(["quantize", photo, "-k", "0", "-o", output]) == 2
    assert cli.main(["--version"]) == 0


def test_out_of_memory_is_one_line(folder, capsys, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("ckmeans.image._quantize.quantize", fail)
    assert cli.main(["quantize", str(folder / "photo.png"), "-o", str(folder / "out.png")]) == 2
    assert capsys.readouterr().err == "ckmeans: out of memory\n"
