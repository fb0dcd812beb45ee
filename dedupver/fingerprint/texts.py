"""Texts: their normal form is their content; shingle sets, codes of these and an embedding are their fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.digests import of_list
from dedupver.fingerprint import text
from dedupver.fingerprint.look import Look, Sink, encoder
from dedupver.fingerprint.normal import normal_forms
from dedupver.fingerprint.rows import Found
from dedupver.fingerprint.simhash import simhash
from dedupver.schema import SIZES, Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays
    from dedupver.fingerprint.strings import Strings

_EMPTY: Final = Unreadable("empty_text", "nothing but white space")
_CHARS: Final = SIZES.index("chars")


def look(settings: params.Text, sink: Sink, joint: params.Joint) -> Look:
    """Return the look at texts."""
    empty = sink.verdict(_EMPTY)

    def at(strings: Strings) -> Found:
        forms, chars = normal_forms(strings)
        found = Found.nothing(len(strings))
        found.content[:] = of_list(forms.sha256())
        found.size[:, _CHARS] = chars
        found.verdict[chars == 0] = empty
        fresh = sink.lacking(found.content, np.flatnonzero(chars))
        if len(fresh):
            sink.add(_arrays(forms.take(fresh), settings, sink, joint))
        return found

    return at


def _arrays(forms: Strings, settings: params.Text, sink: Sink, joint: params.Joint) -> Arrays:
    sets = text.shingle_sets(forms, settings.shingle, settings.min_tokens, settings.tokens)
    arrays: Arrays = {"sets": sets}
    if settings.ngrams:
        arrays["ngrams"] = text.ngrams(forms, settings.ngrams, settings.tokens)
    if settings.simhash:
        arrays |= {"simhash": simhash(sets), "simhash.valid": sets.sizes > 0}
    words = [str(form, "utf-8") for form in forms] if settings.encoder or joint.any else []
    if settings.encoder:
        vectors = sink.encode("embedding", encoder(settings.encoder, "text"), words)
        too_short = sets.sizes == 0  # for shingles, and it says too little for a vector as well
        arrays["embedding"] = np.where(too_short[:, None], np.float32(np.nan), vectors)
    for name, spec in (("joint", joint.encoder), ("heard", joint.sounds)):
        if spec:  # where an image or a sound is at hand, two words say something
            arrays[name] = sink.encode(name, encoder(spec, "text"), words)
    return arrays
