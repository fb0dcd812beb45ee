"""Files that hold the same bytes: which of them see a change of the other."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from dedupver import links, store
from dedupver.schema import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", ["copy", "hardlink", "share"])
def test_the_bytes_are_the_sources(tmp_path: Path, how: str) -> None:
    """However they are linked, below folders that are not there yet; what was unlinked leaves the other alone."""
    (tmp_path / "a").write_bytes(b"one")
    links.link(tmp_path / "a", tmp_path / "b/c", how)
    (tmp_path / "a").unlink()
    assert (tmp_path / "b/c").read_bytes() == b"one"


def test_a_copy_is_its_owners(tmp_path: Path) -> None:
    """A change in place of either is not seen in the other."""
    (tmp_path / "a").write_bytes(b"one")
    links.link(tmp_path / "a", tmp_path / "b", "copy")
    with (tmp_path / "b").open("r+b") as file:
        file.write(b"two")
    assert (tmp_path / "a").read_bytes() == b"one"


@pytest.mark.parametrize("how", ["hardlink", "share"])
def test_where_no_link_can_be_made_there_is_a_copy(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another file system; an error of another kind is raised."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    (tmp_path / "a").write_bytes(b"one")
    monkeypatch.setattr(os, "link", refuse)
    links.link(tmp_path / "a", tmp_path / "b", how)
    assert (tmp_path / "b").read_bytes() == b"one"
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        links.link(tmp_path / "a", tmp_path / "b", how)


def test_a_link_to_a_link_is_one_to_the_file(tmp_path: Path) -> None:
    """As DVC makes into its cache: what is linked must stay when that is moved."""
    (tmp_path / "cache").write_bytes(b"one")
    (tmp_path / "a").symlink_to(tmp_path / "cache")
    for how in ("copy", "hardlink", "share"):
        links.link(tmp_path / "a", tmp_path / how, how)
        assert not (tmp_path / how).is_symlink()


def test_what_is_shared_is_sealed_with_the_digest_that_was_stated(tmp_path: Path) -> None:
    """Linked files are not read again for the listing, others are."""
    with store.building(tmp_path / "one") as out:
        store.write_bytes(out / "d/a", b"one")
    first = store.Sealed(tmp_path / "one")
    stated: dict[str, str] = {}
    with store.building(tmp_path / "two", stated) as out:
        stated |= first.share(["d/a"], out)
        store.write_bytes(out / "b", b"two")
    assert store.Sealed(store.verified(tmp_path / "two")).sha256 == first.sha256 | {
        "b": store.sha256_file(tmp_path / "two/b")
    }


def test_a_file_is_checked_when_it_is_asked_for(tmp_path: Path) -> None:
    """Damage to others is not seen until then; a file that is not listed is no file of the directory."""
    with store.building(tmp_path / "one") as out:
        store.write_bytes(out / "a", b"one")
        store.write_bytes(out / "b", b"two")
    (tmp_path / "one/b").write_bytes(b"owt")
    sealed = store.Sealed(tmp_path / "one")
    assert sealed.file("a") == tmp_path / "one/a"
    with pytest.raises(IntegrityError, match=r"one/b is damaged"):
        sealed.file("b")
    with pytest.raises(IntegrityError, match=r"one/b is damaged"):
        sealed.check()
    (tmp_path / "one/c").write_bytes(b"three")
    with pytest.raises(IntegrityError, match=r"one/c is not in"):
        store.Sealed(tmp_path / "one")
