"""Questions to manifests: hand-made logs of decisions, and what must be answered."""

from __future__ import annotations

import difflib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from decisions import bad, digest, log, near, row, table
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver import query, terminal
from dedupver.revision import at_revision
from dedupver.schema import PARTS, DedupverError, StateError

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[dict[str, object]]

OLD = [row("a"), row("b"), row("c"), near("d", "a"), near("e", "a"), row("f"), row("g"), row("same")]
NEW = [
    row("a"),
    row("c", content="other"),
    row("d"),
    near("e", "c"),
    near("f", "a"),
    bad("g"),
    row("n"),
    bad("z"),
    row("same"),
]


def changes(old: Rows, new: Rows, *columns: str) -> list[tuple[object, ...]]:
    """Return some columns of what differs, a tuple a change."""
    found = query.diff(*(table(*side).select(query.COMPARED) for side in (old, new)))
    assert found.schema == query.CHANGE
    return [tuple(each.values()) for each in found.select(columns or found.column_names).to_pylist()]


def test_diff_tells_each_kind_of_change() -> None:
    """One record of each kind is named once, in the order of the kinds."""
    found = changes(OLD, NEW, "kind", "id", "before", "after")
    assert found == [
        ("added", "n", None, "keep"),
        ("gone", "b", "keep", None),
        ("edited", "c", "keep", "keep"),
        ("dropped", "f", "keep", "drop"),
        ("restored", "d", "drop", "keep"),
        ("rehomed", "e", "drop", "drop"),
        ("quarantined", "g", "keep", "quarantine"),
        ("quarantined", "z", None, "quarantine"),
    ]


def test_the_text_of_a_diff_leaves_out_the_added_and_kept_alone() -> None:
    """Every other change has its line, the gone as well, unless all are asked for."""
    found = query.diff(*(table(*side).select(query.COMPARED) for side in (OLD, NEW)))
    counts, header, *lines, rest = terminal.changes(found)
    assert counts == "added 1, gone 1, edited 1, dropped 1, restored 1, rehomed 1, quarantined 2"
    assert header.split() == ["change", *query.CHANGE.names[1:]]
    assert [line.split()[:2] for line in lines] == [
        ["gone", "b"],
        ["edited", "c"],
        ["dropped", "f"],
        ["restored", "d"],
        ["rehomed", "e"],
        ["quarantined", "g"],
        ["quarantined", "z"],
    ]
    assert rest == "and 1 added and kept, which --all lists"
    assert len(list(terminal.changes(found, everything=True))) == 2 + 8


def test_diff_says_why() -> None:
    """A change carries the words of the decision that made it."""
    found = changes([row("a"), row("b")], [row("a"), near("b", "a", 0.85, decided="v2")], *query.CHANGE.names)
    assert found == [("dropped", "b", "keep", "drop", "near_duplicate_of", "a", 0.85, 0.8, "v2")]


def test_counts_name_every_kind() -> None:
    """Kinds that did not occur are counted as zero."""
    assert query.count(query.CHANGE.empty_table()) == dict.fromkeys(query.CHANGES, 0)
    assert query.count(query.diff(table(*OLD), table(*NEW)))["quarantined"] == 2


@pytest.mark.parametrize(
    ("old", "new", "kinds"), [([], [], []), ([], [row("a")], ["added"]), ([row("a")], [], ["gone"])]
)
def test_diff_of_empty_tables(old: list[dict[str, object]], new: list[dict[str, object]], kinds: list[str]) -> None:
    """A version without records differs like any other."""
    assert changes(old, new, "kind") == [(kind,) for kind in kinds]


def test_a_new_reason_alone_is_no_change() -> None:
    """A record that stays dropped for the same one has not changed, whatever the words."""
    assert changes([row("a"), near("b", "a")], [row("a"), near("b", "a", 0.95, reason="exact_duplicate_of")]) == []


STATES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["keep1", "keep2", "drop1", "drop2", "bad"]))


def state(name: str, word: str) -> dict[str, object]:
    """Return the decision a word stands for."""
    made = {"keep1": row(name), "keep2": row(name, content=f"{name}2"), "bad": bad(name)}
    return made.get(word) or near(name, f"rep{word[-1]}")


@settings(deadline=None, max_examples=60)
@given(STATES, STATES)
def test_diff_names_exactly_what_differs(old: dict[str, str], new: dict[str, str]) -> None:
    """A record is named once if and only if the two versions say something else of it."""
    sides = [[state(name, word) for name, word in side.items()] for side in (old, new)]
    named = [name for (name,) in changes(*sides, "id")]
    assert sorted(named) == sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))


