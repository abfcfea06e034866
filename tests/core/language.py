"""Check the language of the project: one vocabulary, and docstrings that begin with a verb.

Run `python -m tests.core.language [PATH ...]` for the whole project or for some of it. The rules are in `language.toml`
next to this file: the terms that the glossary replaces, the verbs that a docstring may begin with, and the exceptions,
each with its reason. An exception that matches nothing any more is an error, so the list only shrinks.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

RULES: Final = Path(__file__).with_name("language.toml")
_PYTHON: Final = {".py"}
_PROSE: Final = {".md", ".tmpl", ".go", ".txt", ".toml", ".sh", ""}
_DOCSTRINGS: Final = ("core/", "plugins/", "noxfile.py")
"""Where every function's docstring begins with a listed verb."""
_BANNED_FIRST: Final = frozenset({"Give", "Gives", "Say", "Says", "Tell", "Let"})
"""With these no docstring begins, in tests either, whose sentences otherwise say what holds."""
_ITS_OWN: Final = ("LICENSE", "tests/core/language", "tests/core/test_language")
"""What quotes the terms that are refused, or is not ours."""
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@attrs.frozen
class Finding:
    """One place where the language rules do not hold."""

    path: str
    line: int
    text: str
    """The word or phrase, as it was found."""
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: {self.advice}"


@attrs.frozen
class Exemption:
    """A finding that is allowed, and why."""

    path: str
    text: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Return whether this exemption is about the finding; a path that ends with `/` covers everything below it."""
        place = finding.path == self.path or (self.path.endswith("/") and finding.path.startswith(self.path))
        return place and finding.text.lower() == self.text.lower()


@attrs.frozen
class Rules:
    """The content of `language.toml`."""

    phrases: Sequence[tuple[re.Pattern[str], str]]
    """What prose must not hold, with the term to use instead."""
    names: dict[str, str]
    """Parts of identifiers that must not occur, in lower case, with the term to use instead."""
    verbs: frozenset[str]
    exemptions: Sequence[Exemption]


def read_rules(path: Path = RULES) -> Rules:
    """Read the rules."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Rules(
        phrases=[(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in data["phrases"].items()],
        names=data["names"],
        verbs=frozenset(data["verbs"]),
        exemptions=[Exemption(**each) for each in data.get("exemptions", [])],
    )


def check_prose(path: str, first: int, text: str, rules: Rules) -> Iterator[Finding]:
    """Yield every phrase of a text that the glossary replaces; `first` is the number of its first line."""
    for pattern, advice in rules.phrases:
        for found in pattern.finditer(text):
            yield Finding(path, first + text.count("\n", 0, found.start()), " ".join(found[0].split()), advice)


def check_python(path: str, source: str, rules: Rules) -> Iterator[Finding]:
    """Yield what breaks the rules in a Python file: in comments, strings, names and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _TEXTS:
            yield from check_prose(path, token.start[0], token.string, rules)
        elif token.type == tokenize.NAME:
            for part in _PARTS.findall(token.string):
                if (advice := rules.names.get(part.lower())) is not None:
                    yield Finding(path, token.start[0], token.string, advice)
    yield from _check_docstrings(path, ast.parse(source), rules)


_TEXTS: Final = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def _check_docstrings(path: str, tree: ast.Module, rules: Rules) -> Iterator[Finding]:
    for node in ast.walk(tree):
        # A property is documented as the attribute that it looks like.
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_property(node):
            continue
        words = (ast.get_docstring(node) or "").split()
        if not words:
            continue
        allowed = words[0] in rules.verbs if path.startswith(_DOCSTRINGS) else words[0] not in _BANNED_FIRST
        if not allowed:
            yield Finding(path, node.lineno, f"{node.name}: {words[0]}", "begin the docstring with a listed verb")


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith(("property", ".setter")) for decorator in node.decorator_list)


def check_file(root: Path, path: str, rules: Rules) -> list[Finding]:
    """Return what breaks the rules in one file."""
    source = (root / path).read_text(encoding="utf-8", errors="replace")
    if Path(path).suffix in _PYTHON:
        return list(check_python(path, source, rules))
    return list(check_prose(path, 1, source, rules))


def check_files(root: Path, paths: Iterable[str], rules: Rules, *, everything: bool = True) -> list[str]:
    """Return every finding that no exemption covers and, of `everything`, every exemption that covers nothing."""
    findings = [finding for path in paths for finding in check_file(root, path, rules)]
    used = {each for each in rules.exemptions if any(each.covers(finding) for finding in findings)}
    lines = [str(finding) for finding in findings if not any(each.covers(finding) for each in used)]
    unused = [each for each in rules.exemptions if each not in used] if everything else []
    return lines + [f"{RULES.name}: the exemption {each.path} {each.text!r} covers nothing" for each in unused]


def project_files(root: Path) -> list[str]:
    """List the files of the project that hold language: code, docs, templates and scripts."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    kept = [path for path in listed if Path(path).suffix in _PYTHON | _PROSE and (root / path).is_file()]
    return [
        path
        for path in kept
        if not path.startswith(("LICENSE", "tests/core/language", "tests/core/test_language"))
        and "/samples/" not in path
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the findings in the project, or in the files and directories that are named; return the exit status."""
    root = Path(__file__).parents[2]
    wanted = tuple(argument.removeprefix("./") for argument in arguments)
    paths = [path for path in project_files(root) if not wanted or path.startswith(wanted)]
    lines = check_files(root, paths, read_rules(), everything=not wanted)
    print(*lines, sep="\n", end="\n" if lines else "")
    if lines:
        counts = Counter("/".join(line.split(":")[0].split("/")[:3]) for line in lines)
        print(*(f"{count:5} {place}" for place, count in counts.most_common()), sep="\n", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
