"""The lines that the subcommands on tables print."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from typing import Any

from ckmeans.cli._columns import Chosen
from ckmeans.cli._dialect import BLANKS, TABS
from ckmeans.cli._features import Points
from ckmeans.cli._table import Table

__all__ = ["centroid_table", "elbow_table", "notes", "print_notes", "table_figures", "table_line"]

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", BLANKS: "blanks", TABS: "runs of tabs"}
_MOST = 12  # names that a line lists


def table_figures(path: str, table: Table, chosen: Chosen, points: Points, scaled: bool) -> dict[str, Any]:
    """Return what every report says about a table."""
    return {
        "table": path,
        "rows": len(table.frame),
        "rows_without_label": points.n_without_label,
        "values_filled": points.n_filled,
        "columns": [table.names[j] for j in chosen.indices],
        "left_out": list(chosen.left_out),
        "left_out_why": chosen.left_out,
        "class_codes": chosen.class_codes,
        "repeated_ids": chosen.repeated_ids,
        "scaled": scaled,
        "read_as": {**table.about, "signs": _signs(table, chosen)},
    }


def _signs(table: Table, chosen: Chosen) -> dict[str, list[str]]:
    columns = zip(chosen.indices, chosen.columns, strict=True)
    return {table.names[j]: column.signs for j, column in columns if column.signs}


def table_line(figures: dict[str, Any]) -> str:
    """Return the line that names the table and what was used of it."""
    left_out = f" (left out: {', '.join(figures['left_out'])})" if figures["left_out"] else ""
    scaled = ", each scaled to variance 1" if figures["scaled"] else ""
    size = f"{figures['rows']} rows, {len(figures['columns'])} columns"
    return f"table     {figures['table']}: {size}{left_out}{scaled}"


def notes(figures: dict[str, Any], *, with_plain: bool = True) -> list[str]:
    """Return what was guessed and decided, a line each; without `with_plain` only what may surprise."""
    lines = (
        [f"read as   {_read_as(figures['read_as'])}"] if with_plain or _surprises(figures["read_as"]) else []
    )
    if figures["left_out"]:
        why = [f"{name} ({reason})" for name, reason in figures["left_out_why"].items()]
        lines.append(f"left out  {_listed(why)}; --columns takes what it names")
    if figures["class_codes"]:
        names = _listed(figures["class_codes"])
        lines.append(f"codes     {names}: few whole numbers, perhaps classes; --drop leaves columns out")
    if figures["repeated_ids"]:
        names = _listed(figures["repeated_ids"])
        lines.append(
            f"names     {names}: named like an identifier, but values repeat; --drop or --id leaves it out"
        )
    if figures["rows_without_label"]:
        lines.append(f"missing   {figures['rows_without_label']} rows lack a value and have no cluster")
    if figures["values_filled"]:
        lines.append(f"missing   {figures['values_filled']} missing values were filled")
    return lines


def print_notes(figures: dict[str, Any]) -> None:
    """Print what may surprise on stderr."""
    for line in notes(figures, with_plain=False):
        print("ckmeans:", " ".join(line.split()), file=sys.stderr)


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _read_as(about: dict[str, Any]) -> str:
    if about["format"] != "text":
        parts = [about["format"]]
        parts += [f"sheet {about['sheet']!r} of {about['sheets']}"] if about.get("sheets", 1) > 1 else []
        parts += [f"array {about['array']!r} of {about['arrays']}"] if about.get("arrays", 1) > 1 else []
    else:
        decimal = "comma" if about["decimal"] == "," else "point"
        separator = _SEPARATORS.get(about["separator"], repr(about["separator"]))
        parts = [f"columns separated by {separator}", f"decimal {decimal}", about["encoding"].upper()]
        parts += [f"comments after {about['comment']}"] if about["comment"] else []
    parts += [_header(about)] if "first_record" in about else []
    parts += ["row names in the first column"] if about.get("row_names") else []
    signs = list(dict.fromkeys(repr(sign) for signs in about["signs"].values() for sign in signs))
    parts += [f"numbers with {_listed(signs)}"] if signs else []
    return ", ".join(parts)


def _header(about: dict[str, Any]) -> str:
    if about.get("named_by_comment"):
        return "names in a comment"
    if not about["header"]:
        skipped = f" (first record in line {about['first_record']})" if about["first_record"] > 1 else ""
        return f"no header{skipped}"
    lines = about["header"]
    text = (
        f"header in line {lines[0]}" if len(lines) == 1 else f"header in lines {', '.join(map(str, lines))}"
    )
    return (
        text
        if about["first_record"] == lines[-1] + 1
        else f"{text}, records from line {about['first_record']}"
    )


def _surprises(about: dict[str, Any]) -> bool:
    """Return whether a table was read in another way than most are."""
    if about["format"] != "text":
        return about.get("sheets", 1) > 1 or about.get("arrays", 1) > 1 or bool(about["signs"])
    plain = (about["decimal"], about["encoding"], about["comment"]) == (".", "utf-8", None)
    plain = (
        plain and about["separator"] in (",", "\t") and about["header"] == [1] and about["first_record"] == 2
    )
    return not plain or bool(about["signs"]) or about["row_names"]


# ---- tables of figures -------------------------------------------------------------------------------


def elbow_table(figures: dict[str, Any]) -> list[str]:
    """Return a line for each number of clusters, and what the curve says."""
    from ckmeans._elbow import describe_suggestions

    lines = ["", f"{'K':>5} {'J':>14} {'silhouette':>11}"]
    for K, J, silhouette in zip(figures["ks"], figures["distortions"], figures["silhouette"], strict=True):
        mark = "  <- elbow" if figures["knee"] == K else ""
        lines.append(f"{K:>5} {J:>14.6g} {'' if silhouette is None else f'{silhouette:.3f}':>11}{mark}")
    if figures["knee"] is None:
        lines.append("no clear elbow: choose K with -k")
    return [*lines, f"suggested K: {describe_suggestions(figures['suggestions'])}"]


def centroid_table(figures: dict[str, Any]) -> list[str]:
    """Return a line for each cluster: its size and its centroid, in the units of the table."""
    shown = figures["columns"][:8]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    more = ["..."] if len(figures["columns"]) > 8 else []
    writer.writerow(["cluster", "rows", *shown, *more])
    for k, (count, centroid) in enumerate(zip(figures["counts"], figures["centroids"], strict=True)):
        writer.writerow([k, count, *(f"{value:.6g}" for value in centroid[:8]), *more])
    return ["", *text.getvalue().expandtabs(12).splitlines()]
