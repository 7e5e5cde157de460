"""Segment tissues in nasopharyngeal (head-and-neck) CT with a two-stage U-Net."""
