"""Whose fault it is: texts of the checker, of shape inference and of ONNX Runtime, the node first.

Each of them names nodes in ways of its own. Here they become ``node 'name' (Op): reason``, as all
errors here have it. What a model calls its things is hostile: one line, printable, short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from onnx import NodeProto

from host_daemon.compiler.graphs import printable, title

_TEXT_BYTES: Final = 600
_NOISE: Final = (
    re.compile(r"/onnxruntime_src/\S+:\d+ "),
    re.compile(r"This is an invalid model\. "),
    re.compile(r"Exception during initialization: "),
    re.compile(r"\[(?:Shape|Type)InferenceError\] ?"),
    re.compile(r"Inference error\(s\): "),
)
# What names a place in ORT's own sources: a file with its line and function, or a function in full.
_FILE: Final = re.compile(r"\b\w+\.(?:cc|h|hpp|cpp):\d+ \S+ ")
_STATUS: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_FUNCTION: Final = re.compile(r"::(?:operator\(\)|~?\w+(?:<[^()]{0,200}>)?)\(")
_BEHIND: Final = re.compile(r"(?: const)?(?: \[with [^\]]*\])? ?")
# A condition of those sources that did not hold, where words for people follow.
_CONDITION: Final = re.compile(r".{1,600}? was false\. (?=\S)")
_SOURCES: Final = re.compile(r"\b(?:onnxruntime|std|gsl|SafeInt\w*|Ort\w*)\b")
_UNSAID: Final = "it does not take these operands"


def _at(match: re.Match[str]) -> tuple[str, str]:
    groups = match.groupdict()
    return groups["name"], groups.get("op") or ""


_Place = tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[str, str]]]
# How a node is named, most telling first; what is matched is taken out of the text.
_PLACES: Final[tuple[_Place, ...]] = tuple(
    (re.compile(pattern), _at)
    for pattern in (
        r"(?:==> )?(?:Context: )?Bad node spec for node\. Name: (?P<name>.*?) OpType: (?P<op>\S*)",
        r"Node ?\((?P<name>[^)]*)\) Op \((?P<op>[^)]*)\)\s*",
        r"\(op_type:(?P<op>[^,]*), node name: (?P<name>[^)]*)\): ",
        r"Node ?\((?P<name>[^)]*)\) with schema\([^:]*::(?P<op>\w+):\d+\) ",
        r"of operator \((?P<op>[^)]*)\) in node \((?P<name>[^)]*)\)",
        r"of Optype \((?P<op>[^)]*)\)(?= .* in node \((?P<name>[^)]*)\))",
        r"of node: name: (?P<name>.*?) OpType: (?P<op>\S*)",
        r"Could not find an implementation for (?P<op>\w+)\(\d+\) node with name '(?P<name>[^']*)'",
        r"Node ?\((?P<name>[^)]*)\)(?:'s)? ",
        r"Node:? ?'?(?P<name>[^' ]*)'? \((?P<op>\w+)\)",
    )
)
_TENSOR: Final = re.compile(r"(?:\(tensor name: |Sparse tensor \()(?P<name>[^)]*)\) ?")
_UNKNOWN: Final = re.compile(r"[\w.]*:(?P<op>\w+)\(-?\d+\) is not a registered function/op")


def plain(text: str) -> str:
    """One line, printable, short."""
    text = "".join(c if c.isprintable() else " " for c in text[: 4 * _TEXT_BYTES])
    return " ".join(text.split())[:_TEXT_BYTES]


def readable(text: str) -> str:
    """What ORT says, without the functions, files and conditions of its own sources."""
    text, asserted = _STATUS.sub("", text), False
    while (found := _signature(text)) is not None:
        text, asserted = text[: found[0]] + text[found[1] :], True
    text, count = _FILE.subn("", text)
    if asserted or count:
        condition = _CONDITION.match(text)
        text = text[condition.end() :] if condition else text
    return text.strip() or _UNSAID


def _signature(text: str) -> tuple[int, int] | None:
    """Where a C++ function's signature begins and ends."""
    found = _FUNCTION.search(text)
    if found is None:
        return None
    depth, end = 1, found.end()
    while end < len(text) and depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    behind = _BEHIND.match(text, end)
    start = text.rfind(": ", 0, found.start()) + 2 if ": " in text[: found.start()] else 0
    # A name of the model may look like one, but for the libraries that are named in it.
    if not _SOURCES.search(text, start, end):
        return None
    return start, (behind.end() if behind else end)


def reason(text: str, nodes: Iterable[NodeProto] = ()) -> str:
    """A text with the node, or the tensor, at its front. ``nodes`` are searched for an op's name
    where the text has nothing else.
    """
    text = plain(text)
    for noise in _NOISE:
        text = noise.sub("", text)
    for pattern, names in _PLACES:
        found = pattern.search(text)
        if found:
            name, op = names(found)
            rest = plain(text[: found.start()] + " " + text[found.end() :])
            return _fronted(f"node {printable(name)}", op, rest)
    found = _TENSOR.search(text)
    if found:
        rest = text[: found.start()] + text[found.end() :]
        return f"tensor {printable(found['name'])}: {plain(rest)}"
    found = _UNKNOWN.search(text)
    if found:
        for node in nodes:
            if node.op_type == found["op"]:
                return f"node {title(node)}: {text}"
    return f"model: {readable(text)}"


def _fronted(who: str, op: str, rest: str) -> str:
    shown = f" ({''.join(c for c in op if c.isprintable())[:80]})" if op else ""
    return f"{who}{shown}: {readable(rest.lstrip(' :').removesuffix('==>').strip())}"
