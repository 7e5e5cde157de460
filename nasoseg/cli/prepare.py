"""``nasoseg prepare``: make a store from folders of studies."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.cli.info import inventory_table
from nasoseg.cli.output import add_quiet
from nasoseg.errors import NasosegError
from nasoseg.safe_names import printable

if TYPE_CHECKING:  # NumPy and HDF5 load slowly, and the dispatcher imports every command
    from nasoseg.data.prepare import Summary

HELP = "make a store (one HDF5 file) from folders of CT scans and masks, or from DICOM exports"
EXAMPLE = "nasoseg prepare nifti studies/ openkbp.h5 --absent PTV56,PTV63,PTV70"
EXAMPLE_DICOM = "nasoseg prepare dicom export/ clinic.h5 --structures structures.yaml --pseudonym-key ~/clinic.key"

_NIFTI = """\
ROOT is laid out as
  <patient>/ct.nii.gz and <patient>/segmentations/<structure>.nii.gz, one mask a file, or
  imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz and dataset.json (nnU-Net's raw layout).
NIfTI (.nii.gz, .nii), NRRD (.nrrd) and MetaImage (.mha, .mhd) are read; CT is in Hounsfield units.
A mask that is missing means: not annotated. See --absent.
A run that was interrupted goes on where it was.

example: """

_DICOM = """\
ROOT is a folder of any depth and any number of patients, or a zip. Files are told apart by what they hold.

What is taken: every CT of two slices or more with an RTSTRUCT or DICOM SEG that was drawn on it, which is told by the
series that it names, else by the frame of reference, and by PatientID. CTs without contours and contours without
their CT are left out, and listed.
  several CTs of one patient   each is a scan of its own; --series UID takes one of them
  several files on one CT      are taken together; a structure that two of them draw differently is an error
  several ROIs, one structure  the plainest name wins (an exact one before a synonym); two alike are an error
Structures: `nasoseg structures ROOT` lists the names of ROIs and what they mean; --structures FILE adds your clinic's.
A structure without a ROI, or whose ROI is empty, is not annotated in that scan. See --absent.

Privacy: the store holds no name, ID, date, UID or path. Its keys are pseudonyms, made of PatientID with a secret:
that of --pseudonym-key, or one that is made for this store, kept beside it while it is unfinished, and then thrown
away. --key-table FILE writes which patient is behind each key. The screen shows pseudonyms, and the paths of what is
left out.
A run that was interrupted goes on where it was.

example: """


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    nifti = _source(sources, "nifti", "read NIfTI, NRRD or MetaImage files", "folder of the studies", _NIFTI + EXAMPLE)
    add, listed = nifti.add_argument, "A,B"
    add(
        "--absent",
        metavar=listed,
        action="append",
        default=[],
        help="structures for which a missing or empty mask means annotated and empty (repeatable)",
    )
    add("--structures", metavar=listed, action="append", help="structures to take, in this order (default: all)")
    add("--rename", metavar="OLD=NEW", action="append", default=[], help="other name for a structure (repeatable)")
    add(
        "--pseudonym-key",
        metavar="FILE",
        type=Path,
        help="make the patients' keys from their names with the secret in FILE (made if it does not exist)",
    )
    _add_common(nifti, "overwrite OUT.h5")

    what = "read CT with RTSTRUCT or DICOM SEG"
    dicom = _source(sources, "dicom", what, "folder or zip of the DICOM files", _DICOM + EXAMPLE_DICOM)
    add = dicom.add_argument
    add("--structures", metavar="FILE", type=Path, help="your structures file (default: the names that are shipped)")
    add(
        "--only",
        metavar=listed,
        action="append",
        default=[],
        help="structures to take, in this order, or one set: paper, openkbp, segrap2023 (default: all that occur)",
    )
    add(
        "--absent",
        metavar=listed,
        action="append",
        default=[],
        help="structures for which no or an empty ROI means annotated and empty (repeatable)",
    )
    add(
        "--series",
        metavar="UID",
        action="append",
        default=[],
        help="take this series (of CT or contours) where its patient (or CT) has several (repeatable)",
    )
    add(
        "--resample", action="store_true", help="put tilted or uneven scans onto a straight grid; else they are refused"
    )
    add(
        "--pseudonym-key",
        metavar="FILE",
        type=Path,
        help="secret of the pseudonyms (made if it does not exist): a patient's keys then begin alike in every store",
    )
    add("--key-table", metavar="FILE", type=Path, help="write a CSV that leads from the keys back to the patients")
    _add_common(dicom, "overwrite OUT.h5 and the key table")


def _source(sources: Any, name: str, what: str, root: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = sources.add_parser(
        name,
        help=what,
        description=f"Make a store: {what}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", type=Path, help=root)
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="store to write")
    return parser


def _add_common(parser: argparse.ArgumentParser, force: str) -> None:
    add = parser.add_argument
    add("--pixel-mm", metavar="MM", type=float, help="resample the plane to square pixels of this side")
    add(
        "--size",
        metavar="N",
        type=int,
        help="N x N pixels: with --pixel-mm cropped or padded about the centre, alone the whole field of view",
    )
    add("--workers", metavar="N", type=int, help="processes (default: one a core, at most 8)")
    add("--skip-bad", action="store_true", help="leave out patients that cannot be used, instead of failing")
    add("--force", action="store_true", help=force)
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prepare the store and print its summary."""
    from nasoseg.data.prepare import prepare_dicom, prepare_nifti
    from nasoseg.progress import ProgressDisplay

    common: dict[str, Any] = {
        "absent": _split(arguments.absent),
        "pixel_mm": arguments.pixel_mm,
        "size": arguments.size,
        "workers": arguments.workers,
        "force": arguments.force,
        "skip_bad": arguments.skip_bad,
        "pseudonym_key": arguments.pseudonym_key,
    }
    with ProgressDisplay("preparing", quiet=arguments.quiet) as progress:
        if arguments.source == "dicom":
            summary = prepare_dicom(
                arguments.root,
                arguments.out,
                structures=arguments.structures,
                only=_split(arguments.only),
                series=arguments.series,
                resample=arguments.resample,
                key_table=arguments.key_table,
                progress=progress,
                **common,
            )
        else:
            summary = prepare_nifti(
                arguments.root,
                arguments.out,
                structures=_split(arguments.structures) if arguments.structures is not None else None,
                rename=_pairs(arguments.rename),
                progress=progress,
                **common,
            )
    if arguments.quiet:
        for line in _named(summary.left_out):
            print(f"left out: {printable(line)}", file=sys.stderr)
        return 0
    print(summary_text(summary, arguments.out))
    if getattr(arguments, "key_table", None):
        print(f"\n{arguments.key_table} leads back to the patients: keep it safe and apart from the store.")
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
        summary: What ``prepare_nifti`` or ``prepare_dicom`` returned.
        out: The store.
        most: Lines of notes and of patients left out that are printed.
    """
    lines = [f"{out}", "", inventory_table(summary.inventory), ""]
    if summary.reused:
        lines.append(f"{summary.reused} patients had been finished by an earlier run.")
    if summary.pseudonymous and summary.secret_kept:
        lines.append("Patients' keys are pseudonyms made with the secret; keep it safe and apart from the store.")
    elif summary.pseudonymous:
        lines.append(
            "Patients' keys are pseudonyms whose secret was thrown away; for the same keys in another store pass"
            " --pseudonym-key."
        )
    else:
        lines.append(
            "Patients' keys are the names of their folders or cases: nobody may be recognisable by them"
            " (else: --pseudonym-key)."
        )
    for title, items in (
        (f"left out: {len(summary.left_out)} {summary.unit}", _named(summary.left_out)),
        (f"notes: {len(summary.notes)}", summary.notes),
    ):
        if items:
            lines += ["", title, *(f"  {printable(item)}" for item in items[:most])]
            lines += [f"  and {len(items) - most} more"] * (len(items) > most)
    return "\n".join(lines)


def _named(left_out: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in sorted(left_out.items())]
