"""``nasoseg prepare``: make a store from folders of studies."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nasoseg.cli.info import inventory_table
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # NumPy and HDF5 load slowly, and the dispatcher imports every command
    from nasoseg.data.prepare import Summary

HELP = "make a store (one HDF5 file) from folders of CT scans and masks"
EXAMPLE = "nasoseg prepare nifti studies/ openkbp.h5 --absent PTV56,PTV63,PTV70"

_LAYOUTS = """\
ROOT is laid out as
  <patient>/ct.nii.gz and <patient>/segmentations/<structure>.nii.gz, one mask a file, or
  imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz and dataset.json (nnU-Net's raw layout).
NIfTI (.nii.gz, .nii), NRRD (.nrrd) and MetaImage (.mha, .mhd) are read; CT is in Hounsfield units.
A mask that is missing means: not annotated. See --absent.
A run that was interrupted goes on where it was.

example: """


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    nifti = sources.add_parser(
        "nifti",
        help="read NIfTI, NRRD or MetaImage files",
        description="Make a store from NIfTI, NRRD or MetaImage files.",
        epilog=_LAYOUTS + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = nifti.add_argument
    add("root", metavar="ROOT", type=Path, help="folder of the studies")
    add("out", metavar="OUT.h5", type=Path, help="store to write")
    listed = "A,B"
    add(
        "--absent",
        metavar=listed,
        action="append",
        default=[],
        help="structures for which a missing or empty mask means annotated and empty (repeatable)",
    )
    add("--structures", metavar=listed, action="append", help="structures to take, in this order (default: all)")
    add("--rename", metavar="OLD=NEW", action="append", default=[], help="other name for a structure (repeatable)")
    add("--pixel-mm", metavar="MM", type=float, help="resample the plane to square pixels of this side")
    add(
        "--size",
        metavar="N",
        type=int,
        help="N x N pixels: with --pixel-mm cropped or padded about the centre, alone the whole field of view",
    )
    add("--workers", metavar="N", type=int, help="processes (default: one a core, at most 8)")
    add("--skip-bad", action="store_true", help="leave out patients that cannot be used, instead of failing")
    add(
        "--pseudonym-key",
        metavar="FILE",
        type=Path,
        help="make the patients' keys from their names with the secret in FILE (made if it does not exist)",
    )
    add("--force", action="store_true", help="overwrite OUT.h5")


def run(arguments: argparse.Namespace) -> int:
    """Prepare the store and print its summary."""
    from nasoseg.data.prepare import prepare_nifti
    from nasoseg.progress import ProgressDisplay

    with ProgressDisplay("preparing") as progress:
        summary = prepare_nifti(
            arguments.root,
            arguments.out,
            absent=_split(arguments.absent),
            structures=_split(arguments.structures) if arguments.structures is not None else None,
            rename=_pairs(arguments.rename),
            pixel_mm=arguments.pixel_mm,
            size=arguments.size,
            workers=arguments.workers,
            force=arguments.force,
            skip_bad=arguments.skip_bad,
            pseudonym_key=arguments.pseudonym_key,
            progress=progress,
        )
    print(summary_text(summary, arguments.out))
    return 0


def _split(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _pairs(values: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        old, separator, new = (part.strip() for part in value.partition("="))
        if not (old and separator and new) or old in pairs:
            raise NasosegError(f"--rename {value!r}: expected OLD=NEW, each OLD once, such as 'Cord=SpinalCord'")
        pairs[old] = new
    return pairs


def summary_text(summary: "Summary", out: Path, *, most: int = 20) -> str:
    """Return what became of the studies as text: the store's inventory, who was left out, notes.

    Args:
        summary: What ``prepare_nifti`` returned.
        out: The store.
        most: Lines of notes and of patients left out that are printed.
    """
    lines = [f"{out}", "", inventory_table(summary.inventory), ""]
    if summary.reused:
        lines.append(f"{summary.reused} patients had been finished by an earlier run.")
    if summary.pseudonymous:
        lines.append("Patients' keys are pseudonyms made with the secret; keep it safe and apart from the store.")
    else:
        lines.append(
            "Patients' keys are the names of their folders or cases: nobody may be recognisable by them"
            " (else: --pseudonym-key)."
        )
    for title, items in (
        (f"left out: {len(summary.left_out)} patients", [f"{n}: {why}" for n, why in sorted(summary.left_out.items())]),
        (f"notes: {len(summary.notes)}", summary.notes),
    ):
        if items:
            lines += ["", title, *(f"  {item}" for item in items[:most])]
            lines += [f"  and {len(items) - most} more"] * (len(items) > most)
    return "\n".join(lines)
