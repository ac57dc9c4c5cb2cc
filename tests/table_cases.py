"""Run `ckmeans` on tables that tests write, and check its errors."""

from __future__ import annotations

import csv
import json

from ckmeans.cli import main


def run(capsys, command, *arguments):
    """Return (exit status, stdout, stderr) of a subcommand."""
    status = main([command, *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def figures(capsys, command, *arguments):
    """Return the JSON of a subcommand that must succeed without a word on stderr."""
    status, out, err = run(capsys, command, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(capsys, command, *arguments):
    """Return the error of a subcommand, which must be one line."""
    status, out, err = run(capsys, command, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("ckmeans: ")
    assert err.count("\n") == 1
    return err


def clusters_in(path, name="cluster", separator=","):
    """Return the column of clusters of a written table, as text."""
    with open(path, newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file, delimiter=separator)]
