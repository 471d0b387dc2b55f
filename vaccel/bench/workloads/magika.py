"""File types with Magika: the first and last bytes of each file in, a label per file out.

Features and decision follow ``magika.magika`` of the wheel that ``vaccel.bench.models`` pins
(``_extract_features_from_seekable``, ``_get_output_label_from_dl_label_and_score``), with the
default prediction mode, high confidence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaccel.errors import InvalidArgument

Model = Callable[..., Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the model's own configuration says of features and decisions."""

    beg_size: int
    end_size: int
    block_size: int
    padding: int
    least_bytes: int
    medium_confidence: float
    labels: tuple[str, ...]
    thresholds: Mapping[str, float]
    overwrite: Mapping[str, str]
    text_labels: frozenset[str]


@dataclass(frozen=True, slots=True)
class Label:
    """A file's type, and how sure the model was, 0 to 1."""

    name: str
    score: float


def read_rules(folder: Path) -> Rules:
    """The rules from ``config.min.json`` and ``content_types_kb.min.json`` of a folder.

    Raises InvalidArgument where the model wants features that this code does not make.
    """
    config = json.loads((folder / "config.min.json").read_text())
    types = json.loads((folder / "content_types_kb.min.json").read_text())
    if config["mid_size"] or config["use_inputs_at_offsets"]:
        raise InvalidArgument(
            f"the model in {folder.name} wants features from the middle of files",
            hint="use the model version that vaccel.bench.models pins",
        )
    return Rules(
        beg_size=config["beg_size"],
        end_size=config["end_size"],
        block_size=config["block_size"],
        padding=config["padding_token"],
        least_bytes=config["min_file_size_for_dl"],
        medium_confidence=config["medium_confidence_threshold"],
        labels=tuple(config["target_labels_space"]),
        thresholds=config["thresholds"],
        overwrite=config["overwrite_map"],
        text_labels=frozenset(name for name, facts in types.items() if facts["is_text"]),
    )


def features(content: bytes, rules: Rules) -> NDArray[np.int32]:
    """Shape (beg_size + end_size,): a file's first and last bytes, without outer blanks, padded.

    The beginning is padded at its end, and the end at its beginning.
    """
    head = content[: rules.block_size].lstrip()[: rules.beg_size]
    tail = content[-rules.block_size :].rstrip()[-rules.end_size :]
    row = np.full(rules.beg_size + rules.end_size, rules.padding, np.int32)
    row[: len(head)] = np.frombuffer(head, np.uint8)
    row[len(row) - len(tail) :] = np.frombuffer(tail, np.uint8)
    return row


def batch(contents: Sequence[bytes], rules: Rules) -> NDArray[np.int32]:
    """Shape (files, 2048). Raises InvalidArgument for a file with too few bytes for the model."""
    rows = [features(content, rules) for content in contents]
    for index, row in enumerate(rows):
        if row[rules.least_bytes - 1] == rules.padding:
            raise InvalidArgument(
                f"file {index} has under {rules.least_bytes} bytes that are not blank",
                hint="the model tells nothing about such files: leave it out",
            )
    return np.array(rows)


def run(model: Model, inputs: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    """``target_label`` of shape (files, labels): a probability each."""
    return {"target_label": np.asarray(model(bytes=inputs)["target_label"])}


def label(scores: NDArray[Any], rules: Rules) -> Label:
    """The decision for one row of scores: the likeliest label, or a generic one if unsure."""
    best = int(np.argmax(scores))
    guess, score = rules.labels[best], float(scores[best])
    name = rules.overwrite.get(guess, guess)
    if score < rules.thresholds.get(guess, rules.medium_confidence):
        name = "txt" if name in rules.text_labels else "unknown"
    return Label(name, score)


def say(labels: Mapping[str, str]) -> str:
    """Labels by file name in words, such as ``bread.md is markdown, wind.json is json``."""
    return ", ".join(f"{name} is {label}" for name, label in labels.items())


def decide(
    outputs: Mapping[str, NDArray[Any]], names: Sequence[str], rules: Rules
) -> dict[str, Label]:
    """A label per file, in the order of the files."""
    return {
        name: label(row, rules) for name, row in zip(names, outputs["target_label"], strict=True)
    }
