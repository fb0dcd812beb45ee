"""Give each kept record a split that it keeps, and no two that are alike different ones."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("split", release="0.1.0")
