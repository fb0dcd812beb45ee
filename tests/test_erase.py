"""Records are erased from real repositories: killed on the way, finished by a rerun, and searched for object by object.

The proof here shares no code with the product's: it reads every object of the cache, the remote and git by itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import erasable
import pyarrow.parquet as pq
import pytest
from erasable import DUPLICATES, ERASED, KEPT, LINE, NEAR, PHOTO, ROW, SMALLER, TWIN

from dedupver import check, manifest, versions
from dedupver.erase import again, certificate, plan, refs, run, same
from dedupver.erase.alike import Alike
from dedupver.repository import dvc, git
from dedupver.revision import at_revision
from dedupver.schema import DECISION, DedupverError, IntegrityError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

TAGS = ("v1", "v2", "v3")
KEY = "00" * 32

COMMAND = "from dedupver.cli import main; main()"
KILLED = """
import os, signal, sys
from dedupver.cli import main
from dedupver.erase import refs
move, when = refs.move, sys.argv.pop(1)
def killed(*given):
    if when == "after":
        move(*given)
    os.kill(os.getpid(), signal.SIGKILL)
refs.move = killed
main()
"""


def command(root: Path, *words: str, script: str = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    first = [words[0]] if script == KILLED else []
    return subprocess.run(
        [sys.executable, "-c", script, *first, "-C", str(root), *words[len(first) :]],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def decoded(data: bytes) -> Iterator[bytes]:
    """Give bytes as they are, and what a container says that they hold."""
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PAR1":
        yield repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()


def objects(root: Path) -> Iterator[tuple[str, bytes]]:
    """Give every object of the cache, the remote and git, and every file of DVC's and git's folders and the workspace."""
    for folder in (root, root.parent / "remote"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ".git/objects" not in path.as_posix():
                yield path.relative_to(root.parent).as_posix(), path.read_bytes()
    listed = git(root, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    for line in listed:
        name, kind, _ = line.split()
        yield (
            f"git {kind} {name}",
            subprocess.run(["git", "cat-file", kind, name], cwd=root, capture_output=True, check=True).stdout,
        )


def words() -> dict[str, list[bytes]]:
    """Return what must be nowhere: by record its id, its content, and the digests of that."""
    line = next(row for row in erasable.paragraphs() if row["id"] == LINE)["text"]
    row = pq.read_table(io.BytesIO(erasable.airports(ROW)))["text"][0].as_py()
    files = {name: data for each in erasable.sources() for name, data in each.items()}
    held = {name: files[name] for name in (KEPT, TWIN, NEAR, PHOTO, SMALLER)} | {LINE: line.encode(), ROW: row.encode()}
    found = {}
    for name, data in held.items():
        sha256 = hashlib.sha256(data)
        digests = [sha256.digest(), sha256.hexdigest().encode(), hashlib.md5(data).hexdigest().encode()]
        quoted = f'"{name}"'.encode() if name == LINE else name.encode()  # `par-1` begins the ids of others
        found[name] = [quoted, data, repr(data)[2:-1].encode(), *digests, repr(digests[0])[2:-1].encode()]
    return found


def hits(root: Path) -> dict[str, list[str]]:
    """Return which objects hold something of each record."""
    wanted, found = words(), {name: [] for name in words()}
    for place, data in objects(root):
        called = place.replace("/", "").encode()
        for each in [*decoded(data), place.encode(), called]:
            for name, forms in wanted.items():
                if any(form in each for form in forms):
                    found[name].append(place)
    return found


def commits(root: Path) -> dict[str, str]:
    """Return what the branch and the tags point to."""
    return {ref: git(root, "rev-parse", ref).strip() for ref in ("main", *TAGS)}


@pytest.fixture(scope="module")
def erased(_empty_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Erase from a repository of three versions, killed when git's names have moved, then finished."""
    root = erasable.make(_empty_repository, tmp_path_factory.mktemp("erase"))
    told = SimpleNamespace(root=root, key=root.parent / "key", before=hits(root), commits=commits(root))
    told.live = {}
    for tag in TAGS:
        with at_revision(root, tag) as log:
            told.live[tag] = {row["id"]: row for row in log.live().to_pylist()}
    told.exps = git(root, "for-each-ref", "refs/exps")
    names = ("erase", *ERASED, "--with-duplicates", "--history", "--yes-erase", str(len(ERASED + DUPLICATES)))
    told.undecided = command(root, *(word for word in names if word != "--with-duplicates"))
    told.killed = command(root, "after", *names, script=KILLED)
    told.after_kill = commits(root), git(root, "for-each-ref", "--format=%(refname)", refs.BACKUP).split()
    told.again = command(root, *names)
    told.finished = command(root, "erase", "--drop-backup", "--key", str(told.key), "--json")
    return told


