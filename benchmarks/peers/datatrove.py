"""datatrove: its MinHash pipeline (signatures, buckets, clusters) on a local executor; 16 buckets of 8 by default.

The words are cut as in the other tools by a tokenizer of ours, which its step takes; its own for English, spaCy's, is
slower. It ends with lists of records to remove, one left of each connected component; pairs are all of a component.

With `sketch: lines` its SentenceDedup instead, a line at a time, at its own norm (no digits, no punctuation), no text too
short to stay: of a line that comes again the first stays, and the texts that are left are written to `rest`.
"""

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.dedup.sentence_dedup import (
    SentDedupConfig,
    SentenceDedupFilter,
    SentenceDedupSignature,
    SentenceFindDedups,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer

GAPS = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) == "_")}
AS_IT_IS = TextNormConfig(
    lowercase=True,
    norm_whitespace=False,
    remove_punctuation=False,
    norm_unicode_diacritics=False,
    norm_numbers=False,
)


class Words(WordTokenizer):
    """Runs of letters, digits, _ and non-ASCII."""

    def word_tokenize(self, text):
        """Return the words."""
        return text.translate(GAPS).split()

    def sent_tokenize(self, text):
        """Return the text: sentences are not asked for."""
        return [text]

    def span_tokenize(self, text):
        """Return the whole."""
        return [(0, len(text))]


def deduplicate(job):
    """Run the three steps."""
    if job.sketch == "lines":
        return without_lines(job)
    out = Path(job.out)
    buckets = job.bands or 16
    config = MinhashConfig(job.shingle, buckets, job.num_perm // buckets, norm_config=AS_IT_IS)
    signatures = [
        ParquetReader(job.data, glob_pattern="*.parquet"),
        MinhashDedupSignature(str(out / "signatures"), config, language=Words()),
    ]
    matches = [MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config, lines_to_buffer=1000)]
    clusters = [MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config, job.pairs, lines_to_buffer=1000)]
    run(job, {"signatures": (signatures, len(job.parts())), "buckets": (matches, buckets), "clusters": (clusters, 1)})
    return None


def without_lines(job):
    """Remove lines that come again; return no rows."""
    out, count = Path(job.out), len(job.parts())
    config = SentDedupConfig(n_sentences=1, split_sentences=False, min_doc_words=0, min_num_sentences=0)
    reader = ParquetReader(job.data, glob_pattern="*.parquet")
    signatures = [reader, SentenceDedupSignature(str(out / "signatures"), config=config, language=Words())]
    found = [SentenceFindDedups(str(out / "signatures"), str(out / "found"), config=config, lines_to_buffer=1000)]
    rest = [
        ParquetReader(job.data, glob_pattern="*.parquet"),
        SentenceDedupFilter(str(out / "found"), config, language=Words()),
        ParquetWriter(str(out / "rest"), compression=None),
    ]
    run(job, {"signatures": (signatures, count), "found": (found, 1), "rest": (rest, count)})
    return []


def run(job, steps):
    """Run pipelines one after the other, each as so many tasks."""
    out = Path(job.out)
    for name, (pipeline, tasks) in steps.items():
        with job.step(name):
            LocalPipelineExecutor(
                pipeline,
                tasks=tasks,
                workers=min(job.threads, tasks),
                logging_dir=str(out / "logs" / name),
                start_method="fork",
            ).run()


def collect(job):
    """Return the dropped rows: each part's numbers after those of the parts before; and pairs where they are asked for."""
    rows, first, components = [], 0, defaultdict(list)
    for rank, path in enumerate(job.parts()):
        listed = Path(job.out, "remove", f"{rank:06d}.remove")
        rows += (np.fromfile(listed, np.uint32) + first).tolist() if listed.exists() else []
        named = Path(job.out, "remove", f"{rank:06d}.clusters")
        for row, component in np.fromfile(named, np.uint32).reshape(-1, 2).tolist() if named.exists() else ():
            components[component].append(row + first)
        first += pq.read_metadata(path).num_rows
    return (rows, (pair for of in components.values() for pair in combinations(of, 2))) if job.pairs else rows
