from nasoseg.export.export import FORMATS, SUFFIX_OF, Format, check_place, export_model

__all__ = ["FORMATS", "SUFFIX_OF", "Format", "check_place", "export_model"]
