"""Files of fifteen types for Magika, made here, so that anyone can judge what it says of them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from vaccel.bench.workloads import texts
from vaccel.errors import HostFault

# By file name: the label that Magika uses for what the file is.
KINDS: dict[str, str] = {
    "backup.sh": "shell",
    "bread.md": "markdown",
    "colours.png": "png",
    "customers.sql": "sql",
    "hours.html": "html",
    "letter.pdf": "pdf",
    "library.zip": "zip",
    "list.c": "c",
    "printer.ini": "ini",
    "style.css": "css",
    "true": "elf",
    "weather.csv": "csv",
    "wind.json": "json",
    "words.py": "python",
    "words.py.gz": "gzip",
}

# Programs that every Linux has; the first that exists is taken.
_PROGRAMS = (Path("/bin/true"), Path("/usr/bin/true"), Path("/bin/sh"))


def write(folder: Path) -> None:
    """Write one file per entry of ``KINDS``. Raises HostFault where there is no ELF program."""
    text = {
        "backup.sh": texts.SHELL,
        "bread.md": texts.MARKDOWN,
        "customers.sql": texts.SQL,
        "hours.html": texts.HTML,
        "list.c": texts.C,
        "printer.ini": texts.INI,
        "style.css": texts.CSS,
        "weather.csv": texts.CSV,
        "wind.json": texts.JSON,
        "words.py": texts.PYTHON,
    }
    contents = {name: content.encode() for name, content in text.items()}
    contents["colours.png"] = png()
    contents["letter.pdf"] = pdf("Dear reader, this page was made to be recognised.")
    contents["library.zip"] = archive({"hours.html": texts.HTML, "style.css": texts.CSS})
    contents["words.py.gz"] = gzip.compress(texts.PYTHON.encode(), mtime=0)
    contents["true"] = _program()
    folder.mkdir(parents=True, exist_ok=True)
    for name in KINDS:
        (folder / name).write_bytes(contents[name])


def png() -> bytes:
    """A picture of 64 by 64 pixels in RGB (PNG specification, section 5)."""
    row, column = np.mgrid[0:64, 0:64]
    pixels = np.stack([4 * row, 4 * column, 255 - 2 * (row + column)], axis=-1).astype(np.uint8)
    # Each line is led by its filter: 0 is none.
    lines = np.concatenate([np.zeros((64, 1), np.uint8), pixels.reshape(64, -1)], axis=1)
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def pdf(sentence: str) -> bytes:
    """One page with one sentence (PDF 32000-1, annex H.3)."""
    page = f"BT /F1 18 Tf 72 720 Td ({sentence}) Tj ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(page)} >>\nstream\n{page}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n"
    end += f"<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + end).encode("ascii")


def archive(members: dict[str, str]) -> bytes:
    """A ZIP of text files, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _program() -> bytes:
    for path in _PROGRAMS:
        if path.is_file():
            return path.read_bytes()
    raise HostFault(
        f"none of {', '.join(map(str, _PROGRAMS))} is there",
        hint="the demo needs one ELF program of the system",
    )
