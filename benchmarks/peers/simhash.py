"""simhash: codes of a text's runs of four letters, as the package makes them of a string, and its index, within 3 bits.

3 of 64 bits are what Manku, Jain and Das Sarma call alike; the package's own default is 2.
"""

from simhash import Simhash, SimhashIndex

BITS = 3


def deduplicate(job):
    """Return the rows that are like one before, and all pairs."""
    index = SimhashIndex([], k=BITS)
    dropped, pairs = [], []
    for row, text in enumerate(job.column("text")):
        code = Simhash(text)
        near = [(int(other), row) for other in index.get_near_dups(code)]
        pairs += near
        dropped += [row] if near else []
        index.add(str(row), code)
    return dropped, pairs
