"""Magika's features and decisions, against the package's own."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaccel.bench.workloads import files, magika
from vaccel.errors import InvalidArgument

DATA = Path(__file__).parent / "data"
FEATURES = json.loads((DATA / "magika_features.json").read_text())["cases"]
DECISIONS = json.loads((DATA / "magika_decisions.json").read_text())["cases"]

LABELS = ("crt", "elf", "ini", "latex", "markdown", "png", "python", "randombytes", "randomtxt")
RULES = magika.Rules(
    beg_size=1024,
    end_size=1024,
    block_size=4096,
    padding=256,
    least_bytes=8,
    medium_confidence=0.5,
    labels=LABELS,
    thresholds={"crt": 0.9, "latex": 0.95, "markdown": 0.75},
    overwrite={"randombytes": "unknown", "randomtxt": "txt"},
    text_labels=frozenset({"ini", "latex", "markdown", "python", "txt", "randomtxt"}),
)


@pytest.mark.parametrize("case", FEATURES)
def test_features_are_those_of_the_package(case: dict[str, Any]) -> None:
    content = b"".join(text.encode("latin-1") * times for text, times in case["content"])
    expected = [token for token, times in case["features"] for _ in range(times)]

    row = magika.features(content, RULES)

    assert row.dtype == np.int32
    assert row.tolist() == expected


@pytest.mark.parametrize("case", DECISIONS)
def test_decisions_are_those_of_the_package(case: dict[str, Any]) -> None:
    scores = np.zeros(len(LABELS))
    scores[LABELS.index(case["label"])] = case["score"]

    assert magika.label(scores, RULES).name == case["decision"]


def test_a_batch_is_one_int32_array() -> None:
    inputs = magika.batch([b"import sys", b"x" * 5000], RULES)

    assert (inputs.shape, inputs.dtype) == ((2, 2048), np.int32)


def test_a_nearly_blank_file_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="file 1 has under 8 bytes"):
        magika.batch([b"import sys", b"   seven77   "[:9]], RULES)


def test_the_rules_come_from_the_configuration(tmp_path: Path) -> None:
    config = {
        "beg_size": 4,
        "mid_size": 0,
        "end_size": 4,
        "use_inputs_at_offsets": False,
        "medium_confidence_threshold": 0.5,
        "min_file_size_for_dl": 2,
        "padding_token": 256,
        "block_size": 16,
        "target_labels_space": ["a", "b"],
        "thresholds": {"a": 0.9},
        "overwrite_map": {},
    }
    (tmp_path / "content_types_kb.min.json").write_text(
        json.dumps({"a": {"is_text": True}, "b": {"is_text": False}})
    )
    (tmp_path / "config.min.json").write_text(json.dumps(config))
    assert magika.read_rules(tmp_path).text_labels == {"a"}

    (tmp_path / "config.min.json").write_text(json.dumps(config | {"mid_size": 8}))
    with pytest.raises(InvalidArgument, match="middle"):
        magika.read_rules(tmp_path)


def test_the_files_are_what_they_say(tmp_path: Path) -> None:
    files.write(tmp_path)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert content.keys() == files.KINDS.keys()
    assert gzip.decompress(content["words.py.gz"]) == content["words.py"]
    assert zipfile.ZipFile(io.BytesIO(content["library.zip"])).testzip() is None
    assert content["true"].startswith(b"\x7fELF")
    assert json.loads(content["wind.json"])["station"] == "Harbour bridge"
    compile(content["words.py"], "words.py", "exec")
    start = int(content["letter.pdf"].split(b"startxref\n")[1].split()[0])
    assert content["letter.pdf"][start:].startswith(b"xref")


def test_the_files_are_the_same_each_time(tmp_path: Path) -> None:
    files.write(tmp_path / "a")
    files.write(tmp_path / "b")

    for name in files.KINDS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
