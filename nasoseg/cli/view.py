"""``nasoseg view``: one study in the browser."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from nasoseg.errors import NasosegError

HELP = """show one study in the browser: CT and structures in three planes

STUDY is a DICOM folder or zip, a CT file (.nii.gz, .nrrd, .mha), a folder with ct.nii.gz and segmentations/, or a store
with --patient. The contours that lie with the study are shown, and every --prediction.

The page is served to this machine alone, under an address that nobody can guess, until Ctrl-C. Nothing is written to
the disk. No header of a DICOM file is on the page; a store's patient has his key there: a pseudonym from DICOM or with
--pseudonym-key, else the name of his folder. For research; not a medical device."""
EXAMPLE = "nasoseg view openkbp.h5 --patient pt_7 --prediction two_stage=runs/two_stage/fold0/predictions"

_LARGEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("study", metavar="STUDY", type=Path, help="DICOM folder or zip, CT file, patient's folder, or store")
    add("--patient", metavar="NAME", help="which patient of a store")
    add(
        "--prediction",
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        help="folder of masks, RTSTRUCT or SEG, to show too, under a name (repeatable)",
    )
    add("--series", metavar="UID", help="which of several CT series: SeriesInstanceUID, its end, or its number")
    add("--resample", action="store_true", help="put tilted or unevenly spaced slices onto a straight grid")
    add("--port", metavar="N", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    add("--no-browser", action="store_true", help="print the address and open nothing")


def run(arguments: argparse.Namespace) -> int:
    """Serve the study until Ctrl-C."""
    if not 0 <= arguments.port <= _LARGEST_PORT:
        raise NasosegError(f"--port: found {arguments.port}, expected 0 (a free one) to {_LARGEST_PORT}")
    predictions = _named(arguments.prediction)
    from nasoseg.report.view import StudyServer, read_shown, site_files
    from nasoseg.report.view.niivue import niivue_script

    niivue_script()  # told before the study is read, which takes longer
    study = read_shown(
        arguments.study,
        patient=arguments.patient,
        predictions=predictions,
        series=arguments.series,
        resample=arguments.resample,
    )
    for remark in study.remarks:
        print(f"note: {remark}", file=sys.stderr)
    with StudyServer(site_files(study), arguments.port) as server:
        print(f"view: {server.url}\nCtrl-C ends it.", flush=True)
        if not arguments.no_browser and not _open(server.url):
            print("No browser could be opened here: open the address yourself.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nview: ended", flush=True)
    return 0


def _named(given: list[str]) -> dict[str, Path]:
    """Split ``name=path``; a path without a name is numbered, as its own name may be the patient's."""
    named: dict[str, Path] = {}
    for number, text in enumerate(given, start=1):
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = "prediction" if len(given) == 1 else f"prediction {number}", text
        name = name.strip()
        if not name or not path:
            raise NasosegError(f"--prediction {text!r}: expected PATH or NAME=PATH")
        if name in named:
            raise NasosegError(f"--prediction: two are called {name!r}, expected different names: NAME=PATH")
        named[name] = Path(path)
    return named


def _open(url: str) -> bool:
    """Open a browser that has a window; one in this terminal would take it."""
    has_screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return has_screen and webbrowser.open(url)
    except webbrowser.Error:
        return False
