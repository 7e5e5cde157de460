"""One table of what all benchmarks in a folder found: ours, the best peer, the ratio, and what was aimed at.

python benchmarks/speed/summary.py FOLDER
"""

import argparse
import json
from pathlib import Path

from results import table_text

from nasoseg.files import whole_file


def main() -> None:
    """Gather, print, and write ``summary.md`` beside the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not records:
        raise SystemExit(f"{folder}: found no result, expected .json files that the benchmarks wrote")
    rows = [headline for record in records for headline in record["headlines"]]
    lines = [f"# Speed: {folder.name}", "", records[0]["machine"]["line"], ""]
    lines += [table_text({"title": "Ratios over 1: nasoseg is faster", "rows": rows, "note": ""}), ""]
    for record in records:
        lines += [f"- {record['title']}: `{record['machine']['command']}`, load {record['machine']['load']:.1f}"]
        lines += [f"  - left out: {line}" for line in record["left_out"]]
    text = "\n".join(lines) + "\n"
    print(text)
    with whole_file(folder / "summary.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
