"""SimHash against its definition, and as a kind that params switch on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import projects
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import mixed

from dedupver import params
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.simhash import simhash

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [f"word{i}" for i in range(400)]


def plain(values: list[int]) -> int:
    """Return the code of a set: each bit that more than half of the mixed hashes have."""
    hashes = [mixed(value) for value in values]
    return sum(1 << k for k in range(64) if sum(h >> k & 1 for h in hashes) > len(values) / 2)


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 2**32 - 1), max_size=9), max_size=9))
def test_codes_equal_the_definition(sets: list[set[int]]) -> None:
    """For any sets; of an even split the bit is not set, and the empty set has none."""
    ordered = [sorted(each) for each in sets]
    found = simhash(Ragged.of_rows([np.array(each, np.uint32) for each in ordered]))
    assert found.dtype == np.uint64
    assert found.shape == (len(sets), 1)
    assert found[:, 0].tolist() == [plain(each) for each in ordered]


@pytest.mark.parametrize("named", [{"similar": ["text_simhash"]}, {"rules": [{"text.simhash": 0.95}]}])
def test_a_rule_needs_the_codes(tmp_path: Path, named: dict[str, object]) -> None:
    """Without them it would silently match nothing."""
    path = tmp_path / "params.yaml"
    path.write_text(f"dedup: {named}")
    with pytest.raises(params.ParamsError, match=r"fingerprint\.text\.simhash: true"):
        params.load(path)


def test_a_rule_on_simhash_drops_and_says_so(tmp_path: Path) -> None:
    """One word of 400 is another, which moves few of the bits; the short text has no code, and no match."""
    other = [*WORDS[:200], "another", *WORDS[201:]]
    rows = [{"id": "a", "text": " ".join(WORDS)}, {"id": "b", "text": " ".join(other)}, {"id": "c", "text": "word1"}]
    given = {"fingerprint__text__simhash": True, "dedup__rules": [{"text.simhash": 0.9}]}
    root = projects.build(projects.create(tmp_path, rows, **given))
    found = projects.decisions(root)
    assert {name: row["action"] for name, row in found.items()} == {"a": "keep", "b": "drop", "c": "keep"}
    assert found["b"]["method"] == "simhash"
    assert found["b"]["evidence"].startswith("text.simhash=0.9")
    assert projects.metrics(root, "match")["recall"]["text_simhash"] == 1


def test_a_version_of_short_texts_alone_has_no_codes_to_compare(tmp_path: Path) -> None:
    """No code says enough, and all are kept."""
    rows = [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]
    given = {"fingerprint__text__simhash": True, "dedup__similar": ["text", "text_simhash"]}
    assert projects.kept(projects.build(projects.create(tmp_path, rows, **given))) == {"a", "b"}
