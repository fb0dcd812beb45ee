"""Turn matches into decisions under the thresholds and rules."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("dedup", release="0.1.0")
