"""What must hold of records besides that they can be read: the rules of `validate`, and who fails them.

Values are read from the source again, those of the columns that a rule is about. So a rule may be about any column, and
the answer is of the rules and the records that there are now, whatever was said of them before.
"""

from __future__ import annotations

from dedupver.validation.counted import metrics, nothing, require, rows, told
from dedupver.validation.judged import Outcome, needed, validate

__all__ = ["Outcome", "metrics", "needed", "nothing", "require", "rows", "told", "validate"]
