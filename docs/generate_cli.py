"""Write docs/cli.md from the command line's own help: `python docs/generate_cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from typer.main import get_command
from typer.testing import CliRunner

from dedupver.cli import app

PAGE: Final = Path(__file__).with_name("cli.md")
WIDTH: Final = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}


def render() -> str:
    """Return the page: the help of the program, then that of each command."""
    names = list(getattr(get_command(app), "commands", {}))
    head = "# Commands\n\nThis page is generated from `--help` by `python docs/generate_cli.py`.\n"
    return "\n".join([head, _section("dedupver", []), *(_section(f"dedupver {name}", [name]) for name in names)])


def _section(title: str, words: list[str]) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="dedupver", env=WIDTH)
    if result.exit_code:
        raise RuntimeError(f"{title} --help: {result.output}")
    lines = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
