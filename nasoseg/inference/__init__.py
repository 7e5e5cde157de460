"""From a trained model and a scan to named masks on the scan's own grid."""

from nasoseg.inference.cleaning import Cleaning
from nasoseg.inference.exported import load_exported
from nasoseg.inference.segment import segment
from nasoseg.inference.segmentation import Segmentation
from nasoseg.inference.study import Study, read_study

__all__ = ["Cleaning", "Segmentation", "Study", "load_exported", "read_study", "segment"]
