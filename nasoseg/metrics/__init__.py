"""Metrics that know patients, slices and missing annotations, and are exact over several processes."""

from nasoseg.metrics.auc import StreamingAUC
from nasoseg.metrics.overlap import OverlapMetrics
from nasoseg.metrics.scores import Averaging, Scores, Summary, merge_scores

__all__ = ["Averaging", "OverlapMetrics", "Scores", "StreamingAUC", "Summary", "merge_scores"]
