"""Answers as plain, aligned text."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from dedupver import causes, query
from dedupver.manifest import FILES
from dedupver.plain import columns, plain
from dedupver.trail import summary as summarized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from dedupver.blocks import Shared
    from dedupver.blocks.trees import Equal
    from dedupver.invariants import Finding
    from dedupver.lineage import Link


LISTED: Final = 20
"""So many rows of a long table are shown."""

LONGEST: Final = 60
"""So many characters of a text are shown."""

FEW: Final = 4
"""So many copies of one original are shown."""


def alignment(told: Mapping[str, Any], out: str) -> Iterator[str]:
    """Yield the text of `dedupver align`: what was fitted, how well it retrieves, and how to use it."""
    yield f"{told['pairs']} pairs, ridge {told['ridge']:g}; held out, recall beside that of a random order:"
    rows = [["", "recall@1", "chance", "recall@10", "chance", "among"]]
    for side, words in (("text", "caption for an image"), ("image", "image for a caption")):
        found, chance = told["recall"][side], told["recall"][side]["chance"]
        rows.append([words, found["1"], chance["1"], found["10"], chance["10"], found["of"]])
    yield from columns(rows)
    fit = told["fit"]
    yield f"similarity: {fit['own']} in the middle of pairs, below {fit['strangers_99']} for 99 % of strangers"
    yield f"fingerprint.joint.encoder: aligned:{out}   # in params.yaml, and {out} among the fingerprint stage's deps"


def changes(found: pa.Table, *, everything: bool = False) -> Iterator[str]:
    """Yield the text of `dedupver diff`: the counts, then a line for each change; new kept ones only if asked for."""
    yield ", ".join(f"{kind} {n}" for kind, n in query.count(found).items())
    if found.num_rows and "cause" in found.column_names:
        yield "causes: " + ", ".join(f"{cause} {n}" for cause, n in causes.count(found).items())
    # Kleene's logic, for the gone have no `after`
    plainly = pc.and_kleene(pc.equal(found["kind"], "added"), pc.equal(found["after"], "keep"))
    told = found if everything else found.filter(pc.invert(plainly))
    if told.num_rows:
        yield from columns([("change", *told.column_names[1:]), *(_change(row) for row in told.to_pylist())])
    if told.num_rows < found.num_rows:
        yield f"and {found.num_rows - told.num_rows} added and kept, which --all lists"


def trail(found: Iterable[dict[str, Any]], limit: int) -> Iterator[str]:
    """Yield the text of `dedupver audit`: a line for each event up to a limit, and how many there are by reason."""
    counted, shown = Counter[str](), list[dict[str, Any]]()
    for row in found:
        counted[row["reason"]] += 1
        if len(shown) < limit:
            shown.append(row | {name: _number(row[name]) for name in ("score", "threshold")})
    if shown:
        yield from columns([EVENT, *([row[name] for name in EVENT] for row in shown)])
    if len(shown) < counted.total():
        yield f"and {counted.total() - len(shown)} more: --limit shows them, --csv and --json all"
    yield plain(summarized(counted))


EVENT: Final = (
    *("written", "action", "id", "reason", "representative", "method", "score", "threshold", "rule", "source", "label"),
    *("decided_at", "job"),
)


def _change(row: dict[str, Any]) -> list[object]:
    return list((row | {name: _number(row[name]) for name in ("score", "threshold")}).values())


def changes_json(found: pa.Table) -> Iterator[str]:
    """Yield the JSON of `dedupver diff` piece by piece, as `json.dumps(…, indent=1, sort_keys=True)` writes it."""
    flat = json.JSONEncoder(sort_keys=True, separators=(",\n   ", ": "))
    told = json.dumps(causes.count(found), indent=1, sort_keys=True).replace("\n", "\n ")
    yield f'{{\n "causes": {told},\n "changes": ['
    comma = end = ""
    for batch in found.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield f"{comma}\n  {{\n   {flat.encode(row)[1:-1]}\n  }}"
            comma, end = ",", "\n "
    counts = json.dumps(query.count(found), indent=1, sort_keys=True).replace("\n", "\n ")
    yield f'{end}],\n "counts": {counts}\n}}\n'


def explanation(found: query.Explanation) -> Iterator[str]:
    """Yield the text of `dedupver explain`."""
    row = found.decision
    yield f"{plain(row['id'])}: {_verdict(row)}"
    yield from columns(_indented(_facts(row)))
    yield from _section("field by field", list(_fields(row, found.fields)))
    yield from _section("in common", [(_common_words(each),) for each in found.overlap])
    yield from _section("history", [HISTORY, *(_event(event) for event in found.history)])
    yield from _section("rests on", [(plain(r["id"]), _verdict(r)) for r in found.chain])
    yield from _section(f"represents {len(found.represents)}", [(name,) for name in found.represents])
    yield from _section("what would change it", [(remedy,) for remedy in found.remedies])


def summary(found: dict[str, Any]) -> Iterator[str]:
    """Yield the text of `dedupver show`."""
    parent = f", after {found['parent']}" if found["parent"] else ""
    yield f"{plain(found['version'])} of {plain(found['time'])} ({found['mode']}{parent})"
    counted = [*found["versions"].items(), ("in all", found["holds"])]
    yield from columns(
        [("version", *FILES.values(), "reasons"), *((name, *_outcomes(counts)) for name, counts in counted)]
    )
    held = [(name, f"{n['records']:,} records", f"{n['files']:,} files") for name, n in found["sources"].items()]
    yield from _section("came in", [(name, records, "" if name == "files" else files) for name, records, files in held])
    rows = [(c["representative"], f"{c['dropped']} dropped for it") for c in found["largest_clusters"]]
    yield from _section(f"clusters: {found['clusters']}, the largest", rows)
    yield from _section("files in manifest/", [(name,) for name in found["files"]])


def leaks(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of `dedupver leaks`."""
    removed, remaining = found["removed"], found["remaining"]
    if not found["sides"] or not any(side["records"] for side in found["sides"]):
        yield f"{plain(found['version'])}: all records are of one side, there is nothing to leak into"
        return
    yield f"{plain(found['version'])}: {removed['records']} leaks removed, {remaining['records']} remain"
    rows = [(side["side"], side["records"], side["kept"], _pairs(side["contents"])) for side in found["sides"]]
    yield from columns([("side", "records", "kept", "distinct contents"), *rows])
    by = found["compared_by"]
    parts = [
        (name, _pairs({kind: f"{value:g}" for kind, value in kinds.items()})) for name, kinds in by["parts"].items()
    ]
    yield from _section("a part alone leaks from", parts)
    rules = [("{" + ", ".join(f"{term}: {value}" for term, value in rule.items()) + "}",) for rule in by["rules"]]
    yield from _section("and by the rules of duplicates", rules)
    recall = {kind: value for kind, value in (found.get("recall") or {}).items() if value is not None}
    yield from _section("recall of the searches, of a sample", [(_pairs(recall),)] if recall else [])
    yield from _section("removed", [_leaked(row) for row in removed["by"]])
    yield from _section("remain", [_leaked(row) for row in remaining["by"]])
    lacking = found["not_compared"]
    quarantined = [(code, f"{count} quarantined") for code, count in lacking["quarantined"].items()]
    lacks = [
        (name, f"without a fingerprint: {_pairs(kinds)}") for name, kinds in lacking["without_fingerprint"].items()
    ]
    hot = [("hot buckets", f"{lacking['hot']} records not with all")] if lacking["hot"] else []
    yield from _section("not compared", [*quarantined, *lacks, *hot])
    for name in ("removed", "remaining"):
        shown = found["worst"][name][:LISTED]
        lines = [(row["id"], "←", row["from"], row["protected"], row["method"], f"{row['score']:.4g}") for row in shown]
        yield from _section(f"the worst {name}", lines)


