"""dedupver: versioned, explainable deduplication of datasets, run by DVC."""

from __future__ import annotations

__version__ = "0.1.0"
