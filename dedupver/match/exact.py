"""Exact search: each new fingerprint is compared with all there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dedupver.match.found import SELF, Found, Hot, Job, one_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.digests import Rows
    from dedupver.index.segment import Segment

    Values = npt.NDArray[Any]
    Pairs = tuple[Rows, Rows, npt.NDArray[np.bool_]]
    Scan = Callable[[Values, Values, Rows, bool], Pairs]


def search(
    kind: str, job: Job, values: Callable[[Segment], tuple[Values, Rows]], scan: Scan
) -> tuple[list[Found], list[Hot]]:
    """Return the verified matches with the segments that have no graph, and the crowded contents with their neighbours.

    `values` gives a segment's fingerprints and their rows. `scan` is given two of these, how many neighbours each of
    the first has so far, and whether the two are one; it returns pairs of places, and marks those of the second that it
    does not list. A content of more than `bucket_cap` neighbours in the base, or before it in its own segment, lists
    none: all of these are in the one hot bucket. So what is found does not depend on how the base is cut into segments.
    """
    new, rows = values(job.new)
    found: list[Found] = []
    hot: list[Hot] = []
    for own in (False, True):
        counts, scans = np.zeros(len(new), np.int64), []
        for ordinal, segment in job.everything():
            if (ordinal == SELF) == own and len(new) and not segment.has_graph(kind):
                old, old_rows = values(segment)
                scans += [(ordinal, old_rows, *scan(new, old, counts, own))] if len(old) else []
        crowded = counts > job.settings.bucket_cap
        hot += one_group(SELF, rows[crowded])
        for ordinal, old_rows, left, right, beyond in scans:
            many = crowded[left]
            found.append(job.verified(kind, ordinal, rows[left[~many]], old_rows[right[~many]]))
            beyond[right[many]] = True
            hot += one_group(ordinal, old_rows[beyond])
    return found, hot
