"""The command line: what goes to which stream, which exit code ends it, and that its reference is current."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from decisions import HEADER, bad, decided, near, prints, row, table
from typer.main import get_command
from typer.testing import CliRunner

import dedupver
from dedupver import check as checks
from dedupver import cli, manifest, pipeline, store, versions
from dedupver import replay as module
from dedupver.invariants import Finding
from dedupver.schema import ParamsError, SourceError, StateError

if TYPE_CHECKING:
    from types import ModuleType

REPOSITORY = Path(__file__).parents[1]
EVIL = "evil\x1b[2J\u202e.txt"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with params and a manifest of one version, one of whose ids holds terminal escapes."""
    (tmp_path / "params.yaml").write_text("{}", encoding="utf-8")
    out = tmp_path / "manifest"
    out.mkdir()
    made, header = decided(tmp_path / "d", row("a"), near(EVIL, "a"), bad("q")), {**HEADER, "version": "v1"}
    manifest.write(out, manifest.EMPTY, prints(tmp_path / "p"), made, header)
    store.seal(out)
    return tmp_path


def ask(project: Path, *words: str) -> Any:
    """Run a command on the project."""
    return CliRunner().invoke(cli.app, ["-C", str(project), *words])


def names() -> list[str]:
    """Return the commands."""
    return list(getattr(get_command(cli.app), "commands"))  # noqa: B009 - click's group has it, its base not


@pytest.mark.parametrize("words", [["explain", EVIL], ["diff", "workspace"], ["show"]])
def test_answers_never_steer_the_terminal(project: Path, words: list[str]) -> None:
    """Escapes and marks of direction in an id are shown, not sent; in JSON too."""
    for extra in ([], ["--json"]):
        result = ask(project, *words, *extra)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout


def test_explain_tells_the_representative_and_the_score(project: Path) -> None:
    """The text names why, whom for, and what would change it."""
    text = ask(project, "explain", EVIL).stdout
    assert text.splitlines()[0] == r"evil\x1b[2J\u202e.txt: dropped in v1: near_duplicate_of a"
    assert "0.9 (threshold 0.8)" in text
    assert "what would change it:" in text


def test_explain_as_json(project: Path) -> None:
    """The JSON holds the decision, the history and the chain."""
    found = json.loads(ask(project, "explain", "a", "--json").stdout)
    assert found["represents"] == [EVIL]
    assert found["decision"]["action"] == "keep"


def test_show_as_text_and_json(project: Path) -> None:
    """Both give the counts of the version."""
    assert json.loads(ask(project, "show", "--json").stdout)["holds"]["removed"] == 1
    assert "v1" in ask(project, "show").stdout


def test_diff_of_a_version_with_itself_is_empty(project: Path) -> None:
    """Nothing changed: only counts of zero."""
    found = json.loads(ask(project, "diff", "workspace", "workspace", "--json").stdout)
    assert found["changes"] == []
    assert set(found["counts"].values()) == {0}


@pytest.mark.parametrize("old", [[], [row("b"), row("gone")], [row("a"), near(EVIL, "a"), bad("q")]])
def test_a_diff_as_json_is_what_json_dumps_writes(
    project: Path, monkeypatch: pytest.MonkeyPatch, old: list[dict[str, object]]
) -> None:
    """It is written change by change, so that a million of them are never held at once."""
    read = iter([table(*old), manifest.open_manifest(project / "manifest").live()])
    monkeypatch.setattr(manifest.Log, "live", lambda *_: next(read))
    text = ask(project, "diff", "workspace", "--json").stdout
    found = json.loads(text)
    assert text == json.dumps(found, indent=1, sort_keys=True) + "\n"
    assert len(found["changes"]) == sum(found["counts"].values())


