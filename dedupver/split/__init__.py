"""Which split each kept record is in: in proportion, stratum by stratum, and nothing that is alike on both sides.

    ties       what holds records together: matches, groups, what was dropped for what   → vertices and their components
    bridges    components that lie in two splits already                                  → who is put aside
    balance    components that lie in none                                                → a split for each
    assigned   what earlier versions assigned, and what this one adds                     → splits/

A record stays in its split in all later versions. A *unit* is what gets a split as a whole: a component's kept records.
"""

from __future__ import annotations

from dedupver.split.assigned import NOTHING, Earlier, write
from dedupver.split.divide import of
from dedupver.split.told import bars, judge, scalars, told

__all__ = ["NOTHING", "Earlier", "bars", "judge", "of", "scalars", "told", "write"]
