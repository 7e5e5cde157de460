"""Files under their final names, each opened by its own reader: none may be half."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import h5py
import nibabel
import pydicom
import yaml
from PIL import Image
from safetensors.torch import load_file

from nasoseg.data.store import Store
from nasoseg.tasks.checkpoints import load_checkpoint


def check_whole(folder: Path) -> int:
    """Open every file below a folder; return how many there were.

    What begins with a dot or ends in ``.tmp`` is unfinished by its name, and logs grow while they are written.
    """
    checked = 0
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.is_dir() or any(part.startswith((".", "logs")) for part in inner) or path.name.endswith(".tmp"):
            continue
        ending = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
        if ending in (".log", ".lock") or path.name == "lock":
            continue
        assert ending in READERS, f"{path}: no reader for it"
        try:
            READERS[ending](path)
        except Exception as error:
            raise AssertionError(f"{path} is not whole: {error!r}") from error
        checked += 1
    return checked


def _hdf5(path: Path) -> None:
    if path.parent.name.endswith(".parts"):
        with h5py.File(path) as part:
            assert part.attrs["fingerprint"]
            part.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        return
    with Store(path) as store:
        for key in store.keys:
            assert store.check(key) == []


def _table(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    rows = list(csv.reader(text.splitlines()))
    assert rows
    assert len({len(row) for row in rows}) == 1


def _text(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("\n")


def _image(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _nifti(path: Path) -> None:
    gzip.decompress(path.read_bytes())
    nibabel.load(path).get_fdata()


def _dicom(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    assert dataset.PatientID
    assert dataset.Modality != "RTSTRUCT" or len(dataset.ROIContourSequence) == len(dataset.StructureSetROISequence)


def _ending(*endings: bytes) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        assert path.read_bytes().rstrip().endswith(endings)

    return check


READERS: dict[str, Callable[[Path], object]] = {
    ".h5": _hdf5,
    ".ckpt": load_checkpoint,
    ".safetensors": load_file,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".yaml": lambda path: dict(yaml.safe_load(path.read_text(encoding="utf-8"))),
    ".csv": _table,
    ".nii.gz": _nifti,
    ".dcm": _dicom,
    ".html": _ending(b"</html>"),
    ".md": _text,
    ".tex": lambda path: path.read_text(encoding="utf-8").index("\\end{tabular"),
    ".png": _image,
    ".pdf": _ending(b"%%EOF"),
    ".svg": ElementTree.parse,
}
