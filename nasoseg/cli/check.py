"""``nasoseg check``: verify a store."""

import argparse
import sys
from pathlib import Path

HELP = "verify a store: format, shapes, index, checksums of every patient"
EXAMPLE = "nasoseg check openkbp.h5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("store", metavar="STORE", type=Path, help="HDF5 store made by `nasoseg prepare`")


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 if there is one."""
    from nasoseg.data.embedded import open_store
    from nasoseg.progress import ProgressDisplay

    with open_store(arguments.store) as store, ProgressDisplay("checking") as progress:
        findings = store.check_header()
        for done, key in enumerate(store.keys, start=1):
            findings += store.check(key)
            progress(key, done, len(store.keys))
        patients = len(store.keys)
    for finding in findings:
        print(f"{arguments.store}: {finding}")
    if findings:
        print(
            f"{len(findings)} findings: copy the store again from where it is whole, or prepare it again",
            file=sys.stderr,
        )
        return 1
    print(f"{arguments.store}: {patients} patients, all checksums right")
    return 0
