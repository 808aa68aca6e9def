"""Prints the table of what `make kills` has counted: `python table.py FOLDER`."""

import json
import pathlib
import sys


def main(folder: str) -> None:
    print(
        "| writer | output | calls | killed | ENOSPC | EIO | EACCES | short | wrong |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    total = [0, 0, 0, 0, 0, 0]
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        name, _, before = path.stem.rpartition("-")
        counts = json.loads(path.read_text())
        faults = [
            counts["faults"].get(k, 0) for k in ("ENOSPC", "EIO", "EACCES", "short")
        ]
        kills = sum(counts["kills"].values())
        row = [kills, *faults, len(counts["findings"])]
        total = [one + other for one, other in zip(total, row, strict=True)]
        cells = [f"`{name}`", before, counts["calls"], *row]
        print("| " + " | ".join(map(str, cells)) + " |")
    print("| all | | | " + " | ".join(map(str, total)) + " |")


main(*sys.argv[1:])
