"""``nasoseg check``: verify a store."""

import argparse
import sys
from pathlib import Path

from nasoseg.cli.output import add_json, add_quiet, print_json

HELP = "verify a store: format, shapes, index, checksums, contours that do not lie on their CT"
EXAMPLE = "nasoseg check openkbp.h5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("store", metavar="STORE", type=Path, help="HDF5 store made by `nasoseg prepare`")
    add_json(parser)
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding and warning; 1 if there is a finding."""
    from nasoseg.data.embedded import open_store
    from nasoseg.data.misplaced import contour_warnings
    from nasoseg.progress import ProgressDisplay

    with open_store(arguments.store) as store, ProgressDisplay("checking", quiet=arguments.quiet) as progress:
        findings, warnings = store.check_header(), []
        for done, key in enumerate(store.keys, start=1):
            found = store.check(key)
            findings += found
            if not found:
                warnings += [f"{key}: {said}" for said in contour_warnings(store.patient(key), store.structures)]
            progress(key, done, len(store.keys))
        patients = len(store.keys)
    if arguments.json:
        whole = {"store": arguments.store, "patients": patients, "whole": not findings}
        print_json(whole | {"findings": findings, "warnings": warnings})
    else:
        for finding in findings:
            print(f"{arguments.store}: {finding}", file=sys.stderr if arguments.quiet else sys.stdout)
        if not arguments.quiet:
            for warning in warnings:
                print(f"{arguments.store}: warning: {warning}")
    if findings:
        print(
            f"{len(findings)} findings: copy the store again from where it is whole, or prepare it again",
            file=sys.stderr,
        )
        return 1
    if not (arguments.json or arguments.quiet):
        print(f"{arguments.store}: {patients} patients, all checksums right")
    return 0
