"""The page of a version for people, in Markdown, under the front matter that Hugging Face reads of a dataset card.

Labels, sources and params come from the data and its owners: none of it can be Markdown, HTML or YAML of its own.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from dedupver.card.facts import MOST
from dedupver.manifest import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dedupver.card.facts import Facts, Form, Share

SPECIAL: Final = re.compile(r"([\\`*{}\[\]|~!$@]|:(?=//)|(?<![^\W_])_|_(?![^\W_]))")
"""What could begin or end Markdown within a cell: within a word `_` can't."""

LONGEST: Final = 80
"""Characters of a label that are shown."""

INFERRED: Final = {"text": "txt", "arrow": "arrow"}
"""The suffix by which a configuration's builder is told, where that is not every suffix of the kind."""

PLAIN: Final = re.compile(r"[\w.-]+")
"""Suffixes that code can name: a source may take any suffix for a text's."""

UNITS: Final = {"bytes": "bytes", "pixels": "pixels", "chars": "characters", "millis": "milliseconds"}
SIZE_CATEGORIES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
BUILDERS: Final = {
    "parquet": "parquet",
    "jsonl": "json",
    "csv": "csv",
    "tsv": "csv",
    "arrow": "arrow",
    "tar": "webdataset",
    "text": "text",
    "image": "imagefolder",
    "audio": "audiofolder",
    "video": "videofolder",
}
"""The builder of Hugging Face's datasets that reads each kind of file."""


def page(facts: Facts) -> str:
    """Return the page: what the version holds, how it was made, what went and why, and how to read it."""
    return "\n".join([*_front(facts), *_body(facts)]) + "\n"


def escaped(text: object) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return SPECIAL.sub(r"\\\1", html.escape(plain))


def _front(facts: Facts) -> Iterator[str]:
    card, kept = facts.card, facts.header["counts"]["kept"]
    told: dict[str, Any] = {
        "pretty_name": card.name,
        "license": card.license,
        "tags": [*card.keywords, "croissant", "deduplicated"],
        "size_categories": [next((word for most, word in SIZE_CATEGORIES if kept < most), "n>1M")],
        "configs": [
            {"config_name": form.suffix.replace(".", "-"), "data_files": f"clean/**/*.{form.suffix}"}
            for form in facts.forms
            if INFERRED.get(form.kind, form.suffix) == form.suffix
        ],
    }
    yield "---"
    yield yaml.safe_dump({name: value for name, value in told.items() if value}, sort_keys=False).rstrip()
    yield "---"


def _body(facts: Facts) -> Iterator[str]:
    header, card = facts.header, facts.card
    parent = (header.get("parent") or {}).get("version")
    yield f"\n# {escaped(card.name)}, {escaped(header['version'])}\n"
    yield card.description or "*No description yet: `card.description` in params.yaml.*"
    yield ""
    yield from _facts(facts, parent)
    yield from _versions(facts)
    yield from _how(facts)
    yield from _validated(facts.validation)
    yield from _leaks(facts.leaks)
    yield from _splits(facts.splits)
    yield from _section("Parts of the kept records", ("part", "records"), facts.parts.items())
    for name, shares in facts.attributes.items():
        yield from _attribute(name, shares)
    yield from _files(facts)
    yield from _reading(facts.forms)


def _facts(facts: Facts, parent: str | None) -> Iterator[str]:
    header, card, counts = facts.header, facts.card, facts.header["counts"]
    went = counts["n_in"] - counts["kept"]
    yield from _table(
        ("", ""),
        [
            ("version", f"{header['version']} of {header['time']}" + (f", after {parent}" if parent else "")),
            ("records", f"{counts['kept']:,} of {counts['n_in']:,} that came in ({went:,} went or were put aside)"),
            ("size", ", ".join(f"{count:,} {UNITS[name]}" for name, count in facts.totals.items() if count)),
            ("licence", card.license or "not stated: card.license in params.yaml"),
            *([("creators", ", ".join(card.creators))] if card.creators else []),
            *([("home", card.url)] if card.url else []),
            *([("to cite", card.citation)] if card.citation else []),
        ],
    )


def _versions(facts: Facts) -> Iterator[str]:
    rows = [
        (version, *(f"{counts[name]:,}" for name in FILES.values()), _reasons(counts["reasons"]))
        for version, counts in [*facts.versions.items(), ("in all", facts.holds)]
    ]
    yield from _section("What each version brought, and what went", ("version", *FILES.values(), "why"), rows)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _how(facts: Facts) -> Iterator[str]:
    given, tools = facts.header["params"]["dedup"], facts.header["tools"]
    rules = "; ".join(" and ".join(f"{term}: {value}" for term, value in rule.items()) for rule in given["rules"])
    yield from _section(
        "How it was deduplicated",
        ("", ""),
        [
            ("a record goes under", rules),
            ("similar means", ", ".join(f"{kind} ≥ {given['thresholds'][kind]:g}" for kind in given["similar"])),
            ("who stays", ", ".join(given["keep"])),
            ("recall of the searches, measured", _recalls(facts.recall)),
            ("made by", ", ".join(f"{name} {release}" for name, release in sorted(tools.items()))),
        ],
    )
    yield "\nEach removal, with its representative, scores and rule, is in `manifest/`."


