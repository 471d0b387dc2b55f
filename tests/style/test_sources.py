"""Files and functions stay small, and no file says where or on what it was written."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("vaccel", "host_daemon", "guest_agent")
FILE_LINES = 400
FUNCTION_LINES = 50
# Each pattern is written so that it does not match itself.
FOREIGN = re.compile(
    r"[^\w.$}]/(?:wor[k]|hom[e]/(?!app\b)\w+|roo[t]/\.|op[t]/wheels|op[t]/pypi)\b"
    r"|pypi[.]org|pythonhoste[d]|deb[.]debian[.]org"
)
UNFINISHED = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|NotImplementedErro[r])\b")
SKIPPED = {"pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}


def tracked() -> list[Path]:
    """Files that are, or are about to be, committed."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Name and text of each of them that is text."""
    found = []
    for path in tracked():
        try:
            found.append((str(path.relative_to(ROOT)), path.read_text()))
        except UnicodeDecodeError:
            continue
    return found


def sources() -> list[tuple[str, str]]:
    """Our own Python."""
    return [
        (name, text)
        for name, text in texts()
        if name.endswith(".py") and name.startswith(PACKAGES) and not name.startswith("vaccel/v1/")
    ]


def test_files_are_small():
    assert [
        (name, count) for name, text in sources() if (count := len(text.splitlines())) > FILE_LINES
    ] == []


def test_functions_are_small():
    large = []
    for name, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                count = (node.end_lineno or 0) - node.lineno + 1
                if count > FUNCTION_LINES:
                    large.append((name, node.name, count))
    assert large == []


def test_annotations_are_lazy():
    late = "from __future__ import annotations"
    assert [name for name, text in sources() if text.count("\n") > 10 and late not in text] == []


def test_no_machine_is_named():
    found = [
        (name, match.group())
        for name, text in texts()
        if name != "requirements.lock" and (match := FOREIGN.search(text))
    ]
    assert found == []


def test_the_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|index-url|find-links", text)


def test_nothing_is_unfinished():
    files = [(name, text) for name, text in texts() if name.endswith((".py", ".proto", ".toml"))]
    assert [(name, m.group()) for name, text in files if (m := UNFINISHED.search(text))] == []


def test_no_test_is_skipped_or_sleeps():
    found = []
    for name, text in texts():
        if name.startswith("tests/") and name.endswith(".py"):
            used = {
                ast.unparse(n) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)
            }
            found += [(name, one) for one in sorted(used & (SKIPPED | {"time.sleep"}))]
    assert found == []


def test_every_error_class_is_complete():
    from vaccel import errors
    from vaccel.rpc import status

    assert set(status.CODES) == set(errors.BY_CODE.values())
    for name, cls in errors.BY_CODE.items():
        assert re.search(rf"\b{name}\b", errors.__doc__ or ""), name
        assert cls.__doc__, name
        assert 0 < cls.exit_code < 126, name


def test_each_variable_of_ours_has_our_prefix():
    pattern = re.compile(r"""environ(?:\.get\(|\[)\s*["'](VACCEL\w*)["']|["'](VACCEL_\w+)["']""")
    for name, text in texts():
        if name.endswith(".py") and not name.startswith("tests/"):
            for groups in pattern.findall(text):
                variable = next(filter(None, groups))
                assert variable.startswith(("VACCELD_", "VACCELCTL_")), (name, variable)
