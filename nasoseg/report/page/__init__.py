"""One HTML page that shows all of a run or a benchmark, with nothing to load from elsewhere."""

from nasoseg.report.page.page import PAGE, write_page

__all__ = ["PAGE", "write_page"]
