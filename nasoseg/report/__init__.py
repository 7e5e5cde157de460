"""Tables and figures of a comparison, and one page that explains them."""

from nasoseg.report.comparison import write_comparison

__all__ = ["write_comparison"]