def test_explain_follows_a_record_through_versions(tmp_path: Path) -> None:
    """The history holds each decision with the version whose files say it."""
    versions = log(tmp_path, [row("a"), row("b")], [near("b", "a", decided="v2")], [row("n", decided="v3")])
    found = query.explain(versions, "b")
    assert [(e["written"], e["action"]) for e in found.history] == [("v1", "keep"), ("v2", "drop")]
    assert (found.decision["representative"], found.decision["score"], found.decision["decided"]) == ("a", 0.9, "v2")
    assert found.decision["parts"][0]["content"] == digest("b").hex()
    assert [r["id"] for r in found.chain] == ["a"]
    assert found.represents == []


def test_explain_says_what_would_change_a_drop(tmp_path: Path) -> None:
    """A near duplicate names its threshold, a review, and that frozen history stays."""
    versions = log(tmp_path, [row("a"), near("b", "a")], [row("n", decided="v2")])
    review, threshold, history = query.explain(versions, "b").remedies
    assert "`b,a,different` in reviews.csv" in review
    assert "dedup.thresholds.text" in threshold
    assert "above 0.9" in threshold
    assert "rejudge" in history


def test_an_exact_duplicate_has_no_threshold_to_change(tmp_path: Path) -> None:
    """Equal contents are told apart by a review alone."""
    exact = near("b", "a", 1.0, reason="exact_duplicate_of", evidence="text=exact")
    assert query.explain(log(tmp_path, [row("a"), exact]), "b").remedies == [
        "a line `b,a,different` in reviews.csv tells the two apart"
    ]


def test_explain_lists_whom_a_kept_record_represents(tmp_path: Path) -> None:
    """Only those that are still dropped for it count."""
    versions = log(tmp_path, [row("a"), near("b", "a"), near("c", "a"), near("d", "a")], [row("c", reason="restored")])
    assert query.explain(versions, "a").represents == ["b", "d"]


def test_explain_knows_who_is_gone_and_who_was_unreadable(tmp_path: Path) -> None:
    """A record that left, and one in quarantine, are explained too."""
    versions = log(tmp_path, [row("a"), bad("q")], [row("a", "gone", reason="left_source", decided="v2")])
    assert query.explain(versions, "a").decision["reason"] == "left_source"
    assert query.explain(versions, "q").remedies == ["mend or remove q.txt: bad_utf8 (byte 3)"]


def test_an_unknown_id_names_the_nearest(tmp_path: Path) -> None:
    """A misspelt id is answered with those that resemble it."""
    with pytest.raises(DedupverError, match="photos/0042"):
        query.explain(log(tmp_path, [row("photos/0042.jpg"), row("b")]), "photos/042.jpg")


@pytest.mark.parametrize("asked", ["photos/2O42.jpg", "photos/242.jpg", "photos/20421.jpg", "potos/2042.jpg"])
def test_the_nearest_ids_are_found_among_many(asked: str, tmp_path: Path) -> None:
    """None resembles what was asked more than those that are named, by difflib over all of them."""
    ids = [f"photos/{n:04}.jpg" for n in range(2 * query.NEAREST)] + [f"texts/{n}" for n in range(query.NEAREST)]
    with pytest.raises(DedupverError) as raised:
        query.explain(log(tmp_path, [row(name) for name in ids]), asked)
    ratios = sorted((difflib.SequenceMatcher(None, name, asked).ratio() for name in ids), reverse=True)
    named = str(raised.value).split("'")[3::2]
    assert [difflib.SequenceMatcher(None, name, asked).ratio() for name in named] == ratios[:3]


def test_an_unknown_id_that_nothing_resembles_is_looked_for_in_the_others(tmp_path: Path) -> None:
    """A piece of an id names the first that hold it."""
    with pytest.raises(DedupverError, match=r"nearest ids are 'a/very/long/path/0042\.jpg'$"):
        query.explain(log(tmp_path, [row("a/very/long/path/0042.jpg"), row("b")]), "0042")


def test_show_counts_versions_clusters_and_files(tmp_path: Path) -> None:
    """Each version says what it brought; the whole is the live state; references are not counted."""
    first = [row("a"), near("b", "a"), near("c", "a"), bad("q"), row("r", role="reference", reason="reference")]
    found = query.show(log(tmp_path, first, [row("b", "gone", reason="left_source"), near("n", "a")]))
    assert found["versions"]["v1"] == {
        "kept": 1, "removed": 2, "quarantined": 1, "gone": 0, "reasons": {"bad_utf8": 1, "near_duplicate_of": 2},
    }  # fmt: skip
    assert found["versions"]["v2"] == {
        "kept": 0, "removed": 1, "quarantined": 0, "gone": 1, "reasons": {"left_source": 1, "near_duplicate_of": 1},
    }  # fmt: skip
    assert (found["holds"]["kept"], found["holds"]["removed"]) == (1, 2)
    assert found["largest_clusters"] == [{"representative": "a", "dropped": 2}]
    assert "v2.removed.parquet" in found["files"]


