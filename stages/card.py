"""Write what the version says of itself: a page for people, Croissant metadata for programs."""

from dedupver import pipeline

if __name__ == "__main__":
    pipeline.main("card", release="0.1.0")
