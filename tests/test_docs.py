"""Everything that the guides show works: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its language, what else stands behind the fence ("no-run"), and its text."""

    language: str
    note: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(language, note.strip(), text) for language, note, text in FENCE.findall(page.read_text())]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --------------------------------------------------------------------------- code

RUNNABLE = [page for page in PAGES if any(b.language == "python" and b.note != "no-run" for b in blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    for example in (ROOT / "docs" / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    code = "\n".join(block.text for block in blocks(page) if block.language == "python" and block.note != "no-run")
    (tmp_path / "page.py").write_text(code)
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_that_a_page_shows_is_the_file_that_it_links_to() -> None:
    shown = re.findall(
        r"<!-- file: (\S+) -->\n```python no-run\n(.*?)^```$", (ROOT / "docs/custom_block.md").read_text(), re.M | re.S
    )
    assert [path for path, _ in shown] == ["examples/my_space.py"]
    for path, text in shown:
        assert text == (ROOT / "docs" / path).read_text()


def test_the_block_of_the_guide_takes_about_thirty_lines() -> None:
    text = (ROOT / "docs/examples/my_space.py").read_text()
    start, end = text.index("class StripResidual"), text.index("def my_space")
    assert len(text[start:end].strip().splitlines()) <= 30


# --------------------------------------------------------------------------- commands


class Command(NamedTuple):
    """An `archfront` command as a page shows it: its words, without the program."""

    page: str
    words: tuple[str, ...]


def commands() -> Iterator[Command]:
    for page in PAGES:
        for block in blocks(page):
            for line in block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else ():
                words = shlex.split(line, comments=True)
                if words and words[0] == "archfront":
                    yield Command(name(page), tuple(words[1:]))


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: f"{command.page}: {' '.join(command.words)}")
def test_a_command_that_a_page_shows_exists_with_its_options(command: Command) -> None:
    import typer

    from archfront.cli import app

    known: Any = typer.main.get_command(app)
    words = list(command.words)
    while words and not words[0].startswith("-") and words[0] in getattr(known, "commands", {}):
        known = known.commands[words.pop(0)]
    assert not hasattr(known, "commands") or words == [], f"{command.page} shows an unknown command {words[0]!r}"
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options_of(known), f"{command.page} shows an unknown option"


def test_the_list_of_commands_is_complete() -> None:
    import typer

    from archfront.cli import app

    listed = re.findall(r"^\| `archfront (\w+)` \|", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    known: Any = typer.main.get_command(app)
    assert sorted(listed) == sorted(known.commands)


def test_the_exit_codes_are_those_that_help_prints() -> None:
    from archfront.cli import EXIT_CODES

    listed = re.findall(r"^\| (\d+) \|", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    assert listed == [code.split()[0] for code in EXIT_CODES.partition(":")[2].replace("\n", " ").split("·")]


def test_the_layouts_of_images_are_those_that_are_read() -> None:
    from archfront.evaluators.sources import LAYOUTS

    text = (ROOT / "docs/data.md").read_text()
    for word in (
        "digits",
        "FOLDER/CLASS/*.png",
        "FOLDER/{train,validation,test}/CLASS/*.png",
        "FILE.parquet",
        "FILE.npz",
    ):
        assert word in LAYOUTS and word in text
    assert len(LAYOUTS.strip().splitlines()) == len(re.findall(r"^\| [\w ]+ \| [`\w]", text, re.MULTILINE)) - 1


# --------------------------------------------------------------------------- generated pages and links


def generated(expression: str) -> Any:
    """What docs/generate.py yields, in a process of its own: other tests register blocks in this one."""
    code = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, "docs")
import generate, library_page
stated = library_page.stated(Path("docs/library.md").read_text())
print(json.dumps({expression}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_generated_pages_are_those_of_this_library_and_configuration() -> None:
    # with the counts of networks that the page states: counting again takes half a minute, see below
    pages: dict[str, str] = generated("generate.pages(stated)")
    assert sorted(pages) == ["blocks.md", "configuration.md", "library.md"]
    for path, text in pages.items():
        assert (ROOT / "docs" / path).read_text() == text, f"docs/{path} is out of date: run make docs"


@pytest.mark.slow
def test_the_networks_of_the_library_page_count_as_it_states() -> None:
    counted, stated = generated("[library_page.count_references(), stated]")
    assert counted == stated


def test_the_page_of_settings_has_every_key_of_a_study() -> None:
    from archfront.search.config import StudyConfig, dump

    keys = re.findall(r"^#? ?(\w+) =", dump(StudyConfig(), commented=True), re.MULTILINE)
    shown = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert shown == keys


def test_the_pages_of_the_library_have_every_block_paper_and_reference_of_archfront() -> None:
    from archfront.space import registry
    from archfront.space.references import references

    blocks, library = ((ROOT / "docs" / page).read_text() for page in ("blocks.md", "library.md"))
    own = {name: spec for name, spec in registry.items() if spec.__module__.startswith("archfront.space.library.")}
    assert own
    for entry, spec in own.items():
        assert f"### {entry}\n" in blocks
        assert not (spec.paper and spec.paper.key) or f"[{entry}](blocks.md#{entry.lower()})" in library
    for entry, reference in references.items():
        assert f"| {entry} |" in library
        assert not reference.paper.key or f"| `{reference.paper.key}` |" in library


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in LINK.findall(re.sub(FENCE, "", page.read_text())):
        path, _, heading = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_guide_can_be_reached_from_the_readme() -> None:
    seen, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(page.read_text())]
        queue += [target for target in targets if target.suffix == ".md" and target.exists() and target not in seen]
    assert set(PAGES) <= seen


def test_every_benchmark_is_listed_with_its_command() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    for script in (ROOT / "benchmarks").glob("[a-z]*.py"):
        assert f"`python benchmarks/{script.name}" in text
