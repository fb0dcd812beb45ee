"""Many small segments become few: those of a run of versions are merged into one, which decides as they did.

Source of the rule: Bentley and Saxe, "Decomposable searching problems I", 1980, the logarithmic method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dedupver import links, params, store
from dedupver.digests import first_of_each, of_column
from dedupver.fingerprint.encoders.probe import ANSWERS
from dedupver.fingerprint.prints import merge_prints
from dedupver.index.segment import TABLES, Index, Segment, write_header
from dedupver.index.structures import STRUCTURES, derive, derive_joint
from dedupver.schema import CONTENT, EVIDENCE, MODALITIES, PASSAGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dedupver.index.blocks import Plan


def runs(sizes: Sequence[int]) -> list[range]:
    """Return which segments, of so many contents each, oldest first, are to be one.

    A segment stays apart from those after it if it is at least as large as all of these together; so n versions leave
    at most log₂ of all contents, and a content that is merged again is in a segment of 1.5 times the size at least.
    """
    weights = [1 + size for size in sizes]  # versions that brought nothing count too
    newer = np.cumsum(weights[::-1])[::-1] - weights
    ends = [at + 1 for at, weight in enumerate(weights) if weight >= newer[at]]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def planned(index: Index) -> list[range]:
    """Return which segments of an index are to be one."""
    return runs([sum(segment.size(modality) for modality in MODALITIES) for segment in index.segments])


def compact(index: Index, plan: Sequence[range], out: Path) -> dict[str, str]:
    """Write below `out` an index with the runs of `plan` merged; return the digests of the files that are as before.

    Every file is checked first. The bytes depend on those of the segments alone.
    """
    settings = params.Match.model_validate(index.built_with.get("match", {}))
    segments = [[index.segments[at] for at in run] for run in plan]
    versions = [[version for segment in run for version in index.versions(segment)] for run in segments]
    names = [each[0] if len(each) == 1 else f"{each[0]}..{each[-1]}" for each in versions]
    shared = index.share(out, [run[0] for run in segments if len(run) == 1])
    for run, name in zip(segments, names, strict=True):
        if len(run) > 1:
            merge(run, settings, out / "segments" / name)
    held = {name: each for name, each in zip(names, versions, strict=True) if len(each) > 1}
    write_header(out, names, index.built_with, held)
    return shared


def merge(segments: Sequence[Segment], settings: params.Match, out: Path) -> None:
    """Write the segment of all contents of some, oldest first: a function of their files and of the settings.

    Fingerprints are merged in order of digest, a block in memory at a time; what they are searched by is made anew.
    """
    out.mkdir(parents=True)
    places = [segment.path for segment in segments]
    for modality in MODALITIES:
        kinds = [kind for kind in EVIDENCE.values() if kind.modality == modality]
        again = [name for kind in kinds for name in STRUCTURES[kind.structure].derived(kind)]
        merge_prints(places, out, modality, leave=again)
    merge_prints(places, out, PASSAGES)
    for path in {path.name: path for s in segments for path in sorted(s.path.glob(ANSWERS))}.values():  # the newest
        links.link(path, out / path.name, "share")
    contents = pa.concat_tables([store.read_table(s.file("contents.parquet"), CONTENT) for s in segments])
    contents = contents.take(pa.array(first_of_each(of_column(contents["sha256"]))))
    store.write_table(out / "contents.parquet", contents, CONTENT)
    for name, schema in TABLES.items():
        if not any((place / f"{name}.parquet").exists() for place in places):
            continue
        said = pa.concat_tables([segment.table(name) for segment in segments])
        said = said.group_by(schema.names, use_threads=False).aggregate([])  # each row once
        said = said.sort_by([(column, "ascending") for column in schema.names])
        store.write_table(out / f"{name}.parquet", said.combine_chunks(), schema)
    whole = Segment(out, built_with=segments[0].built_with)
    for modality, plan in _plans(segments).items():
        whole.write_plan(modality, plan)
    for kind in sorted(EVIDENCE):
        if whole.size(EVIDENCE[kind].modality):
            derive(kind, whole, settings)
    derive_joint(whole, settings)


def _plans(segments: Sequence[Segment]) -> dict[str, Plan]:
    """Return the newest plan of bands of each modality that has one."""
    plans = {modality: [segment.plan(modality) for segment in segments] for modality in MODALITIES}
    return {modality: known[-1] for modality, each in plans.items() if (known := [plan for plan in each if plan])}
