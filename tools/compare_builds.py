"""Compares the speed of two installed builds of ckmeans on the workloads of the benchmarks.

    python tools/compare_builds.py BASE_PYTHON HEAD_PYTHON [NAME ...] [--rounds 9] [--most 1.03]
    python tools/compare_builds.py --base-path DIR --head-path DIR [NAME ...]

In the first form each build is what its Python imports; in the second this Python runs both, from folders
made by `pip install --target DIR`. NAME is a workload, a group, or the beginning of a name (--list).

Every round runs each workload once with either build, in alternating order and in fresh processes that never
see the checkout's own package. A process takes the best of several calls with the same seed; their number is
found in the first round, with base, and is then the same for both. Only ratios head / base within a round
are reported, because machines differ, and the same one differs from hour to hour: their median, and the
interval between two order statistics that holds the true median with at least 95 % confidence (it needs 6
rounds; of 9 it is the 2nd to the 8th). Exit status 1 where an interval lies wholly above --most, or where a
build failed.

The workloads are those of `benchmarks/workloads.py`, with fewer rows where a call would take longer than
about 0.3 s (`SHARE`). The machine should be idle.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _add_benchmarks() -> None:
    """Make the package `benchmarks` importable without its parent, where the checkout's ckmeans lies."""
    if "benchmarks" in sys.modules:
        return
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks"] = package
    spec.loader.exec_module(package)


_add_benchmarks()

from benchmarks import machine, worker  # noqa: E402
from benchmarks.data import missing_files  # noqa: E402
from benchmarks.measure import Spread, spread  # noqa: E402
from benchmarks.peers import BASELINE  # noqa: E402
from benchmarks.workloads import Workload, select  # noqa: E402

GROUPS = ("fits", "steps", "restarts", "tiny", "seeding", "prepare", "sparse")
# Share of the rows that is used, by group or by the beginning of a name.
SHARE = {
    "steps": 0.1,
    "fit-1M-3-16": 0.5,
    "fit-500k-16-256": 0.3,
    "fit-1M-3-1000": 0.2,
    "seeding-1M-3-256": 0.2,
    "seeding-100k-32-500": 0.2,
    "prepare": 0.05,
    "sparse": 0.2,
}
STEP_ITERATIONS = 6  # a step is timed within a fit: the difference of two fits is several times as noisy

SAMPLE = 0.005  # seconds: shorter calls are timed many at a time
MIN_CALLS, MAX_CALLS = 3, 200  # samples in a process
PATIENCE = 600  # seconds that a process may take

SIDES = ("base", "head")


class BuildError(RuntimeError):
    """A process with a build under test failed."""


@dataclass(frozen=True)
class Build:
    """A Python, and the folder that it finds ckmeans in (None: where it is installed)."""

    python: str
    path: str | None

    def ask(self, question: dict[str, Any], threads: int | None) -> dict[str, Any]:
        """The answer of a fresh process with this build."""
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        if self.path is not None:
            environment["PYTHONPATH"] = self.path
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        # -P: neither the folder of this script nor the current one is searched for ckmeans
        command = [self.python, "-P", str(Path(__file__).resolve()), "--worker"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command,
                input=json.dumps(question | {"path": self.path}),
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise BuildError(said[-1])
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


# ---- in the process with a build -------------------------------------------------------------------


def serve() -> None:
    """Answer the question on the standard input: which build this is, or how fast it runs a workload."""
    question = json.load(sys.stdin)
    folder = _package_folder(question["path"])
    wanted = _time_workload(question) if "workload" in question else _describe(folder, question["threads"])
    print(json.dumps(wanted))


def _package_folder(path: str | None) -> Path:
    """The folder of the ckmeans under test, without importing it."""
    spec = importlib.util.find_spec("ckmeans")
    if spec is None or spec.origin is None:
        raise ImportError("ckmeans is not installed")
    folder = Path(spec.origin).resolve().parent
    if path is not None and folder.parent != Path(path).resolve():
        raise ImportError(f"ckmeans is imported from {folder}, not from {path}")
    if folder.parent == ROOT:
        raise ImportError("ckmeans is imported from the checkout; install it (pip install --target DIR)")
    return folder


def _describe(folder: Path, threads: int) -> dict[str, Any]:
    """What tells builds and machines apart."""
    import ckmeans

    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".py", ".so", ".pyd"):
            digest.update(file.read_bytes())
    described = machine.describe(threads)
    kept = ("cpu", "flags", "cores", "memory_gib", "system", "python", "ckmeans_config")
    return {
        "build": {"folder": str(folder), "version": ckmeans.__version__, "digest": digest.hexdigest()[:16]},
        "machine": {fact: described[fact] for fact in kept} | {"numpy": described["versions"].get("numpy")},
    }