def test_check_ends_with_5_where_something_is_wrong(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding is printed with its fix."""
    monkeypatch.setattr(checks, "check", lambda _: [Finding("twins", EVIL, "kept twice", "dvc repro")])
    result = ask(project, "check")
    assert (result.exit_code, "kept twice" in result.stdout, "\x1b" in result.stdout) == (5, True, False)
    assert json.loads(ask(project, "check", "--json").stdout)[0]["subject"] == EVIL
    monkeypatch.setattr(checks, "check", lambda _: [])
    assert ask(project, "check").exit_code == 0


@pytest.mark.parametrize("error", [ParamsError, SourceError, StateError])
def test_an_error_ends_with_its_code_on_stderr(
    error: type[ParamsError], project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`error: …` goes to stderr, nothing to stdout, escapes are shown."""

    def fail(stage: str, root: Path) -> None:
        raise error(f"{stage} of {root.name}: \x1b[31mbroken")

    monkeypatch.setattr(pipeline, "run", fail)
    monkeypatch.setattr(sys, "argv", ["dedupver", "-C", str(project), "run", "match"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == error.exit_code
    assert (shown.out, shown.err) == ("", f"error: match of {project.name}: \\x1b[31mbroken\n")


def test_usage_errors_end_with_2(project: Path) -> None:
    """An unknown command or stage, or a param without its value, is wrong usage."""
    assert [
        ask(project, *words).exit_code for words in (["nothing"], ["run", "nothing"], ["replay", "b", "-S", "x"])
    ] == [
        2,
        2,
        2,
    ]


def test_commands_pass_their_words_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init`, `next` and `replay` hand over what was said, and their messages go to stderr."""
    calls: list[object] = []

    def note(*words: object, **more: object) -> list[Any]:
        calls.append((*words, more))
        return ["done"]

    monkeypatch.setattr(versions, "init", note)
    monkeypatch.setattr(versions, "next_version", note)
    rows = [{"version": "v1", "ran": ["dedup", "manifest"], "kept": 3}]
    monkeypatch.setattr(module, "replay", lambda *words: [*map(calls.append, [words]), *rows][1:])
    done = [
        ask(project, *w)
        for w in (["init", "--upgrade"], ["next", "v2"], ["replay", "b", "-S", "dedup.thresholds.text=0.9"])
    ]
    assert [(r.exit_code, r.stdout) for r in done] == [
        (0, ""),
        (0, ""),
        (0, "version  ran              kept\nv1       dedup, manifest  3\n"),
    ]
    assert done[0].stderr == "done\n"
    assert calls == [
        (project, {"upgrade": True}),
        (project, "v2", {"time": None}),
        (project, "b", {"dedup.thresholds.text": "0.9"}),
    ]


def test_the_root_is_the_nearest_with_params(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the root the command finds it; beyond the git repository it does not look."""
    (project / "below/deep").mkdir(parents=True)
    monkeypatch.chdir(project / "below/deep")
    assert CliRunner().invoke(cli.app, ["show"]).exit_code == 0
    (project / "below/.git").mkdir()
    assert isinstance(CliRunner().invoke(cli.app, ["show"]).exception, StateError)


def test_help_and_version_load_no_heavy_module() -> None:
    """`--help` is quick: neither Arrow nor DVC is imported for it."""
    code = "import sys, dedupver.cli; sys.exit(bool({'pyarrow', 'dvc', 'numpy', 'numba'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
    assert CliRunner().invoke(cli.app, ["--version"]).stdout == f"dedupver {dedupver.__version__}\n"


@pytest.mark.parametrize("name", names())
def test_each_help_ends_in_an_example_that_parses(name: str) -> None:
    """The last line can be pasted: it names the command, and its options exist."""
    example = CliRunner().invoke(cli.app, [name, "--help"]).stdout.strip().splitlines()[-1].strip()
    assert example.startswith(f"Example: dedupver {name}")
    words = example.removeprefix(f"Example: dedupver {name}").split()
    command = getattr(get_command(cli.app), "commands")[name]  # noqa: B009
    command.make_context(name, words)


def test_the_reference_is_current() -> None:
    """docs/cli.md is what docs/generate_cli.py writes."""
    generator = load(REPOSITORY / "docs/generate_cli.py")
    assert generator.PAGE.read_text(encoding="utf-8") == generator.render(), "run `python docs/generate_cli.py`"


def load(path: Path) -> ModuleType:
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
