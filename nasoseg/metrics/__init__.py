"""Metrics that know patients, slices and missing annotations, and are exact over several processes."""

from nasoseg.metrics.auc import StreamingAUC
from nasoseg.metrics.overlap import OverlapMetrics
from nasoseg.metrics.scores import Averaging, Scores, Summary, merge_scores
from nasoseg.metrics.surface import SurfaceDistances, surface_distances
from nasoseg.metrics.surface_metrics import LOWER_IS_BETTER, SurfaceMetrics

__all__ = [
    "LOWER_IS_BETTER",
    "Averaging",
    "OverlapMetrics",
    "Scores",
    "StreamingAUC",
    "Summary",
    "SurfaceDistances",
    "SurfaceMetrics",
    "merge_scores",
    "surface_distances",
]
