"""The tutorial is true: its files are written, its commands run, and what it shows is what is printed."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, ROOT, free_port

TUTORIAL = ROOT / "docs" / "tutorial.rst"
INSTALLING = {
    "python -m venv .venv",
    "source .venv/bin/activate",
    'python -m pip install "django-clip-search[embedded]"',
}
"""What is not run: this Python has the package already."""
SHELL, SERVER = "python manage.py shell", "python manage.py runserver"
"""What a reader types into, or leaves running: the blocks that follow say what happens there."""
AT_THE_END = ", at the end"
MODELS = {
    "hashing": '\nCLIP_SEARCH["ENCODER"] = "clip_search.testing.HashingEncoder"\n',
    "demo": f'\nCLIP_SEARCH["MODEL"] = {str(ROOT / "example_project" / "demo_model")!r}\n',
}
"""In place of the model that a reader downloads."""


@dataclass(frozen=True, slots=True)
class Block:
    """One code block of the tutorial."""

    language: str
    caption: str
    text: str
    before: str
    """The paragraph above it."""


def blocks(source: str) -> Iterator[Block]:
    """Yield the code blocks of a page, in order."""
    pattern = r"^\.\. code-block:: (\S+)\n(?:    :caption: (.+)\n)?\n((?:    .*\n|\n)+)"
    for found in re.finditer(pattern, source, re.M):
        text = re.sub(r"^    ", "", found[3], flags=re.M).strip("\n") + "\n"
        before = source[: found.start()].rstrip().rpartition("\n\n")[2]
        yield Block(found[1], found[2] or "", text, before)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what it is said to print."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip()


class Reader:
    """Does what the tutorial says, in an empty directory."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.model = model
        self.done: list[str] = []
        self.session = ""
        # without the settings of this test run, and without a network for the model
        kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self.environment = kept | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}

    def follow(self, block: Block) -> None:
        if block.language == "pycon":
            self.session += block.text  # one shell, with text between its blocks
            return
        self.talk()
        if block.caption:
            self.write(block)
        elif block.language == "console":
            for command, output in commands(block.text):
                self.type(command, output)
        else:
            self.visit(block)

    def write(self, block: Block) -> None:
        """Write the file that the caption names, or add to its end."""
        name, at_the_end = block.caption.removesuffix(AT_THE_END), block.caption.endswith(AT_THE_END)
        path, text = self.folder / name, block.text
        path.parent.mkdir(parents=True, exist_ok=True)
        if "CLIP_SEARCH =" in text:
            text += MODELS[self.model]
        with path.open("a" if at_the_end else "w") as file:
            file.write(f"\n{text}")
        self.done.append(block.caption)

    def type(self, command: str, said: str) -> None:
        """Run a command, and compare what it prints."""
        self.done.append(command)
        if command in INSTALLING or command in (SHELL, SERVER):
            return
        command, _, file = command.partition(" < ")
        given = (self.folder / file).read_text() if file else None
        printed = self.run(*self.words(command), given=given)
        if said:
            assert steady(printed) == steady(said), command

    def words(self, command: str) -> list[str]:
        program, *arguments = command.split()
        assert program in ("python", "django-admin"), command
        return arguments if program == "python" else ["-m", "django", *arguments]

    def talk(self) -> None:
        """Type what waits to be typed into Django's shell, and compare its answers."""
        session, self.session = self.session, ""
        if not session:
            return
        assert SHELL in self.done
        (self.folder / "session.txt").write_text(session)
        code = "import doctest; print(doctest.testfile('session.txt', module_relative=False, verbose=False))"
        printed = self.run("manage.py", "shell", "--no-imports", "-c", code)
        assert f"failed=0, attempted={session.count('>>> ')}" in printed, printed

    def visit(self, block: Block) -> None:
        """Open the address that the paragraph above names, and compare the list that is shown."""
        assert SERVER in self.done
        (address,) = re.findall(r"http://127\.0\.0\.1:8000(/\S*)", block.before)
        port = free_port()
        line = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        log = self.folder / "runserver.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                line, cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            page = answer(f"http://127.0.0.1:{port}{address}", server, log)
        finally:
            server.terminate()
            server.wait(PATIENCE)
        listed = [html.unescape(item) for item in re.findall(r"<li>(.*?)</li>", page)]
        assert listed == block.text.splitlines()
        self.done.append(address)

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Run Python; return what it prints. Nothing may be printed as an error."""
        found = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert found.returncode == 0, f"{arguments}\n{found.stdout}\n{found.stderr}"
        return found.stdout


def answer(url: str, server: subprocess.Popen[bytes], log: Path) -> str:
    """Return the page, waiting for the server to start."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with opener.open(url, timeout=PATIENCE) as response:
                return str(response.read().decode())
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text())
            time.sleep(0.1)


def steady(text: str) -> str:
    """Return what is printed without the seconds, and without the progress that a slow machine shows."""
    lines = [line for line in text.strip().splitlines() if not re.match(r"\w+ing \w+: \d+ of \d+", line)]
    return re.sub(r"in \d+\.\d s", "in … s", "\n".join(lines))


@pytest.mark.timing
@pytest.mark.parametrize("model", ["hashing", pytest.param("demo", marks=pytest.mark.model)])
def test_the_tutorial_does_what_it_says(tmp_path: Path, model: str) -> None:
    pytest.importorskip("qdrant_edge")
    reader = Reader(tmp_path, model)
    for block in blocks(TUTORIAL.read_text()):
        reader.follow(block)
    assert set(reader.done) >= INSTALLING | {SHELL, SERVER, "python manage.py clip_reindex"}
    assert len(reader.done) >= 20


def test_no_block_of_the_tutorial_is_overlooked() -> None:
    source = TUTORIAL.read_text()
    found = list(blocks(source))
    assert len(found) == source.count("code-block::")
    assert {block.language for block in found if not block.caption} == {"console", "pycon", "text"}


def test_a_tutorial_that_is_wrong_fails(tmp_path: Path) -> None:
    reader = Reader(tmp_path, "hashing")
    with pytest.raises(AssertionError, match="--version"):
        reader.type("python --version", "Python 2.7")
    (tmp_path / "manage.py").write_text("print('TestResults(failed=1, attempted=1)')")
    reader.done.append(SHELL)
    reader.session = ">>> 1 + 1\n3\n"
    with pytest.raises(AssertionError, match="failed=1"):
        reader.talk()
