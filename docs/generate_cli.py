"""Write docs/cli.md from the command line's own help: `python docs/generate_cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from typer.main import get_command
from typer.testing import CliRunner

from dedupver.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).with_name("cli.md")
WIDTH: Final = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}


def render() -> str:
    """Return the page: the help of the program, then that of each command."""
    head = "# Commands\n\nThis page is generated from `--help` by `python docs/generate_cli.py`.\n"
    return "\n".join([head, *_sections(get_command(app), [])])


def _sections(command: object, words: list[str]) -> Iterator[str]:
    """Yield the section of a command, then those of the commands below it."""
    yield _section(" ".join(["dedupver", *words]), words)
    for name, below in getattr(command, "commands", {}).items():
        yield from _sections(below, [*words, name])


def _section(title: str, words: list[str]) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="dedupver", env=WIDTH)
    if result.exit_code:
        raise RuntimeError(f"{title} --help: {result.output}")
    lines = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
