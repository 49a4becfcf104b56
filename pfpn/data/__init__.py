"""Data sets in COCO panoptic format: reading, checking, drawing, transforming, loading."""
