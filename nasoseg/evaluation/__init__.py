"""From results to conclusions: tidy tables, statistics over patients, and masks of any program measured."""

from nasoseg.evaluation.folders import FolderScores, evaluate_folders
from nasoseg.evaluation.paired import compare, ranks
from nasoseg.evaluation.results import read_results
from nasoseg.evaluation.summaries import leakage, summarise

__all__ = ["FolderScores", "compare", "evaluate_folders", "leakage", "ranks", "read_results", "summarise"]