def _common_words(row: Mapping[str, Any]) -> str:
    where = f"{row['part']}: {row['words']} words in a row, from word {row['at'] + 1:,} of {row['of']:,}"
    return f"{where} ({row['shared']} of {row['ngrams']} n-grams in all): “{row['text']}”"


def _leaked(row: Mapping[str, Any]) -> tuple[object, ...]:
    said = (row["split"] or "-", "←", row["protected"] or "-", row["method"], row["records"])
    return (row["reason"], *said) if "reason" in row else said


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def findings(found: Sequence[Finding]) -> Iterator[str]:
    """Yield the text of `dedupver check`."""
    if not found:
        yield "all digests and invariants hold"
        return
    yield from columns(
        [("check", "subject", "finding", "fix"), *((f.check, f.subject, f.message, f.fix) for f in found)]
    )
    yield f"{len(found)} findings"


def lineage(links: Sequence[Link], found: Sequence[Finding]) -> Iterator[str]:
    """Yield the text of `dedupver check --history`: the chain, then what does not hold."""
    told = ("version", "commit", "parent", "raw", "params", "release", "manifest")
    rows = [[str(getattr(link, name) or "?")[:12] for name in told] for link in links]
    for row, link in zip(rows, links, strict=True):
        row[2] = link.parent or ""
    yield from columns([told, *rows])
    yield from findings(found) if found else [f"{len(links)} versions, each follows from the one before it"]


def common(found: dict[str, dict[str, Any]], *, passages: bool) -> Iterator[str]:
    """Yield the text of `dedupver shared`; `passages` says whether those were counted."""
    if not found:
        yield f"no two kept records share a part{' or a passage' if passages else ''}"
    for what, each in found.items():
        shown = [(row["records"], row["chars"], row["example"], _cut(row["preview"])) for row in each["rows"]]
        title = f"{each['contents']:,} × {what}, in several records each"
        yield from _section(title, [("records", "repeated characters", "for example", "beginning"), *shown])
        if each["contents"] > len(shown):
            yield f"  and {each['contents'] - len(shown):,} more: see --most"
    if not passages:
        yield "lines and paragraphs are counted where fingerprint.text.passages says how long one must be"


