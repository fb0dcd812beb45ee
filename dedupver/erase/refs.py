"""What git's names point to: moved to commits without the records in one transaction, the old ones kept beside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dedupver import replay
from dedupver.erase.again import redacted
from dedupver.repository import git
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

BACKUP: Final = "refs/dedupver/before-erasure/"
EXPERIMENTS: Final = "refs/exps/"
_SIGNATURE: Final = re.compile(r"-----BEGIN (PGP|SSH) SIGNATURE-----.*", re.DOTALL)


class Move(NamedTuple):
    """A name of git's, and what it points to before and after."""

    ref: str
    old: str
    new: str


def branch(root: Path) -> str:
    """Return the name of the branch that is checked out. Raises StateError where there is none."""
    try:
        return git(root, "symbolic-ref", "--quiet", "HEAD").strip()
    except StateError as error:
        raise StateError("no branch is checked out: run `git switch BRANCH`") from error


def require_free(root: Path, commits: Collection[str], first: str) -> None:
    """Refuse where something else than the branch and the versions' tags leads to history from commit `first` on.

    `commits` are those of the versions, whose tags move. Experiments are removed, and names of other repositories
    (`refs/remotes`) are.
    """
    if backups(root):
        raise StateError(f"backups of an earlier erasure are here: {delete_line()}")
    here = branch(root)
    for ref in git(root, "for-each-ref", "--contains", first, "--format=%(refname)").split():
        moves = ref == here or ref.startswith((EXPERIMENTS, "refs/remotes/"))
        if not moves and git(root, "rev-parse", f"{ref}^{{commit}}").strip() not in commits:
            how = {"refs/tags/": "git tag -d", "refs/heads/": "git branch -D", "refs/stash": "git stash clear"}
            command = next((f"{c} {ref.removeprefix(p)}" for p, c in how.items() if ref.startswith(p)), None)
            raise StateError(
                f"{ref} leads to commits that know the record and are of no version: remove it first "
                f"(`{(command or f'git update-ref -d {ref}').strip()}`), or merge what it has and erase then"
            )
    replay.sweep(root)
    others = [
        line[9:] for line in git(root, "worktree", "list", "--porcelain").split("\n") if line.startswith("worktree ")
    ]
    if len(others) > 1:
        raise StateError(f"{others[1]} is checked out of this repository too: run `git worktree remove {others[1]}`")


def moves(root: Path, new_commits: Mapping[str, str], tip: str, ids: Collection[str]) -> list[Move]:
    """Return what is to move: the branch to `tip`, and every tag of an old commit to the new one.

    An annotated tag is written anew, with the ids in its message struck out and without a signature.
    """
    here = branch(root)
    found = [Move(here, git(root, "rev-parse", here).strip(), tip)]
    lines = git(root, "for-each-ref", "--format=%(refname) %(objectname) %(objecttype)", "refs/tags").splitlines()
    for ref, old, kind in (line.split(" ") for line in lines):
        commit = git(root, "rev-parse", f"{ref}^{{commit}}").strip()
        new = new_commits.get(commit, commit)
        if new != commit:
            found.append(Move(ref, old, _annotated(root, old, commit, new, ids) if kind == "tag" else new))
    return found


def move(root: Path, moved: Iterable[Move]) -> None:
    """Move all names at once, and keep what they pointed to: either all of it happens or nothing."""
    lines = []
    for ref, old, new in moved:
        lines += [f"create {BACKUP}{ref.removeprefix('refs/')} {old}", f"update {ref} {new} {old}"]
    git(root, "update-ref", "--stdin", given="".join(f"{line}\n" for line in lines))


def undo_lines(moved: Iterable[Move]) -> str:
    """Return what `git update-ref --stdin` reads to put all back."""
    lines = []
    for ref, old, new in moved:
        lines += [f"update {ref} {old} {new}", f"delete {BACKUP}{ref.removeprefix('refs/')} {old}"]
    return "".join(f"{line}\n" for line in lines)


def moved(root: Path, wanted: Iterable[Move]) -> bool:
    """Return whether the transaction took place. Raises StateError where names point elsewhere by now."""
    now = [(git(root, "rev-parse", ref).strip(), old, new) for ref, old, new in wanted]
    if all(here == old for here, old, _ in now):
        return False
    first = now[0]
    if all(here == new for here, _, new in now[1:]) and _behind(root, first[2], first[0]):
        return True
    raise StateError(
        "git's branch or tags were moved since an erasure was begun here: put them back, or remove .dvc/tmp/erasure to "
        "give it up"
    )


def backups(root: Path) -> list[str]:
    """Return the names under which old history is kept."""
    return git(root, "for-each-ref", "--format=%(refname)", BACKUP).split()


def delete_line() -> str:
    """Return the line that deletes the backups."""
    return f"git for-each-ref --format='delete %(refname)' {BACKUP} | git update-ref --stdin"


def drop_old(root: Path, old: Collection[str]) -> list[str]:
    """Delete the backups, experiments, and names of other repositories that lead to old commits; return the last."""
    away = [*backups(root), *git(root, "for-each-ref", "--format=%(refname)", EXPERIMENTS).split()]
    known = set(filter(None, (_commit(root, commit) for commit in old)))
    elsewhere = sorted(
        {
            ref
            for commit in known
            for ref in git(root, "for-each-ref", "--contains", commit, "--format=%(refname)", "refs/remotes/").split()
        }
    )
    for ref in elsewhere:  # first those that stand for others
        git(root, "symbolic-ref", "--delete", ref) if _symbolic(root, ref) else away.append(ref)
    git(root, "update-ref", "--stdin", given="".join(f"delete {ref}\n" for ref in away))
    return elsewhere


def forget(root: Path) -> None:
    """Let git forget every object that nothing leads to."""
    git(root, "reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    for name in ("ORIG_HEAD", "FETCH_HEAD", "MERGE_HEAD", "COMMIT_EDITMSG"):
        place = git(root, "rev-parse", "--path-format=absolute", "--git-path", name).strip()
        (root / place).unlink(missing_ok=True)
    git(root, "gc", "--prune=now", "--quiet")


def first_of(root: Path, before: str | None) -> str:
    """Return the first commit on HEAD's first-parent line after one, or of all."""
    line = git(root, "rev-list", "--first-parent", "--reverse", f"{before}..HEAD" if before else "HEAD").split()
    return line[0]


def _annotated(root: Path, tag: str, old: str, new: str, ids: Collection[str]) -> str:
    text = _SIGNATURE.sub("", git(root, "cat-file", "tag", tag))
    head, _, message = text.partition("\n\n")
    head = head.replace(f"object {old}", f"object {new}", 1)
    return git(root, "mktag", given=f"{head}\n\n{redacted(message, ids)}").strip()


def _behind(root: Path, commit: str, tip: str) -> bool:
    try:
        git(root, "merge-base", "--is-ancestor", commit, tip)
    except StateError:
        return False
    return True


def _commit(root: Path, name: str) -> str | None:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except StateError:
        return None


def _symbolic(root: Path, ref: str) -> bool:
    try:
        git(root, "symbolic-ref", "--quiet", ref)
    except StateError:
        return False
    return True
