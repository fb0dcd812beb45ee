"""semhash: the neighbours that it finds, on a model's vectors, with their cosines. Given the model and a table of texts."""

import json
import sys

import pyarrow.parquet as pq
from model2vec import StaticModel
from semhash import SemHash

FLOOR = 0.8

rows = pq.read_table(sys.argv[2]).to_pylist()
index = SemHash.from_records(rows, columns=["text"], model=StaticModel.from_pretrained(sys.argv[1])).index
names = [[record["id"] for record in records] for records in index.items]
pairs = {}
for row, (others, scores) in enumerate(index.query_threshold(index.vectors, FLOOR)):
    for other, score in zip(others.tolist(), scores.tolist(), strict=True):
        pairs |= {(min(a, b), max(a, b)): score for a in names[row] for b in names[other] if a != b}
print(json.dumps({"semhash": [(*pair, score) for pair, score in pairs.items()]}))