def validation(told: dict[str, Any]) -> Iterator[str]:
    """Yield the text of `dedupver validate`: each rule with its counts, then the first records that fail it."""
    records, unreadable = told["records"], told["unreadable"]
    kept = "" if records["after"] is None else f", {records['after']:,} of them kept"
    yield f"{records['before']:,} records{kept}; {sum(unreadable.values()):,} can't be read"
    yield from columns(_indented(unreadable.items()))
    rows = [("rule", "about", "asks", "action", "records", "fail", "of the kept")]
    for name, rule in told["rules"].items():
        failed = rule["failed"]
        rows.append(
            (name, rule["about"], rule["asks"], rule["action"], rule["checked"], failed["before"], failed["after"])
        )
    yield from columns(rows)
    for name, rule in told["rules"].items():
        yield from _section(f"fail {name}", [(row["id"], row["code"], row["detail"]) for row in rule["first"]])
        if rule["failed"]["before"] > len(rule["first"]) > 0:
            yield f"  and {rule['failed']['before'] - len(rule['first']):,} more: see --most"


def shared(found: Shared) -> Iterator[str]:
    """Yield the text of `dedupver blocks`: what would save most."""
    yield f"{found.files} files of {found.bytes} bytes"
    yield from columns(
        _indented(
            [
                ("each content once", found.distinct, _saved(found.bytes, found.distinct)),
                ("each block once", found.blocks, _saved(found.bytes, found.blocks)),
            ]
        )
    )
    yield from _groups("equal folders, and the bytes that copies take", found.folders)
    yield from _groups("equal files", found.copies)
    rows = [(p.bytes, f"{p.of_left:.0%}", p.left, f"{p.of_right:.0%}", p.right) for p in found.pairs]
    yield from _section("bytes that two files share, and what share of each", rows[:LISTED])
    yield from _more(len(rows) + found.left_out)
    yield from _section("can't be read", list(found.unreadable.items())[:LISTED])
    yield from _more(len(found.unreadable))


def _groups(title: str, groups: Sequence[Equal]) -> Iterator[str]:
    yield from _section(title, [row for each in groups[:LISTED] for row in _group(each)])
    yield from _more(len(groups))


def _group(equal: Equal) -> Iterator[Sequence[object]]:
    first, *others = equal.paths
    yield equal.bytes, f"{equal.files} files" if equal.files > 1 else "a file", first
    yield from (("", "", f"= {path}") for path in others[:FEW])
    if len(others) > FEW:
        yield "", "", f"= {len(others) - FEW} more"


def _saved(all_: int, stored: int) -> str:
    return f"saves {(all_ - stored) / all_:.1%}" if all_ else ""


def _more(count: int) -> Iterator[str]:
    if count > LISTED:
        yield f"  and {count - LISTED} more, which --json lists"


def _verdict(row: dict[str, Any]) -> str:
    done = {"keep": "kept", "drop": "dropped", "quarantine": "quarantined", "gone": "gone"}[row["action"]]
    whom = f" {plain(row['representative'])}" if row["representative"] else ""
    why = "" if row["reason"] == "kept" else f": {plain(row['reason'])}{whom}"
    return f"{done} in {plain(row['decided'])}{why}"


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "place", row["path"] if row["row"] < 0 else f"{row['path']} row {row['row']}"
    if row["score"] is not None:
        against = "" if row["threshold"] is None else f" (threshold {_number(row['threshold'])})"
        yield "score", f"{_number(row['score'])}{against}"
    yield from ((name, row[name]) for name in ("evidence", "rule", "method", "source", "split", "detail") if row[name])
    yield from (
        (part["part"], f"content {part['content'][:16]}… bytes {part['sha256'][:16]}…") for part in row["parts"]
    )


HISTORY: Final = ("version", "what it did", "action", "reason", "representative", "score", "threshold", "time", "job")


def _event(row: dict[str, Any]) -> tuple[object, ...]:
    said = (row["written"], row["change"], row["action"], row["reason"], row["representative"])
    return *said, _number(row["score"]), _number(row["threshold"]), row["decided_at"], row["job"]


def _fields(decision: dict[str, Any], found: Sequence[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    if found:
        yield "field", decision["id"], decision["representative"], "weight", "similarity"
    for row in found:
        yield row["field"], _cut(row["mine"]), _cut(row["its"]), _number(row["weight"]), _number(row["similarity"])


def _cut(value: str | None) -> str | None:
    return value if value is None or len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def _outcomes(counts: dict[str, Any]) -> tuple[object, ...]:
    reasons = ", ".join(f"{reason} {n}" for reason, n in counts["reasons"].items())
    return (*(counts[outcome] for outcome in FILES.values()), reasons)


def _section(title: str, rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if rows:
        yield f"{title}:"
        yield from columns(_indented(rows))


def _indented(rows: Iterable[Sequence[object]]) -> Iterator[Sequence[object]]:
    return ((f"  {row[0]}", *row[1:]) for row in rows)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
