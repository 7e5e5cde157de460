"""``nasoseg report``: one HTML page of a run or a benchmark."""

import argparse
from pathlib import Path

HELP = """write one HTML page of tested runs: tables, statistics, figures, learning curves, worst cases

RUN is a run folder that was tested, or a folder of such runs (a benchmark's), or a metrics.csv; several are compared.
The page needs no network and no other file, and can be sent as it is. It holds CT slices of five patients at most, and
no path of this machine."""
EXAMPLE = "nasoseg report runs/openkbp --reference two_stage --out reports/openkbp"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folder, benchmark folder, metrics.csv")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of report.html; made if missing")
    parser.add_argument(
        "--store", metavar="STORE", help="store of the runs, for CT and truth (default: the one that they name)"
    )
    parser.add_argument("--reference", metavar="METHOD", help="what the others are compared with (default: the first)")
    parser.add_argument(
        "--organs", metavar="A,B", type=_names, help="structures of the headline mean (default: all structures)"
    )
    parser.add_argument("--force", action="store_true", help="write over DIR/report.html")


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    from nasoseg.progress import ProgressDisplay
    from nasoseg.report.page import write_page

    with ProgressDisplay("report") as progress:
        path = write_page(
            arguments.runs,
            arguments.out,
            store=arguments.store,
            reference=arguments.reference,
            organs=arguments.organs,
            force=arguments.force,
            progress=progress,
        )
    print(f"report: {path} ({path.stat().st_size / 2**20:.1f} MiB)")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
