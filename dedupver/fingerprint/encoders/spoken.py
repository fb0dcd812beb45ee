"""Sounds and texts in one space by what is said: `pocketsphinx` hears English words, and wordllama embeds them.

The package pocketsphinx (Huggins-Daines et al., "PocketSphinx", 2006) carries its models. It mishears a lot, and hears
words in any noise: this is a space of speech, and of nothing else that sounds.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any, Final

from dedupver.fingerprint.encoders import files, static
from dedupver.fingerprint.encoders.model import as_samples, stacked

if TYPE_CHECKING:
    from dedupver.fingerprint.encoders.model import Batch, Encoder, Model, Vectors

FORMAT: Final = "pocketsphinx/1"
PACKAGE: Final = "pocketsphinx"
RATE: Final = 16_000


class Recognizer:
    """The side of sounds: a sound's vector is that of the words which are heard in it."""

    modality, rate = "audio", RATE

    def __init__(self, words: Encoder, digest: str) -> None:
        """Load the models that the package carries."""
        self._decoder: Any = files.package(PACKAGE).Decoder(samprate=RATE, loglevel="FATAL")
        self._means = self._decoder.get_cmn(False)
        self._words, self.dim, self.digest = words, words.dim, digest

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return stacked([self._words.encode([self.heard(item)])[0] for item in batch], self.dim)

    def heard(self, item: object) -> str:
        """Return the words in a sound; what was heard before is forgotten."""
        samples = as_samples(item).astype("<i2").tobytes()
        self._decoder.reinit_feat()
        self._decoder.set_cmn(self._means)
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


def find(_: str, modality: str) -> Model:
    """Find the models of the package, and wordllama."""
    files.require(PACKAGE)
    words, folder = static.wordllama("", "text"), files.installed(PACKAGE, PACKAGE) / "model"
    if modality == "text":
        return words
    held = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    release = importlib.metadata.version(PACKAGE)
    digest = files.digest(FORMAT, {"words": words.digest, "files": list(held), "release": release}, *held.values())
    return files.model(digest, folder, lambda: Recognizer(words.load(), digest))
