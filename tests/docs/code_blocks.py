"""The fenced blocks of a Markdown page, and the commands in those that are for a shell."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("bash", "python", "yaml", "")
_MARKER = re.compile(r"<!-- not run: (\S.*\S) -->")
_KEYWORDS = ("if", "then", "else", "fi")
_STARTERS = ("srun", "torchrun", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, where it begins, and why it is not run, if so."""

    language: str
    code: str
    line: int
    not_run: str = ""

    @property
    def file(self) -> str:
        """The file that the block is, where its first line names one: ``# refiner.yaml``."""
        found = re.match(r"# ([\w/]+\.(?:yaml|py))\n", self.code)
        return found[1] if found else ""


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        ValueError: If a language is unknown, a marker has no reason, or it does not stand right above a block.
    """
    found: list[Block] = []
    lines = text.splitlines()
    at, reason = 0, ""
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = lines.index("```", at + 1)
            language = line.removeprefix("```").strip()
            if language not in LANGUAGES:
                raise ValueError(f"line {at + 1}: language {language!r}, expected one of {LANGUAGES}")
            found.append(Block(language, "\n".join(lines[at + 1 : end]) + "\n", at + 1, reason))
            at, reason = end + 1, ""
            continue
        if reason:
            raise ValueError(f"line {at}: the marker does not stand right above a block")
        if line.startswith("<!-- not run"):
            match = _MARKER.fullmatch(line)
            if match is None:
                raise ValueError(f"line {at + 1}: found {line!r}, expected <!-- not run: reason -->")
            reason = match[1]
        at += 1
    if reason:
        raise ValueError("the last marker stands above no block")
    return found


def commands_of(block: Block) -> Iterator[list[str]]:
    """Give the words of every command of a shell block, variables replaced by what the block set them to last."""
    variables: dict[str, str] = {}
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set(";&|"):
                command.append(word)
                continue
            while command and command[0] in _KEYWORDS:
                command.pop(0)
            while command and (assigned := re.fullmatch(r"(\w+)=(.*)", command[0])):
                variables[assigned[1]] = assigned[2]
                command.pop(0)
            if command:
                yield [part for word in command for part in _expanded(word, variables)]
            command = []


def _expanded(word: str, variables: dict[str, str]) -> list[str]:
    if "$" not in word:
        return [word]
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], word).split()


def arguments_of(command: list[str]) -> list[str] | None:
    """Return what nasoseg gets from a command, whoever starts it; None where it is another program."""
    if command[0] == "nasoseg" or (command[0] in _STARTERS and "nasoseg" in command):
        return command[command.index("nasoseg") + 1 :]
    return None


def read_page(path: Path) -> list[Block]:
    """Return the blocks of a file, which errors name."""
    try:
        return blocks_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
