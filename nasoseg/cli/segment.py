"""``nasoseg segment``: scans to RTSTRUCT, DICOM SEG or NIfTI."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.cli.output import add_json, add_quiet, print_json
from nasoseg.errors import NasosegError, writing

if TYPE_CHECKING:  # torch loads slowly, and the dispatcher imports every command
    from nasoseg.inference.scan_search import Scan
    from nasoseg.inference.segmentation import Segmentation

FORMATS = ("rtstruct", "seg", "nifti")
SUMMARY = "summary.csv"

HELP = """segment one scan or a folder of scans with a trained model

INPUT is a DICOM folder (nested, with whatever else was exported), a zip of one, an image file (.nii.gz, .nrrd, .mha),
or a folder of one kind of these. Several MODELs, or a folder of runs such as those of all folds, are averaged. A file
that `nasoseg export` wrote (.onnx, .xml) is a MODEL too, and runs without torch.

OUTPUT/<scan>/ gets rtstruct.dcm, seg.dcm or <structure>.nii.gz, on the scan's own grid; OUTPUT/summary.csv the volumes
and warnings. An OUTPUT that ends in .dcm is the one file. A scan is never replaced by its results. For research:
the contours are to be checked by a human."""
EXAMPLE = "nasoseg segment runs/two_stage/fold0 exports/patient_7 contours/ --format rtstruct"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add(
        "models",
        metavar="MODEL",
        type=Path,
        nargs="+",
        help="run folder, checkpoint in one, folder of runs, or exported model",
    )
    add("input", metavar="INPUT", type=Path, help="scan or folder of scans")
    add("output", metavar="OUTPUT", type=Path, help="folder to write to, or a .dcm file for one scan")
    add(
        "--format",
        metavar="A,B",
        action="append",
        help="rtstruct, seg, nifti (repeatable; default: rtstruct for DICOM, nifti for other files)",
    )
    add("--series", metavar="UID", help="which of several CT series: SeriesInstanceUID, its end, or its number")
    add("--resample", action="store_true", help="put tilted or unevenly spaced slices onto a straight grid")
    add("--mirror", action="store_true", help="average the mirrored scan too, sides swapped back (twice the time)")
    add(
        "--largest-component",
        metavar="A,B",
        action="append",
        default=[],
        help="structures of which only the largest piece is kept; `all` for every one (repeatable)",
    )
    add(
        "--fill-holes",
        metavar="A,B",
        action="append",
        default=[],
        help="structures whose holes on a slice are filled; `all` for every one (repeatable)",
    )
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    add(
        "--precision",
        choices=("32", "bf16"),
        default="32",
        help="bf16: less than half the time on a device with bfloat16, a few voxels of a surface differ (default: 32)",
    )
    add("--batch-size", metavar="N", type=int, help="slices at once (default: as many as are fast)")
    add("--label", metavar="TEXT", default="nasoseg", help="structure set label in DICOM (default: nasoseg)")
    add("--trust", action="store_true", help="let the run's config name classes of other packages")
    add("--skip-existing", action="store_true", help="leave scans alone that are in OUTPUT already")
    add("--force", action="store_true", help="overwrite scans that are in OUTPUT already")
    add_json(parser)
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Segment all scans; 0 if all of them could be."""
    output: Path = arguments.output
    formats = _formats(arguments.format, output)
    if not output.absolute().parent.is_dir():
        raise NasosegError(f"{output}: there is no folder {output.absolute().parent}: make it first")
    from nasoseg.inference.scan_search import found_scans

    with found_scans(arguments.input, series=arguments.series) as scans:
        todo = _to_do(scans, arguments)
        _check_formats(todo, formats)
        if not todo:
            if arguments.json:
                print_json({"scans": [], "failed": {}})
            elif not arguments.quiet:
                print(f"{output}: has all {len(scans)} scans already")
            return 0
        return _segment_all(todo, formats, arguments)


def _segment_all(scans: "list[Scan]", formats: list[str], arguments: argparse.Namespace) -> int:
    from nasoseg.inference.cleaning import Cleaning
    from nasoseg.inference.ensemble import Ensemble
    from nasoseg.inference.runs import load_models
    from nasoseg.inference.segment import segment_study
    from nasoseg.inference.summary import summary_table
    from nasoseg.progress import ProgressDisplay

    models = load_models(
        arguments.models, device=arguments.device, precision=arguments.precision, trust=arguments.trust
    )
    ensemble = Ensemble(models, mirror=arguments.mirror)
    cleaning = Cleaning(_split(arguments.largest_component), _split(arguments.fill_holes))
    cleaning.bits(ensemble.labels)  # a wrong name is wrong for every scan
    failed: dict[str, str] = {}
    documents: list[dict[str, Any]] = []
    for number, scan in enumerate(scans, start=1):
        title = f"segmenting {number} of {len(scans)}" if len(scans) > 1 else "segmenting"
        try:
            with ProgressDisplay(title, quiet=arguments.quiet) as progress:
                study = scan.read(resample=arguments.resample)
                found = segment_study(
                    ensemble, study, cleaning=cleaning, batch_size=arguments.batch_size, progress=progress
                )
                remarks = _write(found, formats, arguments)
        except NasosegError as error:
            failed[scan.name] = str(error)
            print(f"{scan.name}: {error}", file=sys.stderr)
            continue
        notes, place = [*found.remarks, *remarks], _place(found.study.name, arguments.output)
        scanned = {"scan": found.study.name, "written": place, "volumes_ml": found.volumes_ml}
        documents.append(scanned | {"warnings": found.warnings, "notes": notes})
        if arguments.json or arguments.quiet:
            for warning in found.warnings:
                print(f"{found.study.name}: warning: {warning}", file=sys.stderr)
            continue
        print(summary_table(found, ensemble.training))
        for line in notes:
            print(f"note: {line}")
        print(f"written: {place}\n", flush=True)
    if arguments.json:
        print_json({"scans": documents, "failed": failed})
    if failed:
        raise NasosegError(
            f"{len(failed)} of {len(scans)} scans could not be segmented ({', '.join(list(failed)[:5])}): the reasons"
            " are above, the others are written"
        )
    return 0


