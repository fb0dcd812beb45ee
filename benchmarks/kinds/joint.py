"""The aligned joint space on real pairs: retrieval held out, captions that were swapped, what a run reports.

    python -m benchmarks.kinds.joint

Pairs: emoji of two vendors with their names, drawings with their titles, subjects and descriptions. An aligned space is
fitted on nine tenths of the captions and asked for the last tenth; also for those of the last tenth of which no fitted
caption comes near (cosine of their text vectors below .8), since emoji and drawings come in series. Each held-out
caption and image is then taken as a record of its own, and counted which of them a rule {joint: t} calls duplicates, and
which of these belong together. Then 3 % of the captions of every other drawing are handed round; a space is aligned on
these very data, as a user would, the pipeline runs on them, and the captions that fit worst are compared with those that
were handed round. Downloads are kept in benchmarks/.work, results go to benchmarks/results/kinds.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks import readme
from benchmarks.bench import tell
from benchmarks.kinds import captioned
from benchmarks.kinds import results as runs
from dedupver import align, pipeline, store
from dedupver.fingerprint.encoders import open_encoder
from dedupver.project import Project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


SWAPPED: Final = 0.03
MOST: Final = 20_000
RULES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
RELATED: Final = 0.8
"""Captions whose text vectors are this near are of one series: "man running: light skin" and "woman running"."""

SPECS: Final = {"image": "efficientnet-lite0", "text": "wordllama"}


class Memory:
    """An encoder that knows what it was asked before, also in earlier runs: the file holds digests and vectors."""

    def __init__(self, spec: str, modality: str, file: Path) -> None:
        self._encoder, self._file, self._known = open_encoder(spec, modality), file, {}
        if file.exists():
            with np.load(file) as held:
                self._known = dict(zip(map(bytes, held["keys"]), held["vectors"], strict=True))

    def encode(self, batch: Any) -> Any:
        """Return the vector of one item."""
        (item,) = batch
        data = item.encode() if isinstance(item, str) else f"{item.shape}".encode() + item.tobytes()
        key = hashlib.sha256(self._encoder.digest.encode() + data).digest()
        if key not in self._known:
            self._known[key] = self._encoder.encode(batch)[0]
        return self._known[key][None]

    def save(self) -> None:
        """Write what is known."""
        keys = np.frombuffer(b"".join(self._known), np.uint8).reshape(-1, 32)
        np.savez(self._file, keys=keys, vectors=np.stack(list(self._known.values())))


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    sets = {"drawings": list(captioned.drawings(asked.work)), "emoji": list(captioned.emoji(asked.work))}
    (asked.work / "joint").mkdir(parents=True, exist_ok=True)
    encoders = {m: Memory(spec, m, asked.work / "joint" / f"{m}.npz") for m, spec in SPECS.items()}
    results: dict[str, Any] = {
        **runs.begun(),
        "encoders": SPECS,
    }
    results["retrieval"] = {}
    for name, pairs in {**sets, "both": sets["drawings"] + sets["emoji"]}.items():
        root = project(asked.work / "joint" / name, pairs)
        read = align.read(Project(root), encoders, MOST)
        made, told = align.best(read)
        told["unrelated"] = align.measured(made, unrelated(read))
        told["rule"] = ruled(made, read.take((9,)).without(read.take(tuple(range(9)))))
        for encoder in encoders.values():
            encoder.save()
        results["retrieval"][name] = {**told, "captions": len({pair.caption for pair in pairs})}
        tell(f"{name}: {told}")
    results["swapped"] = swapped(sets["drawings"][::2], encoders, asked.work / "joint" / "swapped")
    runs.write(asked.out, "joint", results, markdown(results), in_order=False)


def project(root: Path, pairs: Sequence[captioned.Pair], **given: Any) -> Path:
    """Lay out a project whose source is one table of the pairs."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "data/raw").mkdir(parents=True)
    table = {
        "id": [f"{pair.domain}/{number:05}" for number, pair in enumerate(pairs)],
        "image": [pair.image.read_bytes() for pair in pairs],
        "caption": [pair.caption for pair in pairs],
    }
    pq.write_table(pa.table(table), root / "data/raw/pairs.parquet", row_group_size=1000)
    store.write_json(root / "base" / "base.json", {"format": 1, "version": None})
    settings = {"source": {"columns": {"id": "id"}}, **given}
    (root / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return root


def unrelated(pairs: align.Pairs) -> align.Pairs:
    """Return the held-out pairs of which no fitted caption comes near."""
    seen = pairs.take(tuple(range(9)))
    held_out = pairs.take((9,)).without(seen)
    far = np.flatnonzero((held_out.texts @ seen.texts.T).max(axis=1) < RELATED)
    columns = (held_out.images, held_out.texts, held_out.image, held_out.text, held_out.tenth)
    return align.Pairs(*(column[far] for column in columns))


def ruled(made: align.Map, pairs: align.Pairs) -> dict[str, dict[str, int]]:
    """Count, by the threshold of a rule, the images and captions that it calls duplicates, and those it should."""
    image, text = (np.unique(ids, return_index=True)[1] for ids in (pairs.image, pairs.text))
    scores = made.of_images(pairs.images[image]) @ made.of_texts(pairs.texts[text]).T
    true = np.zeros(scores.shape, np.bool_)
    true[np.searchsorted(pairs.image[image], pairs.image), np.searchsorted(pairs.text[text], pairs.text)] = True
    return {
        str(at_least): {
            "called": int((scores >= at_least).sum()),
            "right": int(((scores >= at_least) & true).sum()),
            "true": int(true.sum()),
        }
        for at_least in RULES
    }


def swapped(pairs: list[captioned.Pair], encoders: dict[str, Memory], root: Path) -> dict[str, Any]:
    """Hand some captions round, align, run, and say how many of them are among the captions that fit worst."""
    chosen = random.Random(0).sample(range(len(pairs)), int(SWAPPED * len(pairs)))  # noqa: S311 - a fixed choice
    captions = {at: pairs[after].caption for at, after in zip(chosen, chosen[1:] + chosen[:1], strict=True)}
    mixed = [captioned.Pair(p.domain, p.image, captions.get(at, p.caption)) for at, p in enumerate(pairs)]
    wrong = {f"drawings/{at:05}" for at in chosen if captions[at] != pairs[at].caption}
    project(root, mixed)
    made, told = align.best(align.read(Project(root), encoders, MOST))
    stated = {
        "format": "aligned/1",
        "encoders": SPECS,
        "digests": {m: open_encoder(s, m).digest for m, s in SPECS.items()},
    }
    for name in ("matrix", "images", "texts"):
        store.write_array(root / "space" / f"{name}.npy", getattr(made, name))
    store.write_json(root / "space/align.json", stated)
    rows: dict[str, Any] = {"records": len(pairs), "wrong": len(wrong), "threshold": told["fit"]["strangers_99"]}
    given = {
        "fingerprint": {"joint": {"encoder": f"aligned:{root / 'space'}"}},
        "match": {"floor": {"joint": 0.2}},
        "dedup": {"thresholds": {"joint": told["fit"]["strangers_99"]}},
    }
    project(root.with_name("run"), mixed, **given)
    for stage in pipeline.DECIDING:
        pipeline.run(stage, root.with_name("run"))
    return {**rows, **told_of(root.with_name("run"), wrong)}


def told_of(root: Path, wrong: set[str]) -> dict[str, Any]:
    """Return how the handed-round captions rank among the kept ones, and what else is reported."""
    fits = pq.read_table(root / "build/dedup/captions.parquet")
    hit = np.array([name in wrong for name in fits["id"].to_pylist()])
    ranks = np.flatnonzero(hit)
    own, other = np.arange(len(hit))[~hit], ranks
    below = np.searchsorted(own, other)  # of each wrong one, the right ones that fit worse
    metrics = {stage: store.read_json(root / f"metrics/{stage}.json") for stage in ("match", "dedup")}
    return {
        "kept": len(hit),
        "kept_wrong": int(hit.sum()),
        "auc": round(1 - float(below.mean()) / max(len(own), 1), 4),
        "found": {
            str(share): round(float(hit[: int(share * len(hit))].sum() / hit.sum()), 4) for share in (0.03, 0.1, 0.25)
        },
        "worst_20": int(hit[:20].sum()),
        "fits": metrics["match"]["matches"] and pq.read_table(root / "index/segments/v1/joint.parquet").num_rows,
        "recall": metrics["match"]["recall"]["joint"],
        "reported": {k: v for k, v in metrics["dedup"]["reported"].items() if "fits" in k or "unlike" in k},
        "caption_fit": metrics["dedup"]["caption_fit"],
    }


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/joint.md."""
    rows = []
    for name, told in results["retrieval"].items():
        for held_out, recall in (("held out", told["recall"]), ("and unrelated", told["unrelated"])):
            for side, words in (("text", "caption of an image"), ("image", "image of a caption")):
                found, chance = recall[side], recall[side]["chance"]
                shares = (f"{share[k]:.3f}" for k in ("1", "10") for share in (found, chance))
                rows.append([f"{name}, {told['pairs']:,}", held_out, words, f"{found['of']:,}", *shares])
    calls = [
        [name, at_least, f"{n['called']:,}", f"{n['right'] / max(n['called'], 1):.3f}", f"{n['right'] / n['true']:.3f}"]
        for name, told in results["retrieval"].items()
        for at_least, n in told["rule"].items()
    ]
    head = ("pairs", "captions", "asked", "among", "recall@1", "chance", "recall@10", "chance")
    worst = [[f"{float(share):.0%}", f"{found:.2f}"] for share, found in results["swapped"]["found"].items()]
    told = results["swapped"]
    consistency = (
        f"A wrong caption fits worse than a right one in {told['auc']:.0%} of the comparisons (area under the ROC curve); of "
        f"the 20 that are reported {told['worst_20']} are wrong."
    )
    other = (
        f"At {told['threshold']:.2f}, which 99 % of strangers stay below, {told['reported']['caption_fits_other_image']:,} pairs "
        f"of a caption and the image of another of the {told['kept']:,} drawings are reported."
    )
    return {
        "consistency": [consistency, other],
        "retrieval": readme.table(head, rows),
        "rule": readme.table(("pairs", "at", "called duplicates", "of them right", "of the right found"), calls),
        "wrong captions": readme.table(("among the captions that fit worst", "wrong ones found"), worst),
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [
        "# An aligned joint space",
        "",
        f"{results['machine']['processor']}; {results['date']}. {SPECS['image']} to {SPECS['text']}, held-out captions.",
        "",
        *tables(results)["retrieval"],
        "",
        "| pairs | own, median | strangers, 99 % |",
        "|---|---:|---:|",
    ]
    for name, told in results["retrieval"].items():
        lines.append(f"| {name} | {told['fit']['own']:.3f} | {told['fit']['strangers_99']:.3f} |")
    told = results["swapped"]
    lines += [
        "",
        "Held-out images and captions as records of their own, under a rule `{joint: t}`:",
        "",
        *tables(results)["rule"],
        "",
        (
            f"{told['wrong']:,} of {told['records']:,} drawings' captions handed round, the space aligned on these data; "
            f"{told['kept']:,} are kept by the default rules, {told['kept_wrong']} of them with a wrong caption."
        ),
        "",
        *tables(results)["wrong captions"],
        "",
        *tables(results)["consistency"],
        "",
        f"Search across modalities: recall {told['recall']}; reported at {told['threshold']}: "
        + ", ".join(f"{name} {count:,}" for name, count in told["reported"].items())
        + ".",
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
