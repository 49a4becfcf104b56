"""Matching the slow way, written from the docstring of `match_by_iou`."""


def match(
    overlaps: list[list[float]], low: float, high: float, keep_best: bool
) -> tuple[list[int], list[int]]:
    """Return the index of the object and the kind (1, 0 or -1) of each row."""
    matched, kinds = [], []
    for row in overlaps:
        best = max(row, default=0.0)
        matched.append(row.index(best) if row else 0)
        kinds.append(0 if best < low else 1 if best >= high else -1)
    if keep_best and overlaps:
        for column in range(len(overlaps[0])):
            best = max(row[column] for row in overlaps)
            for i, row in enumerate(overlaps):
                if best > 0 and row[column] == best:
                    kinds[i] = 1
    return matched, kinds