def _time_workload(question: dict[str, Any]) -> dict[str, Any]:
    workload, share = shortened(select([question["workload"]])[0])
    task = worker.Task(workload, BASELINE, Path(question["data"]), share, question["threads"])
    run, _ = worker.open_task(task, warm=False)
    begin = perf_counter()
    outcome = run(0)
    first = perf_counter() - begin
    loops = 1 if outcome.seconds is not None else max(1, math.ceil(SAMPLE / first))
    count, best, begin = 0, math.inf, perf_counter()
    while count < question["calls"] or (
        not question["calls"]
        and count < MAX_CALLS
        and (count < MIN_CALLS or perf_counter() - begin < question["budget"])
    ):
        start = perf_counter()
        for _ in range(loops):
            outcome = run(0)  # the same seed, thus the same work
        seconds = (perf_counter() - start) / loops
        best = min(best, seconds if outcome.seconds is None else outcome.seconds)
        count += 1
    return {"seconds": best, "calls": count, "engine": outcome.engine}


def shortened(workload: Workload) -> tuple[Workload, float]:
    """The workload as it is timed here, and the share of its rows."""
    if workload.kind == "step":
        workload = replace(workload, kind="fit", iterations=STEP_ITERATIONS)
    beginnings = [name for name in SHARE if workload.name.startswith(name) or workload.group == name]
    return workload, SHARE[max(beginnings, key=len)] if beginnings else 1.0


# ---- in the process that compares ------------------------------------------------------------------


@dataclass
class Comparison:
    """A workload and the best times of each build, a number a round."""

    name: str
    seconds: dict[str, list[float]]
    calls: int = 0
    engines: dict[str, str] | None = None
    trouble: str = ""

    @property
    def ratio(self) -> Spread | None:
        """Of head / base over the rounds that both have done."""
        pairs = list(zip(self.seconds["base"], self.seconds["head"], strict=False))
        return spread([head / base for base, head in pairs]) if pairs else None

    def is_slower(self, most: float) -> bool:
        """Whether the whole interval lies above `most`; False where there are too few rounds for one."""
        ratio = self.ratio
        return ratio is not None and ratio.low is not None and ratio.low > most

    def run_round(self, number: int, builds: dict[str, Build], options: argparse.Namespace) -> None:
        """Run both builds; which one begins alternates."""
        found = {}
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            question = {
                "workload": self.name,
                "calls": self.calls,
                "data": str(options.data.resolve()),
                "threads": options.threads or machine.usable_cores(),
                "budget": options.budget,
            }
            try:
                found[side] = builds[side].ask(question, options.threads)
            except (BuildError, subprocess.TimeoutExpired) as error:
                self.trouble = f"{side} failed: {error}"
                return
            self.calls = self.calls or found[side]["calls"]
        for side in SIDES:
            self.seconds[side].append(found[side]["seconds"])
        self.engines = {side: found[side]["engine"] for side in SIDES}


