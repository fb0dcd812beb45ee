"""semhash: another notion of likeness, the cosine of potion embeddings, at its own default threshold of 0.9.

Its model is the one its source distribution tests with, as a hub cannot be relied on here. What it finds beyond Jaccard
counts as wrong below, and what it does not find as missed: read its rows as the cost of that notion, not its worth.
"""

from model2vec import StaticModel
from semhash import SemHash

COSINE = 0.9


def deduplicate(job):
    """Return the rows to drop."""
    with job.step("read"):
        records = [{"row": row, "text": text} for row, text in enumerate(job.column("text"))]
    with job.step("embed and index"):
        model = StaticModel.from_pretrained(job.model)
        index = SemHash.from_records(records, columns=["text"], model=model)
    with job.step("deduplicate"):
        gone = index.self_deduplicate(threshold=COSINE).filtered
    return [one.record["row"] for one in gone]
