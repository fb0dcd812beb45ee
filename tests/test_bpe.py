"""The compiled byte-pair encoding, against the library that defines it."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dedupver.fingerprint.bpe import BytePairs, open_bpe

_FOUND = importlib.util.find_spec("wordllama")
assert _FOUND
assert _FOUND.submodule_search_locations
DESCRIBED = json.loads(
    Path(_FOUND.submodule_search_locations[0], "tokenizers", "l2_supercat_tokenizer_config.json").read_text()
)
LIBRARY = Tokenizer.from_str(json.dumps(DESCRIBED))
LIBRARY.no_truncation()
LIBRARY.no_padding()


@pytest.fixture(scope="module")
def pairs() -> BytePairs:
    """Llama 2's tokens."""
    opened = open_bpe(DESCRIBED)
    assert opened
    return opened


CODE = st.text("etaoin \n\t▁<s>/_=-(){};\"'01", max_size=80)
ANY = st.text(max_size=40)


@settings(deadline=None)
@given(CODE | ANY)
@example("")
@example(" ")
@example("  two  spaces, ▁ and ▁▁")
@example("a" * 3000)
@example("é你🦊\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")
def test_tokens_are_the_librarys(pairs: BytePairs, text: str) -> None:
    """Words, code, runs, characters that are tokens and those that become bytes."""
    tokens = pairs.encode(text)
    assert tokens is None or tokens.tolist() == LIBRARY.encode(text, add_special_tokens=False).ids


def test_special_tokens_are_left_to_the_library(pairs: BytePairs) -> None:
    """A text that holds one is cut there before it is marked, which is not done here."""
    assert pairs.encode("if a <s>b</s>") is None
    assert pairs.encode("if a < s>b") is not None


def test_pairs_in_their_order_by_hand() -> None:
    """The first pair of the list goes first wherever it stands, and of equal pairs the leftmost."""
    vocabulary = {token: number for number, token in enumerate(["▁", "a", "b", "ab", "aa", "aab", "▁a"])}
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary |= {token: 100 + byte for byte, token in enumerate(fallback)}
    pairs = BytePairs(vocabulary, [("a", "b"), ("a", "a"), ("aa", "b"), ("▁", "a")], fallback, [])

    def tokens(text: str) -> list[int]:
        found = pairs.encode(text)
        assert found is not None
        return found.tolist()

    assert tokens("ab") == [0, 3]
    assert tokens("aab") == [6, 3]  # ▁a ab: a b is before a a
    assert tokens("aaa") == [0, 4, 1]  # a a is before ▁ a, the left one first
    assert tokens("b\n") == [0, 2, 100 + 10]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("normalizer", {"type": "Lowercase"}),
        ("normalizer", None),
        ("model", {"type": "WordPiece"}),
        ("model", {"byte_fallback": False}),
        ("model", {"dropout": 0.1}),
        ("model", {"ignore_merges": True}),
        ("model", {"merges": ["<0x0A> <0x0A>"]}),
    ],
)
def test_other_kinds_are_left_to_the_library(part: str, change: Any) -> None:
    """What would be encoded otherwise is not taken for this kind."""
    described = copy.copy(DESCRIBED)
    described[part] = described[part] | change if part == "model" else change
    assert open_bpe(described) is None
