"""Results of random shapes: one JSON line each, and a summary of how good the choices of "auto" were."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Line, fastest
from benchmarks.shapes import LIMITS
from benchmarks.workload import Workload

FACTS = ("cpu", "model", "flags", "threads", "versions")  # of the machine, the same for all lines of a file
WORST = 20
Record = dict[str, Any]


def record(seed: int, number: int, workload: Workload, lines: Sequence[Line]) -> Record:
    """Return what was measured of one shape, ready for JSON."""
    data, own = workload.data, lines[0]
    engine = fastest(workload.goals[0], workload, lines)
    peer = fastest(workload.goals[-1], workload, lines)
    found: Record = {"seed": seed, "number": number, "kind": workload.name.split("-")[-1]}
    found |= {name: getattr(data, name) for name in ("m", "n", "dtype")}
    found |= {"K": workload.K, "iterations": workload.iterations, "data": repr(data)}
    found |= {"engine": own.engine, "n_iter": own.n_iter, "trouble": own.trouble}
    found["seconds"] = statistics.median(own.seconds) if own.seconds else None
    if engine and engine.ratio:
        best, least, most = engine.ratio.median, engine.ratio.least, engine.ratio.most
        found |= {"best": engine.name, "over": 1 / best, "over_range": [1 / most, 1 / least]}
    if peer and peer.ratio:
        ratio = peer.ratio
        found |= {"peer": peer.name, "gain": ratio.median, "gain_range": [ratio.least, ratio.most]}
    found["contenders"] = {line.name: _contender(line) for line in lines}
    return found


def _contender(line: Line) -> Record:
    ratio = line.ratio.median if line.ratio else None
    return {"seconds": line.seconds, "ratio": ratio, "n_iter": line.n_iter, "trouble": line.trouble}


def read(path: Path, machine: Record) -> list[Record]:
    """Read the records of a file, the last one of each shape; the machine must be the same."""
    head, *rest = path.read_text().splitlines()
    known, now = json.loads(head)["machine"], json.loads(json.dumps(machine))
    for fact in FACTS:
        if known[fact] != now[fact]:
            raise ValueError(f"was measured with other {fact}")
    found = [each for each in map(_parsed, rest) if each]
    return list({key(each): each for each in found}.values())


def _parsed(line: str) -> Record | None:
    """Return the record of a line, None where an interruption cut it short."""
    try:
        found: Record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found


def key(found: Record) -> tuple[int, int]:
    """Return what names a shape: its seed and its number."""
    return found["seed"], found["number"]


def append(path: Path, machine: Record, found: Record) -> None:
    """Add a record to the file; the first line of a new file describes the machine."""
    if not path.exists():
        path.write_text(json.dumps({"machine": machine}, default=str) + "\n")
    cut_short = not path.read_text().endswith("\n")
    with path.open("a") as file:
        file.write(cut_short * "\n" + json.dumps(found) + "\n")


def summary(records: Iterable[Record]) -> str:
    """Return shares and the worst shapes as Markdown."""
    all_of_them = list(records)
    compared = [each for each in all_of_them if "over" in each]
    against = [each for each in all_of_them if "gain" in each]
    failed = [each for each in all_of_them if each["trouble"]]
    parts = [f"{len(all_of_them)} shapes, {len(failed)} of them failed.\n"]
    for limit in LIMITS:
        of_medians = [each["over"] <= limit for each in compared]
        of_rounds = [each["over_range"][1] <= limit for each in compared]
        parts.append(
            f'- "auto" takes at most {limit:g} times as long as the best engine: {_share(of_medians)}'
            f" (in every round: {_share(of_rounds)})"
        )
    of_medians = [each["gain"] >= 1 for each in against]
    of_rounds = [each["gain_range"][0] >= 1 for each in against]
    parts.append(
        f"- not slower than the fastest peer: {_share(of_medians)} (in every round: {_share(of_rounds)})"
    )
    if against:
        parts.append(f"- median of fastest peer / auto: {statistics.median(e['gain'] for e in against):.3g}")
    slow = sorted((each for each in against if each["gain"] < 1), key=lambda each: each["gain"])
    parts += ["", _by_engine(compared), "The worst against the best engine:\n"]
    parts += [_table(sorted(compared, key=lambda each: -each["over"])[:WORST])]
    parts += ["The worst that are slower than a peer:\n", _table(slow[:WORST])] if slow else []
    for each in failed:
        parts.append(f"- seed {each['seed']}, number {each['number']}: {each['trouble']}")
    return "\n".join(parts)


def line_text(found: Record) -> str:
    """Describe one record on a line."""
    if found["trouble"]:
        return f"{found['number']:4} {found['trouble']}"
    over = f"{found['over']:.2f} of {found['best']}" if "over" in found else "-"
    gain = f"{found['peer']} {found['gain']:.3g}" if "gain" in found else "no peer"
    return (
        f"{found['number']:4} {_shape(found):42} {found['engine']:7} {found['seconds']:.3g} s, {over}, {gain}"
    )


def _shape(found: Record) -> str:
    dtype = " f64" if found["dtype"] == "float64" else ""
    return f"{found['m']} x {found['n']}, K={found['K']}, {found['iterations']} it, {found['kind']}{dtype}"


def _by_engine(compared: Sequence[Record]) -> str:
    rows = [("auto took", "shapes", f"within {LIMITS[0]:g}", "worst")]
    for engine in sorted({each["engine"] for each in compared}):
        over = [each["over"] for each in compared if each["engine"] == engine]
        near = _share([ratio <= LIMITS[0] for ratio in over])
        rows.append((engine, str(len(over)), near, f"{max(over):.2f}"))
    return _markdown(rows)


def _table(found: Sequence[Record]) -> str:
    rows = [("seed, number", "shape", "auto took", "best engine", "auto / best", "peer", "peer / auto")]
    for each in found:
        best = ("", "")
        if "over" in each:
            best = (each["best"].removeprefix("ckmeans-"), _ranged(each["over"], each["over_range"]))
        peer = (each["peer"], _ranged(each["gain"], each["gain_range"])) if "gain" in each else ("", "")
        name = f"{each['seed']}, {each['number']}"
        rows.append((name, _shape(each), each["engine"], *best, *peer))
    return _markdown(rows)


def _ranged(median: float, ends: Sequence[float]) -> str:
    return f"{median:.3g} ({ends[0]:.3g} to {ends[1]:.3g})"


def _share(verdicts: Sequence[bool]) -> str:
    return f"{sum(verdicts) / len(verdicts):.1%} of {len(verdicts)}" if verdicts else "not measured"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)) + "\n"
