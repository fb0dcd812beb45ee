"""Judge the records by the rules of params: what their columns and attributes must hold."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("validate", release="0.1.0")
