"""Imports inside the package, beyond the order of the layers, which import-linter checks (`./pixiw run lint`)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "dumbtorch"
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]
MODULES = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"} | {"_C"}


def own_imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str, list[str]]]:
    """Yield the statements that import from dumbtorch, the module and the names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dumbtorch":
            yield node, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "dumbtorch":
                    yield node, alias.name, []


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_only_modules_come_from_the_package_itself(file: Path) -> None:
    """The package's own namespace holds everything: a part that took a function from there would import upwards."""
    for node, module, names in own_imports(ast.parse(file.read_text(encoding="utf-8"))):
        if module == "dumbtorch":
            assert names, f"line {node.lineno} imports the whole package"
            assert set(names) <= MODULES, f"line {node.lineno} imports {set(names) - MODULES} from the package"


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_no_import_of_ours_hides_in_a_function(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    hidden = [node.lineno for function in functions for node, _, _ in own_imports(function)]
    assert not hidden, f"imports inside functions, lines {hidden}"