def test_everything_was_there_before(erased: SimpleNamespace) -> None:
    """The search of this test finds each record, in the cache, the remote and git: it can fail."""
    for name, places in erased.before.items():
        assert {"project", "remote"} <= {place.split("/")[0] for place in places}, name
    assert any(place.startswith("git ") for place in erased.before[KEPT])
    assert erased.exps


def test_duplicates_are_listed_and_must_be_decided_on(erased: SimpleNamespace) -> None:
    """Twins, dropped near duplicates, edited pictures; without a decision nothing happens."""
    done = erased.undecided
    assert done.returncode == 6
    assert "--with-duplicates" in done.stderr
    assert "--only" in done.stderr
    for name in DUPLICATES:
        assert name in done.stderr


def test_killed_after_the_names_moved_a_rerun_finishes(erased: SimpleNamespace) -> None:
    """One transaction moved the branch and the tags, with a backup of each; another erasure has to wait."""
    assert erased.killed.returncode == -signal.SIGKILL, erased.killed.stderr
    now, backups = erased.after_kill
    assert not set(now.values()) & set(erased.commits.values())
    assert [ref.removeprefix(refs.BACKUP) for ref in backups] == ["heads/main", *(f"tags/{tag}" for tag in TAGS)]
    assert erased.again.returncode == 6
    assert "dedupver erase --drop-backup" in erased.again.stderr
    assert erased.finished.returncode == 0, erased.finished.stderr


def test_nothing_of_them_is_anywhere(erased: SimpleNamespace) -> None:
    """Every object of the cache, the remote and git, and every file, by a search of its own."""
    assert hits(erased.root) == {name: [] for name in words()}


def test_what_it_says_is_what_is_there(erased: SimpleNamespace) -> None:
    """The certificate is committed, counts every object, and has no word of the erased."""
    told = json.loads(erased.finished.stdout)
    path = erased.root / told["certificate"]
    stated = json.loads(path.read_text())
    assert stated["hits"] == 0
    assert stated["records"] == len(stated["ids"]) == 7
    assert [each["records_erased"] for each in stated["versions"]] == [5, 7, 7]
    assert [each["new"] for each in stated["versions"]] == [
        git(erased.root, "rev-parse", f"{tag}^{{commit}}").strip() for tag in TAGS
    ]
    count = sum(path.is_file() for path in (erased.root / ".dvc" / "cache").rglob("*"))
    assert stated["searched"]["cache"]["objects"] == count
    assert stated["searched"]["store"]["objects"] == sum(
        p.is_file() for p in (erased.root.parent / "remote").rglob("*")
    )
    key = erased.key.read_text().strip()
    assert certificate.hashed(key, "id", KEPT.encode()) in stated["ids"]
    assert git(erased.root, "status", "--porcelain") == ""
    assert git(erased.root, "log", "-1", "--format=%s").strip() == "Erasure of 7 records"


def test_git_has_the_new_history_alone(erased: SimpleNamespace) -> None:
    """Backups, experiments and the erasure's own notes are gone; annotated tags stay so, their messages without ids."""
    names = git(erased.root, "for-each-ref", "--format=%(refname) %(objecttype)").splitlines()
    assert names == ["refs/heads/main commit", *(f"refs/tags/{tag} tag" for tag in TAGS)]
    assert not (erased.root / ".dvc" / "tmp" / "erasure").exists()
    assert git(erased.root, "log", "--format=%s", "v3").splitlines() == ["version 3", "version 2", "with [erased]"]
    assert f"v1: with {again.REDACTED}" in git(erased.root, "cat-file", "tag", "v1")


def test_the_rest_of_each_version_is_what_it_was(erased: SimpleNamespace) -> None:
    """Every other record is decided as before, and each version passes every check."""
    for tag in TAGS:
        git(erased.root, "checkout", "--quiet", tag)
        dvc(erased.root, "checkout", "--quiet")
        assert check.check(erased.root) == []
        now = {row["id"]: row for row in manifest.open_manifest(erased.root / "manifest").live().to_pylist()}
        before = {name: row for name, row in erased.live[tag].items() if name not in ERASED + DUPLICATES}
        assert now.keys() == before.keys()
        for name, row in before.items():
            less = sum(
                row["path"] == gone["path"] and row["row"] > gone["row"] >= 0
                for n, gone in erased.live[tag].items()
                if n in ERASED
            )
            assert now[name] == row | {"row": row["row"] - less}
    git(erased.root, "checkout", "--quiet", "main")
    dvc(erased.root, "checkout", "--quiet")