def _validated(rules: Mapping[str, Any]) -> Iterator[str]:
    if rules:
        rows = [
            (name, rule["about"], rule["asks"], rule["action"], *(f"{count:,}" for count in _failing(rule)))
            for name, rule in rules.items()
        ]
        head = ("rule", "about", "asks", "who fails", "of records", "fail", "fail and are kept")
        yield from _section("What was validated", head, rows)


def _leaks(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Say what resembled test data or a benchmark, where there was anything to resemble."""
    if sum(side["records"] > 0 for side in certificate.get("sides", [])) < 2:
        return
    rows = [
        (case, one["split"] or "no split", one["protected"], one["method"], f"{one['records']:,}")
        for case in ("removed", "remaining")
        for one in certificate[case]["by"]
    ]
    yield from _section("What leaked", ("", "records of", "leaked from", "found by", "records"), rows)
    removed, remaining = (certificate[case]["records"] for case in ("removed", "remaining"))
    yield f"\n{removed:,} leaking records went, {remaining:,} remain. The certificate is in `manifest/`."


def _splits(told: Mapping[str, Any]) -> Iterator[str]:
    if told["ratios"]:
        rows = [
            (name, f"{ratio:g}", f"{told['sizes'].get(name, 0):,}", f"{told['deviation'][name]:+.2%}")
            for name, ratio in told["ratios"].items()
        ]
        yield from _section("Splits", ("split", "asked for", "records", "off by"), rows)
        yield "\nWho is in which is in `splits/`; nothing alike is in two."


def _failing(rule: Mapping[str, Any]) -> tuple[int, int, int]:
    return rule["checked"], rule["failed"]["before"], rule["failed"]["after"]


def _recalls(found: Mapping[str, float | None]) -> str:
    return ", ".join(f"{kind} {value:g}" for kind, value in found.items()) or "no true match in the sample"


def _attribute(name: str, shares: Sequence[Share]) -> Iterator[str]:
    if not shares:
        return
    came, kept = (sum(counts) or 1 for counts in ([s.came for s in shares], [s.kept for s in shares]))
    rows = [
        (_cut(share.name), f"{share.came:,}", f"{share.kept:,}", f"{share.came / came:.1%}", f"{share.kept / kept:.1%}")
        for share in shares[:MOST]
    ]
    yield from _section(f"Records by {name}", (name, "came in", "kept", "share that came", "share that is kept"), rows)
    if len(shares) > MOST:
        yield f"\nand {len(shares) - MOST:,} more."


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _files(facts: Facts) -> Iterator[str]:
    rows = [
        (form.suffix, form.kind, f"{form.files:,}", f"{form.records:,}", f"{form.bytes:,}", ", ".join(form.columns))
        for form in facts.forms
    ]
    yield from _section("Files in `clean/`", ("suffix", "what", "files", "records", "bytes", "columns"), rows)


def _reading(forms: Sequence[Form]) -> Iterator[str]:
    """Say how each form is read, in code that can be pasted beside `clean/`."""
    code = [line for form in forms if PLAIN.fullmatch(form.suffix) for line in reading(form)]
    used = [name for name in ("datasets", "duckdb", "glob", "webdataset") if any(f"{name}." in line for line in code)]
    yield from ("\n## How to read it\n", "```python", f"import {', '.join(used)}\n" if used else "", *code, "```")


def reading(form: Form) -> Iterator[str]:
    """Yield lines of Python that read the files of a form, after `import datasets, duckdb, glob, webdataset`."""
    pattern = repr(f"clean/**/*.{form.suffix}")
    if form.kind == "tar":
        yield f"webdataset.WebDataset(sorted(glob.glob({pattern}, recursive=True)), shardshuffle=False)"
    else:
        yield f"datasets.load_dataset({BUILDERS[form.kind]!r}, data_files={pattern}{_options(form)})"
    if form.kind in FUNCTIONS:
        yield f'duckdb.sql("SELECT * FROM {FUNCTIONS[form.kind]}({pattern})")'  # noqa: S608 - it is printed, for people to paste


FUNCTIONS: Final = {"parquet": "read_parquet", "jsonl": "read_json", "csv": "read_csv", "tsv": "read_csv"}
"""The functions of DuckDB that read each kind of file."""


def _options(form: Form) -> str:
    return ", sep='\\t'" if form.kind == "tsv" else ", sample_by='document'" if form.kind == "text" else ""


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield from _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield f"| {' | '.join(escaped(cell) for cell in row)} |"
