"""Look the new fingerprints up in the base and among themselves; write the index."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("match", release="0.1.0")
