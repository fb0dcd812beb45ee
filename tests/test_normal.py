"""The normal form: cases by hand, what holds for any text, and the compiled way against the plain one."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.normal import normal_forms, normalize
from dedupver.fingerprint.strings import Strings

TRICKY = "ßİıǰΐᾳ\u0345\u0301\u030cA\u1e9eΣςK\u0130 \u3000\x85\u1fb7ﬀÉéЖ我가ᄀ\u1161\u11a8\u2126\u212aȺ🙂𐐀\U000e0100\x00\x1c\x1f\x7f\t\n"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,\n\tWORLD  ", "hello, world"),
        ("Straße", "strasse"),
        ("e\u0301", "é"),
        ("Ｅ", "ｅ"),
        ("J\u030c", "ǰ"),
        ("a\u00a0\u2003b", "a b"),
        ("\u212b", "å"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_normal_form_by_hand(text: str, normal: str) -> None:
    """Case is folded, composed forms win, any white space is one space; compatibility forms stay apart."""
    assert normalize(text) == normal


@given(st.text() | st.text(TRICKY))
def test_normalize_is_idempotent(text: str) -> None:
    """The normal form of a normal form is itself."""
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_canonically_equal_texts_have_one_normal_form(text: str) -> None:
    """Whether they come composed or decomposed; and white space around them is nothing."""
    assert normalize(unicodedata.normalize("NFD", text)) == normalize(text)
    assert normalize(f"\n {text}\t") == normalize(text)


@given(st.text("abcXYZ \t\n09.", max_size=20))
def test_ascii_is_normalised_as_any_other_text(text: str) -> None:
    """The shorter way that ASCII takes leads to the same place."""
    assert normalize(text) + " é" == normalize(text.strip() + " é") or not text.strip()


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8")) | st.text(TRICKY) | st.text(st.characters(codec="ascii")), max_size=8
    )
)
@example(["a", "ß", "", " ", "B \x1c b", "é É"])
def test_columns_are_normalised_like_each_text(texts: list[str]) -> None:
    """The compiled form is `normalize`, byte for byte, and has as many characters."""
    forms, chars = normal_forms(Strings.of_list(text.encode() for text in texts))
    expected = [normalize(text) for text in texts]
    assert [str(form, "utf-8") for form in forms] == expected
    assert chars.tolist() == [len(text) for text in expected]


def test_every_character_is_normalised_alike_beside_others() -> None:
    """One by one, after a letter that accents join and before an accent."""
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    texts = [text for c in characters for text in (c, f"a{c}", f"{c} {c}\u0301")]
    forms, chars = normal_forms(Strings.of_list(text.encode() for text in texts))
    assert b"\n".join(forms) == "\n".join(map(normalize, texts)).encode()
    assert chars.sum() == sum(len(normalize(text)) for text in texts)


@pytest.mark.parametrize(
    "data", [b"\xff", b"a\xc3", b"\xc3(", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf8\x9f\x99\x82", b"\x80"]
)
def test_bytes_that_are_no_utf8_are_refused(data: bytes) -> None:
    """Truncated, overlong, a surrogate: readers let none of them through, and nothing is guessed."""
    with pytest.raises(UnicodeDecodeError):
        normal_forms(Strings.of_list([b"good", data, b"\x80\x80"]))


def test_some_texts_of_a_buffer() -> None:
    """Texts may lie anywhere in it, twice, and beside bytes that are none of them."""
    whole = Strings.of_list([b"\xff", b"A  b", "É".encode(), "J\u030c".encode()])
    forms, chars = normal_forms(whole.take(np.array([3, 1, 2, 1])))
    assert [bytes(form).decode() for form in forms] == ["ǰ", "a b", "é", "a b"]
    assert chars.tolist() == [1, 3, 1, 3]
