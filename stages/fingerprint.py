"""Read the source and compute the fingerprints of contents that the base does not know."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("fingerprint", release="0.1.0")
