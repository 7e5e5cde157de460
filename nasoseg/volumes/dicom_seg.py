"""DICOM SEG in and out: bit masks on the original planes of a CT, through highdicom."""

from nasoseg.volumes.seg_reading import read_seg
from nasoseg.volumes.seg_writing import write_seg

__all__ = ["read_seg", "write_seg"]
