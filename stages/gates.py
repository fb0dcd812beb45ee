"""Stop a version that is not what params ask of one, before anything of it is written."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("gates", release="0.1.0")
