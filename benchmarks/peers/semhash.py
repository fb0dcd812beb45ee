"""semhash: another notion of likeness, the cosine of potion embeddings, at its own default threshold of 0.9.

Its model is the one its source distribution tests with, as a hub cannot be relied on here. What it finds beyond Jaccard
counts as wrong below, and what it does not find as missed: read its rows as the cost of that notion, not its worth.
"""

from model2vec import StaticModel
from semhash import SemHash

COSINE = 0.9


def deduplicate(job):
    """Return the rows to drop; or none, and the pairs, where these are asked for."""
    with job.step("read"):
        records = [{"row": row, "text": text} for row, text in enumerate(job.column("text"))]
    with job.step("embed and index"):
        model = StaticModel.from_pretrained(job.model)
        index = SemHash.from_records(records, columns=["text"], model=model)
    if job.pairs:
        return [], pairs(index.index)
    with job.step("deduplicate"):
        gone = index.self_deduplicate(threshold=COSINE).filtered
    return [one.record["row"] for one in gone]


def pairs(index):
    """Yield the pairs of rows that its index finds; texts that are equal are one item."""
    rows = [[record["row"] for record in item] for item in index.items]
    for item, (others, _) in enumerate(index.query_threshold(index.vectors, threshold=COSINE)):
        near = {row for other in others for row in rows[int(other)]}
        yield from ((row, other) for row in rows[item] for other in near if other != row)
