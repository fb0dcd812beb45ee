"""What a version says of itself to those who take it: a page for people, and Croissant for programs.

Both name counts, forms and digests, never a record: who was erased is not in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dedupver import store
from dedupver.card.croissant import croissant
from dedupver.card.facts import Facts
from dedupver.card.page import page

if TYPE_CHECKING:
    from dedupver.manifest import Log
    from dedupver.project import Project

PAGE: Final = "DATASET.md"
CROISSANT: Final = "croissant.json"

__all__ = ["CROISSANT", "PAGE", "Facts", "write"]


def write(project: Project, log: Log) -> Facts:
    """Write the page and the metadata of a version below the project's root, and return what they say."""
    facts = Facts.of(project, log)
    store.write_bytes(project.root / PAGE, page(facts).encode())
    store.write_json(project.root / CROISSANT, croissant(facts))
    return facts
