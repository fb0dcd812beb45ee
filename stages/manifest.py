"""Write the version: who stays, who goes and why, and the clean data."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("manifest", release="0.1.0")
