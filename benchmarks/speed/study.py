"""Time one 512 x 512 x 150 study from a DICOM folder to RTSTRUCT, SEG and NIfTI, with 20 structures.

    python benchmarks/speed/study.py [--slices 150] [--threads 2] [--pixel-mm 1]

The study is a sample patient, enlarged fourfold with noise added and written as DICOM. The network is the default
two-stage net with random weights. What is written are the patient's true contours, every one twice, because an
untrained network's masks are noise.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

import nasoseg
from nasoseg.data.store import pack_planes
from nasoseg.data.training_data import Range, TrainingData
from nasoseg.inference.ensemble import Ensemble
from nasoseg.inference.onto_scan import OntoScan
from nasoseg.inference.scan_input import ScanInput
from nasoseg.inference.segmentation import Segmentation
from nasoseg.inference.study import Study, read_study
from nasoseg.volumes.nifti import read_ct, read_label_map
from nasoseg.volumes.volume import Geometry

PATIENT = "pt_104"
SIDE = 512


def main() -> None:
    """Make the study, time its steps, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pixel-mm", type=float, default=None, help="of the training; default: the study's own")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        masks, pixel_mm = write_study(folder / "ct", arguments.slices)
        labels = list(masks)
        seen_mm = arguments.pixel_mm or pixel_mm
        training = TrainingData(((-160.0, 240.0),), patients=1, pixel_mm=Range(seen_mm, seen_mm, seen_mm))
        model = nasoseg.TwoStageUNet(labels=labels).eval().to(memory_format=torch.channels_last)
        clock = Clock()
        study = read_study(folder / "ct")
        clock.lap("read DICOM")
        found = segment(Ensemble([model], training=training), study, clock)
        planes = pack_planes(dict(enumerate(masks.values())), shape=study.volume.array.shape, structures=len(labels))
        del masks
        true = Segmentation(study, planes, labels)
        clock.skip()
        _ = true.volumes_ml
        clock.lap("volumes")
        for name, write in (("RTSTRUCT", true.to_rtstruct), ("SEG", true.to_seg)):
            write(folder / f"{name}.dcm")
            clock.lap(f"write {name}")
        true.to_nifti(folder / "nifti")
        clock.lap("write NIfTI")
    shape = " x ".join(map(str, reversed(study.volume.array.shape)))
    print(f"{shape}, {len(labels)} structures, network on {found.grid.shape[1:]} pixels, {arguments.threads} threads")
    for step, seconds in clock.laps.items():
        print(f"{step:<22}{seconds:8.2f} s")
    reading_and_writing = clock.laps["read DICOM"] + clock.laps["write RTSTRUCT"]
    print(f"{'read + write RTSTRUCT':<22}{reading_and_writing:8.2f} s")
    print(f"{'peak memory':<22}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")


class Clock:
    """Add up the seconds of steps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.skip()

    def skip(self) -> None:
        """Begin anew, and count what has passed for nothing."""
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        """Count what has passed for a step."""
        self.laps[step] = self.laps.get(step, 0) + time.perf_counter() - self._since
        self.skip()


def segment(ensemble: Ensemble, study: Study, clock: Clock) -> ScanInput:
    """Do what ``nasoseg.segment`` does, step by step."""
    images = ScanInput(study.volume, ensemble.training)
    onto = OntoScan(images.grid, images.axial, structures=len(ensemble.labels), head=ensemble.head)
    clock.lap("prepare images")
    size = max(1, 2**19 // (images.grid.shape[1] * images.grid.shape[2]))
    for start in range(0, len(images), size):
        batch = images.batch(start, min(start + size, len(images)))
        clock.lap("prepare images")
        seen = ensemble(batch)
        clock.lap("network")
        onto.add(seen, start)
        clock.lap("back onto the scan")
    return images


def write_study(folder: Path, slices: int) -> tuple[dict[str, np.ndarray], float]:
    """Write the enlarged patient as DICOM; return its masks, every one twice, and the side of a pixel in mm."""
    source = Path(nasoseg.__file__).parent / "data" / "sample" / PATIENT
    ct = read_ct(source / "ct.nii.gz").axial()
    depth, factor = ct.geometry.shape[0], SIDE / ct.geometry.shape[1]
    chosen = np.minimum(np.arange(slices) * depth // slices, depth - 1)
    noise = np.random.default_rng(0)
    folder.mkdir()
    pixel_mm = float(ct.geometry.spacing_mm[1] / factor)
    geometry = Geometry((slices, SIDE, SIDE), ct.geometry.affine_lps)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for z, of in enumerate(chosen):
        plane = ndimage.zoom(ct.array[of].astype(np.float32), factor, order=1) + noise.normal(0, 10, (SIDE, SIDE))
        write_slice(folder / f"{z}.dcm", np.rint(plane), z, geometry, pixel_mm, (study, series, frame))
    masks = {}
    for path in sorted((source / "segmentations").glob("*.nii.gz")):
        mask = read_label_map(path).axial().array[chosen] != 0
        large = np.stack([ndimage.zoom(plane.astype(np.float32), factor, order=1) > 0.5 for plane in mask])
        masks[path.name.removesuffix(".nii.gz")] = large
    names = list(masks)
    copies = {f"copy {number} of {names[number % len(names)]}": number for number in range(20 - len(names))}
    return masks | {name: masks[names[number % len(names)]] for name, number in copies.items()}, pixel_mm


def write_slice(
    path: Path, hu: np.ndarray, z: int, geometry: Geometry, pixel_mm: float, uids: tuple[str, str, str]
) -> None:
    """Write one CT slice."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = CTImageStorage, generate_uid(), "CT"
    image.PatientID = image.PatientName = "benchmark"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = uids
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.ImageOrientationPatient, image.PixelSpacing = [1, 0, 0, 0, 1, 0], [f"{pixel_mm:.6f}"] * 2
    image.ImagePositionPatient = ["0", "0", str(2.0 * z)]
    image.SliceThickness, image.InstanceNumber = "2", z + 1
    image.Rows, image.Columns = geometry.shape[1:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, 0, "HU"
    image.PixelData = hu.astype("<i2").tobytes()
    image.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()
