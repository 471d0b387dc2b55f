"""The keeper needs nothing that has to be installed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from host_daemon import keeper


def test_it_imports_the_standard_library_and_itself() -> None:
    files = sorted(Path(keeper.__file__).parent.glob("*.py"))
    assert len(files) > 3
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert not node.level
                names = [node.module or ""]
            for name in names:
                known = name.split(".")[0] in sys.stdlib_module_names
                assert known or name.startswith("host_daemon.keeper"), (file.name, name)