def _formats(wanted: list[str] | None, output: Path) -> list[str]:
    """Return the formats that were asked for; none: by the kind of scan."""
    formats = _split(wanted or [])
    for name in formats:
        if name not in FORMATS:
            raise NasosegError(f"--format: found {name!r}, expected one or more of {', '.join(FORMATS)}")
    if output.suffix == ".dcm" and (len(formats) > 1 or "nifti" in formats):
        raise NasosegError(f"{output}: is one DICOM file, expected --format rtstruct or --format seg: name a folder")
    return formats


def _to_do(scans: "list[Scan]", arguments: argparse.Namespace) -> "list[Scan]":
    """Return the scans to segment, after a look at what would be overwritten."""
    output: Path = arguments.output
    if output.suffix == ".dcm" and len(scans) > 1:
        raise NasosegError(f"{output}: is one file, and {arguments.input} holds {len(scans)} scans: name a folder")
    if output.suffix != ".dcm" and output.exists() and not output.is_dir():
        raise NasosegError(f"{output}: is a file, expected a folder, or a name that ends in .dcm")
    existing = [scan for scan in scans if _place(scan.name, output).exists()]
    _check_apart(existing, scans, arguments)
    if arguments.skip_existing:
        return [scan for scan in scans if scan not in existing]
    if existing and not arguments.force:
        raise NasosegError(
            f"{_place(existing[0].name, output)}: exists already ({len(existing)} of {len(scans)} scans do): pass"
            " --force to overwrite, --skip-existing to leave it, or choose another folder"
        )
    return scans


def _check_apart(existing: "list[Scan]", scans: "list[Scan]", arguments: argparse.Namespace) -> None:
    """Check that nothing of INPUT lies where a scan's results are to be: with --force it would be gone."""
    if not existing:
        return
    from nasoseg.inference.scan_search import source_files

    files = {arguments.input, *source_files(scans)}
    files |= {file.resolve() for file in files if file.is_symlink()}
    folders = {file.absolute().parent for file in files}
    folders |= {folder.resolve() for folder in folders}
    holders = {*files, *folders, *(above for folder in folders for above in folder.parents)}
    taken = {_identity(holder) for holder in holders if holder.exists()}
    for scan in existing:
        place = _place(scan.name, arguments.output)
        if _identity(place) in taken:
            raise NasosegError(
                f"{place}: holds files of {arguments.input}, expected a place for results alone: choose another OUTPUT"
            )


def _identity(path: Path) -> tuple[int, int]:
    """Tell files and folders apart whatever links and spellings lead to them."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _check_formats(scans: "list[Scan]", formats: list[str]) -> None:
    images = [scan for scan in scans if scan.export is None]
    if images and set(formats) & {"rtstruct", "seg"}:
        raise NasosegError(
            f"{images[0].path}: RTSTRUCT and DICOM SEG refer to DICOM images, and this is another file: give the DICOM"
            " folder, or pass --format nifti"
        )


def _place(name: str, output: Path) -> Path:
    return output if output.suffix == ".dcm" else output / name


def _write(found: "Segmentation", formats: list[str], arguments: argparse.Namespace) -> list[str]:
    """Write one scan's results, all of them or none; return remarks."""
    from nasoseg.files import whole_folder
    from nasoseg.inference.summary import write_summary

    formats = formats or (["rtstruct"] if found.study.ct else ["nifti"])
    output: Path = arguments.output
    if output.suffix == ".dcm":
        write = found.to_seg if formats == ["seg"] else found.to_rtstruct
        return write(output, label=arguments.label)
    remarks: list[str] = []
    with writing(output):
        output.mkdir(exist_ok=True)
        with whole_folder(output / found.study.name) as folder:
            if "rtstruct" in formats:
                remarks += found.to_rtstruct(folder / "rtstruct.dcm", label=arguments.label)
            if "seg" in formats:
                remarks += found.to_seg(folder / "seg.dcm", label=arguments.label)
            if "nifti" in formats:
                found.to_nifti(folder)
            # Before the folder has its name: one that is there is not segmented again, and its rows would be lacking.
            write_summary(output / SUMMARY, found)
    return list(dict.fromkeys(remarks))


def _split(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