def test_show_says_what_records_came_in(tmp_path: Path) -> None:
    """Whole files, and rows by the suffix of what holds them; references are not counted."""
    rows = [
        row("a"),
        *(row(f"t{i}", path="x.jsonl.gz", row=i) for i in range(3)),
        row("u", path="in/Y.JSONL.GZ", row=0),
        row("s", path="s.tgz", row=0),
        row("r", path="z.csv", row=0, role="reference", reason="reference"),
    ]
    assert query.show(log(tmp_path, rows))["sources"] == {
        "files": {"files": 1, "records": 1},
        ".jsonl.gz": {"files": 2, "records": 4},
        ".tar.gz": {"files": 1, "records": 1},
    }


def test_evidence_is_read_back() -> None:
    """Terms name a part, the kind of evidence and its score; a review is none."""
    assert query.evidence_of("image.phash=0.969,caption=exact", PARTS) == [
        ("image", "image", 0.969),
        ("caption", None, 1.0),
    ]
    assert query.evidence_of("caption.embedding=0.97", PARTS) == [("caption", "text_embedding", 0.97)]
    assert query.evidence_of("image~caption.joint=0.93", PARTS) == [("image~caption", "joint", 0.93)]
    assert query.evidence_of("review=same", PARTS) == query.evidence_of(None, PARTS) == []


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git and DVC repository whose tags v1 and v2 hold a manifest, and whose tag v0 holds none."""
    root = tmp_path_factory.mktemp("repository")
    (root / "params.yaml").write_text("version: {name: v2}\n", encoding="utf-8")
    _call(root, "git", "init", "-q")
    _call(root, "git", "config", "user.email", "a@example.org")
    _call(root, "git", "config", "user.name", "a")
    _call(root, sys.executable, "-m", "dvc", "init", "-q")
    _release(root, "v0")
    versions = [[row("a"), row("b")], [near("b", "a", decided="v2")]]
    for count in (1, 2):
        made = log(root / ".git" / f"work{count}", *versions[:count])
        _replace(made.path, root / "manifest")
        _call(root, sys.executable, "-m", "dvc", "add", "-q", "manifest")
        _release(root, f"v{count}")
    return root


def _replace(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in list(target.iterdir()):
        path.unlink()
    for path in source.iterdir():
        path.rename(target / path.name)


def _release(root: Path, tag: str) -> None:
    _call(root, "git", "add", "-A")
    _call(root, "git", "commit", "-qm", tag)
    _call(root, "git", "tag", tag)


def _call(root: Path, *words: str) -> None:
    subprocess.run(words, cwd=root, check=True, capture_output=True)


def test_a_revision_is_read_without_a_checkout(repository: Path) -> None:
    """The tag's manifest is opened from DVC's cache; the working tree stays as it is."""
    with at_revision(repository, "v1") as old, at_revision(repository, None) as new:
        assert (old.versions, new.versions) == (["v1"], ["v1", "v2"])
        assert query.diff(old.live(query.COMPARED), new.live(query.COMPARED))["kind"].to_pylist() == ["dropped"]
    assert not old.path.exists()
    assert new.path == repository / "manifest"


@pytest.mark.parametrize(("revision", "words"), [("v0", "v0 has no manifest"), ("nowhere", "not known to git")])
def test_a_revision_without_a_manifest_is_refused(repository: Path, revision: str, words: str) -> None:
    """The error names the revision."""
    with pytest.raises(StateError, match=words), at_revision(repository, revision):
        pass


def test_a_revision_whose_data_is_nowhere_is_refused(repository: Path, tmp_path: Path) -> None:
    """Where neither cache nor remote holds the files, the error says which command fetches them."""
    _call(tmp_path, "git", "clone", "-q", str(repository), "clone")
    with pytest.raises(StateError, match="dvc fetch -T"), at_revision(tmp_path / "clone", "v1"):
        pass


def test_a_working_tree_without_a_manifest_is_refused(tmp_path: Path) -> None:
    """The error names the command that builds one."""
    with pytest.raises(StateError, match="dvc repro"), at_revision(tmp_path, None):
        pass
