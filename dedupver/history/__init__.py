"""A version's records beside the base's: who is new, edited, carried over, gone; and what becomes of each.

Whole rows are read of those alone that came for this version, of those that something happened to, and of those that
they may be dropped for. The base's other records are what they were, and a few columns say all that is asked of them.
"""

from __future__ import annotations

from dedupver.history.judge import decide
from dedupver.history.present import assemble, quarantine
from dedupver.history.written import written

__all__ = ["assemble", "decide", "quarantine", "written"]