def test_a_clone_pulls_every_version(erased: SimpleNamespace, tmp_path: Path) -> None:
    """The remote has all that the new history uses."""
    assert "in sync" in dvc(erased.root, "status", "--cloud", "--all-tags")
    git(tmp_path, "clone", "--quiet", str(erased.root), "clone")
    for tag in TAGS:
        git(tmp_path / "clone", "checkout", "--quiet", tag)
        dvc(tmp_path / "clone", "pull", "--quiet")
        assert (tmp_path / "clone" / "clean" / "docs" / "psf.txt").read_bytes() == erasable.licence("typing_extensions")


@pytest.fixture(scope="module")
def _small(_empty_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of three licences: the near duplicate comes second, and one leaves."""
    root = Path(shutil.copytree(_empty_repository, tmp_path_factory.mktemp("small") / "project"))
    versions.init(root)
    erasable.assign(root / "params.yaml", erasable.FAST)
    erasable.add(root, {KEPT: erasable.licence("pydantic"), "docs/psf.txt": erasable.licence("typing_extensions")})
    erasable.release(root, "v1", "first")
    versions.next_version(root, "v2", erasable.TWO[0])
    (root / "data/raw/docs/psf.txt").unlink()
    erasable.add(root, {NEAR: erasable.licence("pytest")})
    erasable.release(root, "v2", "second")
    return root


@pytest.fixture
def small(_small: Path, tmp_path: Path) -> Path:
    """Give a copy of the small project."""
    return Path(shutil.copytree(_small, tmp_path / "project", symlinks=True))


def test_the_present_version_alone_then_all_of_history(small: Path) -> None:
    """The near duplicate takes the place of its representative; old tags keep what they had until they are rewritten."""
    planned = plan.plan(small, {KEPT})
    assert [(each.id, each.duplicate) for each in planned.alike] == [(NEAR, True)]
    tags = commits_of(small, "v1", "v2")
    done = run.begin(small, planned, run.Options(key=KEY), print)
    assert commits_of(small, "v1", "v2") == tags
    assert git(small, "rev-list", "--count", "v2..main").strip() == "1"
    assert [(each["id"], each["before"], each["after"]) for each in done["changed"]] == [
        (NEAR, f"drop for {KEPT}", "keep")
    ]
    assert check.check(small) == []
    log = manifest.open_manifest(small / "manifest")
    assert KEPT not in log.events(("id",))["id"].to_pylist()
    assert json.loads(dvc(small, "status", "--json")) == {}
    assert certificate.returned(small, log, KEY) == []
    with at_revision(small, "v2") as old:
        assert certificate.returned(small, old, KEY) == [KEPT]
    stated = json.loads((small / done["certificate"]).read_text())
    assert stated["scope"] == "the present version"
    assert "v1, v2" in stated["not_reached"][0]

    gone = plan.plan(small, {KEPT, "docs/psf.txt"})  # neither is in the present version
    options = run.Options(history=True, key=KEY)
    run.begin(small, gone, options, print)
    run.finish(small, options, print)
    assert [path.name[-7:] for path in sorted((small / certificate.FOLDER).iterdir())] == ["-1.json", "-2.json"]
    for tag in ("v1", "v2", "main"):
        with at_revision(small, tag) as log:
            assert log.events(("id",))["id"].to_pylist() == ([] if tag == "v1" else [NEAR])
    assert check.check(small) == []


def test_in_append_mode_a_later_batch_that_repeats_it_loses_it_too(repository: Path) -> None:
    """The log says only where a record came first; the same again in a later batch would bring it back."""
    root = repository
    versions.init(root)
    erasable.assign(root / "params.yaml", erasable.FAST | {"source.mode": "append"})
    lines = erasable.paragraphs()
    erasable.add(root, {"a.jsonl": erasable.jsonl(lines[:3]).encode()})
    erasable.release(root, "v1", "first")
    versions.next_version(root, "v2", erasable.TWO[0])
    erasable.add(root, {"b.jsonl": erasable.jsonl(lines[:1] + lines[3:5]).encode()})
    erasable.release(root, "v2", "second")
    options = run.Options(history=True, key=KEY)
    run.begin(root, plan.plan(root, {LINE}), options, print)
    run.finish(root, options, print)
    held = [data for _, data in objects(root) for data in decoded(data)]
    assert not [data for data in held if lines[0]["text"].encode() in data or b'"par-1"' in data]
    assert (root / "base/raw/v1/a.jsonl").read_bytes() == erasable.jsonl(lines[1:3]).encode()
    assert (root / "data/raw/b.jsonl").read_bytes() == erasable.jsonl(lines[3:5]).encode()
    assert check.check(root) == []


def commits_of(root: Path, *names: str) -> list[str]:
    """Return what some names point to."""
    return [git(root, "rev-parse", name).strip() for name in names]


def test_history_before_them_stays_and_all_can_be_put_back(small: Path) -> None:
    """Versions that never held one keep their commits; the line that is printed undoes the move.

    Killed before the names move, nothing has happened: not to git's names, not to the workspace.
    """
    v1, v2, main = commits_of(small, "v1", "v2", "main")
    asked = ("erase", NEAR, "--only", "--history", "--yes-erase", "1")
    killed = command(small, "before", *asked, script=KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert commits_of(small, "v1", "v2", "main") == [v1, v2, main]
    assert git(small, "status", "--porcelain") + git(small, "for-each-ref", refs.BACKUP) == ""
    done = run.begin(small, plan.plan(small, {NEAR}), run.Options(history=True), print)
    assert commits_of(small, "v1", "v2^{commit}~1") == [v1, git(small, "rev-parse", "v1^{commit}").strip()]
    assert commits_of(small, "v2")[0] != v2
    assert [each["version"] for each in done["versions"]] == ["v2"]
    assert not (small / "data/raw" / NEAR).exists()
    assert check.check(small) == []
    line = done["undo"].replace("dvc checkout", f"{sys.executable} -m dvc checkout --quiet")
    subprocess.run(["bash", "-ec", line], cwd=small, check=True)
    assert commits_of(small, "v1", "v2", "main") == [v1, v2, main]
    assert git(small, "for-each-ref", refs.BACKUP) == ""
    assert (small / "data/raw" / NEAR).exists()
    assert json.loads(dvc(small, "status", "--json")) == {}


def test_what_it_refuses(small: Path) -> None:
    """Nothing is changed in a state that it could not come back from, and each error says what to do."""
    with pytest.raises(DedupverError, match=r"nearest ids are 'docs/pytest\.txt'"):
        plan.plan(small, {"docs/pytst.txt"})
    with pytest.raises(StateError, match="no erasure is waiting"):
        run.finish(small, run.Options(), print)
    with pytest.raises(StateError, match="must not stay with what it hides"):
        certificate.key_in(small / "key", small)
    with pytest.raises(StateError, match="something was committed while"):
        run._require_untouched(small, again.Side(head="0" * 40))
    (small / ".dvc/tmp/erasure").mkdir()
    (small / ".dvc/tmp/erasure/settled").touch()
    with (small / "reviews.csv").open("a") as file:
        file.write("a,b,same\n")
    with pytest.raises(StateError, match=r"`dvc repro`|reviews\.csv has changes"):
        plan.plan(small, {KEPT})
    with pytest.raises(StateError, match=r"reviews\.csv has changes"):
        run._settle_once(small)
    git(small, "checkout", "--quiet", "reviews.csv")
    git(small, "checkout", "--quiet", "--detach")
    with pytest.raises(StateError, match="git switch"):
        plan.plan(small, {KEPT})


def test_history_is_not_rewritten_below_what_would_keep_it(small: Path) -> None:
    """Another branch, a tag of no version, a stash, another worktree: each is named, with the line that removes it."""
    first, released = commits_of(small, "v1^{commit}")[0], set(commits_of(small, "v1^{commit}", "v2^{commit}"))
    refs.require_free(small, released, first)
    for make, unmake, line in (
        (("branch", "side"), ("branch", "-D", "side"), "git branch -D side"),
        (
            ("worktree", "add", "--quiet", "--detach", str(small.parent / "other")),
            ("worktree", "remove", str(small.parent / "other")),
            "git worktree remove",
        ),
        (
            ("update-ref", f"{refs.BACKUP}heads/main", "HEAD"),
            ("update-ref", "-d", f"{refs.BACKUP}heads/main"),
            "update-ref --stdin",
        ),
    ):
        git(small, "commit", "--quiet", "--allow-empty", "-m", "more")
        git(small, *make)
        if "side" in make:
            git(small, "reset", "--hard", "--quiet", "HEAD~1")
        with pytest.raises(StateError, match=line):
            refs.require_free(small, released, first)
        git(small, *unmake)


def test_reviews_lose_the_lines_that_name_them(tmp_path: Path) -> None:
    """Others stay byte for byte, whatever is in quotes."""
    path = tmp_path / "reviews.csv"
    path.write_bytes(b'left,right,label\r\na,b,same\n"c\nd","x, y",different\n"b",c,same\n"b ",c,same\n')
    again._drop_reviews(path, {"b"})
    assert path.read_bytes() == b'left,right,label\r\n"c\nd","x, y",different\n"b ",c,same\n'


def decision(
    name: str, action: str = "keep", representative: str | None = None, row: int = -1, content: int = 0
) -> dict[str, Any]:
    """Return a row of decisions."""
    told: dict[str, Any] = dict.fromkeys(DECISION.names)
    told |= dict.fromkeys(("version", "decided", "decided_at"), "v1")
    told |= {
        "id": name,
        "path": "a.jsonl",
        "row": row,
        "role": "data",
        "bytes": 1,
        "pixels": 0,
        "chars": 1,
        "millis": 0,
    }
    told |= {"action": action, "reason": action, "representative": representative}
    digest = bytes([content]) * 32
    return told | {"parts": [{"part": "text", "modality": "text", "sha256": digest, "content": digest}]}


def compared(old: list[dict[str, Any]], new: list[dict[str, Any]], gone: dict[str, int]) -> same.Compared:
    """Compare decisions without some records, given with their rows."""
    tables = (same.pa.Table.from_pylist(rows, DECISION) for rows in (old, new))
    return same.decisions(*tables, gone, {("", "a.jsonl"): set(gone.values())})


def test_rows_close_up_and_names_made_of_them_too() -> None:
    """That is no difference."""
    old = [
        decision("x", row=0, content=1),
        decision("a.jsonl#1", "quarantine", row=1, content=2),
        decision("z", row=2, content=3),
    ]
    new = [decision("a.jsonl#0", "quarantine", row=0, content=2), decision("z", row=1, content=3)]
    found = compared(old, new, {"x": 0})
    assert (found.equal, found.changed, found.others) == (2, [], [])


def test_only_a_cluster_may_change() -> None:
    """What went for an erased record is judged again, and so is what then goes for that; any other change is told."""
    old = [
        decision("x", row=0, content=1),
        decision("y", "drop", "x", 1, 2),
        decision("z", row=2, content=3),
        decision("u", row=3, content=4),
    ]
    new = [decision("y", row=0, content=2), decision("z", "drop", "y", 1, 3), decision("u", row=2, content=4)]
    found = compared(old, new, {"x": 0})
    assert ([each["id"] for each in found.changed], found.others, found.equal) == (["y", "z"], [], 1)
    new[2] |= {"action": "drop", "representative": "w"}
    assert [each["id"] for each in compared(old, new, {"x": 0}).others] == ["u"]
    assert [each["id"] for each in compared(old, new[:2], {"x": 0}).others] == ["u"]


def test_a_record_that_goes_over_to_another_split_is_told() -> None:
    """A model that was tested on it may have been trained without it; those judged again are new to their split."""
    found = same.Compared(changed=[{"id": "y"}])
    same.splits(
        found, {"a": "train", "b": "test", "y": "train"}, {"a": "train", "b": "train", "y": "test", "z": "test"}
    )
    assert found.splits == 1
    assert found.others == [{"id": "b", "before": "in test", "after": "in train"}]


def test_more_changes_than_expected_stop_it(tmp_path: Path) -> None:
    """Before anything is moved, unless they are accepted."""
    found = same.Compared(others=[{"id": "u", "before": "keep", "after": "drop"}], odd=["u.txt"])
    side = again.Side(versions=[again.Rebuilt("v1", "0", "1", 1, {}, {}, found)])
    with pytest.raises(IntegrityError, match=r"(?s)v1: u was keep, would be drop.*clean/u\.txt"):
        run._require_equal(side, run.Options())
    run._require_equal(side, run.Options(accept_changes=True))


def test_a_copy_that_would_take_the_name_is_not_left() -> None:
    """Rows named after their content are numbered: without the first the second has its name."""
    name = "0123456789abcdef"
    twin = Alike(f"{name}-2", name, "the same bytes", 1.0, duplicate=True)
    planned = plan.Plan(frozenset({name}), [twin], [], 0, frozenset(), (), by_content=True)
    with pytest.raises(StateError, match="it would take its name"):
        plan.require_whole(planned)
