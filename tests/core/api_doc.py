"""Write the page of the Python API from its docstrings: `python -m tests.core.api_doc` prints it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import refundry
import refundry.provider
import refundry.web

HEADER: Final = """\
# Python API

Generated from the docstrings of the public names; a test keeps them in sync. Everything here is covered by [the
compatibility policy](compatibility.md); everything else is private. [Embed Refundry](../howto/embed.md) shows how the
parts are used together.
"""
MODULES: Final[Sequence[tuple[ModuleType, str]]] = (
    (refundry, "What platforms use."),
    (refundry.web, "Receiving notifications."),
    (refundry.provider, "What plugins use; [the provider interface](provider.md) explains it."),
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def api_page() -> str:
    """Return the whole page."""
    return HEADER + "".join(f"\n{part}" for part in _parts())


def _parts() -> Iterator[str]:
    shown: set[int] = set()
    for module, text in MODULES:
        yield f"## `{module.__name__}`\n\n{text}\n"
        for name in sorted(module.__all__, key=lambda name: _order(name, getattr(module, name))):
            thing = getattr(module, name)
            if id(thing) in shown:
                continue
            shown.add(id(thing))
            yield from _described(module.__name__, name, thing)


def _order(name: str, thing: Any) -> tuple[bool, bool, str]:
    """Return what sorts classes before functions, and errors to the end."""
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    return is_error, not inspect.isclass(thing), name.lower()


def _described(module: str, name: str, thing: Any) -> Iterator[str]:
    node = _node(name, thing)
    if isinstance(node, ast.ClassDef):
        yield from _class(node, thing)
    elif isinstance(node, Function):
        yield f"### `{name}`\n\n{_signature(node)}{_text(node)}"
    else:
        yield f"### `{name}`\n\n```py\n{name} = {_assigned(module, name)}\n```\n"


def _node(name: str, thing: Any) -> ast.AST | None:
    if not inspect.isclass(thing) and not inspect.isfunction(thing):
        return None
    tree = _tree(inspect.getsourcefile(thing) or "")
    return next((node for node in tree.body if getattr(node, "name", None) == name), None)


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _assigned(module: str, name: str) -> str:
    """Return what a public constant or alias is assigned, from the module that defines it."""
    homes = getattr(import_module(module), "_MODULES", ())
    home = next((home for home in homes if name in import_module(home).__all__), module)
    package = Path(inspect.getsourcefile(import_module(home)) or "").parent
    for path in sorted(package.glob("*.py")):
        for node in _tree(str(path)).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and target.id == name:
                    return ast.unparse(node.value)
    raise LookupError(f"{module}.{name} is not assigned in its package")


def _class(node: ast.ClassDef, kind: type) -> Iterator[str]:
    bases = ", ".join(base for base in map(ast.unparse, node.bases) if base not in ("Protocol", "object"))
    yield f"### `{node.name}{f'({bases})' if bases else ''}`\n\n{_text(node)}"
    fields = list(_fields(node))
    if fields:
        yield "\n".join(["| attribute | meaning |", "| --- | --- |", *fields, ""])
    for item in node.body:
        if isinstance(item, Function) and not item.name.startswith("_"):
            if any(ast.unparse(decorator) == "property" for decorator in item.decorator_list):
                yield f"#### `{node.name}.{item.name}`\n\n{_text(item)}"
            else:
                yield f"#### `{node.name}.{item.name}`\n\n{_signature(item)}{_text(item)}"


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for item, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name = f"{item.target.id}: {ast.unparse(item.annotation)}"
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name = ast.unparse(item)
        else:
            continue
        if not name.startswith("_"):
            yield f"| `{name.replace('|', chr(92) + '|')}` | {_remark(following)} |"


def _remark(following: ast.stmt | None) -> str:
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return " ".join(str(following.value.value).split()).replace("|", chr(92) + "|")
    return ""


def _signature(node: Function) -> str:
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    arguments = _arguments(node.args)
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{prefix} {node.name}({', '.join(arguments)}){result}"
    if len(line) > 100:
        broken = ",\n    ".join(arguments)
        line = f"{prefix} {node.name}(\n    {broken},\n){result}"
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    lines = [f"@{name}" for name in ("classmethod", "asynccontextmanager", "staticmethod") if name in decorators]
    return "\n".join(["```py", *lines, line, "```", "", ""])


def _arguments(arguments: ast.arguments) -> list[str]:
    """Return the parameters as they are written, without `self` and `cls`."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    parts = [_argument(*pair) for pair in zip(positional, [*missing, *arguments.defaults], strict=True)]
    if arguments.kwonlyargs:
        parts.append("*" if arguments.vararg is None else f"*{_argument(arguments.vararg, None)}")
        parts += [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [part for part in parts if part not in ("self", "cls")]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = "" if argument.annotation is None else f": {ast.unparse(argument.annotation)}"
    equals = " = " if kind else "="
    return f"{argument.arg}{kind}" + ("" if default is None else f"{equals}{ast.unparse(default)}")


def _text(node: ast.ClassDef | Function) -> str:
    text = ast.get_docstring(node) or ""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(textwrap.fill(paragraph, 120, break_on_hyphens=False) for paragraph in paragraphs) + "\n"


if __name__ == "__main__":
    print(api_page(), end="")
