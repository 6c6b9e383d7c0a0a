"""The auditor shares no decision with what it audits."""

import ast
from pathlib import Path

import infra.auditor

FOLDS = {"refold.py"}  # compares with a fold, so it must run one


def test_only_the_folds_know_the_stages() -> None:
    """No file of the auditor but the one that folds imports anything of agents, however deep in a function."""
    files = [path for path in Path(infra.auditor.__file__).parent.glob("*.py") if path.name not in FOLDS]
    imported = {
        (path.name, name)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert len(files) > len(FOLDS)
    assert [(path, name) for path, name in imported if name.split(".")[0] == "agents"] == []