def main() -> int:
    """Compare the two builds and print the table."""
    if sys.argv[1:] == ["--worker"]:
        serve()
        return 0
    options = _parser().parse_args()
    try:
        builds, names = _builds(options)
        chosen = select(names or list(GROUPS))
    except ValueError as error:
        print(f"compare_builds: {error}", file=sys.stderr)
        return 2
    if options.list:
        _list(chosen)
        return 0
    try:
        facts = _facts(builds, options)
        comparisons = _earlier(options, facts)
    except (BuildError, ValueError) as error:
        print(f"compare_builds: {error}", file=sys.stderr)
        return 2
    compared = []
    for workload in chosen:
        if missing := missing_files(workload.data, options.data):
            print(f"{workload.name}: skipped, the data folder has no {missing[0]}", file=sys.stderr)
            continue
        new = Comparison(workload.name, {side: [] for side in SIDES})
        compared.append(comparisons.setdefault(workload.name, new))
    _run_rounds(compared, comparisons, builds, options, facts)
    print(text(compared, facts, options.most))
    return int(any(each.trouble or each.is_slower(options.most) for each in compared))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], usage="%(prog)s [BASE_PYTHON HEAD_PYTHON] [NAME ...] [options]"
    )
    parser.add_argument("arguments", nargs="*", metavar="BASE_PYTHON HEAD_PYTHON NAME")
    parser.add_argument("--base-path", metavar="DIR", help="folder with the build to compare with")
    parser.add_argument("--head-path", metavar="DIR", help="folder with the build in question")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--most", type=float, default=1.03, help="largest ratio that the interval may lie above (1.03)"
    )
    parser.add_argument("--threads", type=int, help="threads of each build (default: its own default)")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of calls in a process (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the times here, after every round")
    parser.add_argument("--resume", action="store_true", help="go on with the rounds that FILE has")
    parser.add_argument("--list", action="store_true", help="list the workloads and stop")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", metavar="DIR")
    return parser


def _builds(options: argparse.Namespace) -> tuple[dict[str, Build], list[str]]:
    """The two builds, and the names that are left of the arguments."""
    paths, arguments = (options.base_path, options.head_path), options.arguments
    if options.list and not (len(arguments) > 1 and all(map(os.path.isfile, arguments[:2]))):
        return {}, arguments
    if None not in paths:
        pythons, names = (sys.executable, sys.executable), arguments
    elif paths != (None, None):
        raise ValueError("--base-path and --head-path go together")
    elif len(arguments) < 2:
        raise ValueError("needs BASE_PYTHON HEAD_PYTHON, or --base-path and --head-path")
    else:
        pythons, names = arguments[:2], arguments[2:]
    for file in (*pythons, *filter(None, paths)):
        if not Path(file).exists():
            raise ValueError(f"there is no {file}")
    # absolute, but links not followed: the link of a virtual environment is what tells it from others
    found = [
        Build(os.path.abspath(python), path and os.path.abspath(path))
        for python, path in zip(pythons, paths, strict=True)
    ]
    return dict(zip(SIDES, found, strict=True)), names


def _list(chosen: list[Workload]) -> None:
    for workload in chosen:
        _, share = shortened(workload)
        print(f"{workload.name:36}{workload.group:12}{share:.0%} of {workload.data}")


def _facts(builds: dict[str, Build], options: argparse.Namespace) -> dict[str, Any]:
    """What must be equal for two results to belong together."""
    threads = options.threads or machine.usable_cores()
    answers = {side: build.ask({"threads": threads}, options.threads) for side, build in builds.items()}
    facts = {side: answer["build"] for side, answer in answers.items()}
    return facts | {
        "machine": answers["base"]["machine"],
        "threads": threads,
        "shares": SHARE,
        "budget": options.budget,
    }


def _earlier(options: argparse.Namespace, facts: dict[str, Any]) -> dict[str, Comparison]:
    """What the JSON file has already, by the name of the workload."""
    if not (options.resume and options.json and options.json.exists()):
        return {}
    stored = json.loads(options.json.read_text())
    for name, fact in json.loads(json.dumps(facts)).items():
        if stored["facts"].get(name) != fact:
            raise ValueError(f"{options.json} was measured with another {name}")
    found = [Comparison(**entry) for entry in stored["workloads"]]
    return {each.name: each for each in found if not each.trouble}


def _run_rounds(
    compared: list[Comparison],
    kept: dict[str, Comparison],
    builds: dict[str, Build],
    options: argparse.Namespace,
    facts: dict[str, Any],
) -> None:
    """Round by round through all workloads, so that a slow hour is shared by all of them."""
    begin = perf_counter()
    for number in range(options.rounds):
        for each in compared:
            if each.trouble or len(each.seconds["base"]) > number:
                continue
            each.run_round(number, builds, options)
        if options.json:
            entries = [asdict(each) for each in kept.values()]
            options.json.write_text(json.dumps({"facts": facts, "workloads": entries}, indent=1) + "\n")
        print(f"round {number + 1}: {perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)


def text(compared: list[Comparison], facts: dict[str, Any], most: float) -> str:
    """The table in Markdown, and what it is about."""
    about = facts["machine"]
    lines = [
        f"{about['cpu']} ({' '.join(about['flags'])}), {facts['threads']} threads, Python {about['python']}",
        *(f"{side}: {facts[side]['version']}, {facts[side]['digest']}" for side in SIDES),
        "",
        "| workload | base | head / base | 95 % interval | rounds | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in compared:
        ratio = each.ratio
        cells = [each.name, *["-"] * 4, each.trouble]
        if ratio is not None:
            cells[1] = f"{min(each.seconds['base']) * 1e3:.4g} ms"
            cells[2] = f"{ratio.median:.3f}"
            cells[4] = str(len(each.seconds["head"]))
            if ratio.low is not None:
                cells[3] = f"{ratio.low:.3f} to {ratio.high:.3f}"
            cells[5] = each.trouble or _remark(each, most)
        lines.append(f"| {' | '.join(cells)} |")
    slower = sum(each.is_slower(most) for each in compared)
    unsure = sum(each.ratio is None or each.ratio.low is None for each in compared)
    lines += ["", f"{slower} of {len(compared)} workloads slower: their whole interval lies above {most:g}."]
    if unsure:
        lines.append(f"{unsure} not judged: an interval needs 6 rounds.")
    return "\n".join(lines)


def _remark(each: Comparison, most: float) -> str:
    """Whether it got slower, and whether another engine ran."""
    remarks = ["**slower**"] if each.is_slower(most) else []
    engines = each.engines or {}
    if engines.get("base") != engines.get("head"):
        remarks.append(f"{engines['base']}, now {engines['head']}")
    return ", ".join(remarks)


if __name__ == "__main__":
    sys.exit(main())
