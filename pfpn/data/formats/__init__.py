"""Foreign annotation formats: one reader a family, all of which give pictures with regions.

A reader yields a `Picture` for each photograph: its file, its size and its annotated regions in
the order of the file. `importing` turns pictures into a data set in COCO panoptic format, and
`exporting` turns such a data set into what other tools read.
"""
