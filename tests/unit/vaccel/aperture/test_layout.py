from __future__ import annotations

from pathlib import Path

import pytest

from vaccel import bounds
from vaccel.aperture import layout
from vaccel.errors import InvalidArgument

DOCUMENT = Path(__file__).parents[4] / "docs" / "aperture.md"


def test_fields_are_aligned_and_do_not_overlap() -> None:
    end = 0
    for field in layout.fields():
        assert field.offset % layout.WORD == 0, field.name
        assert field.size % layout.WORD == 0, field.name
        assert field.offset >= end, field.name
        end = field.offset + field.size
    assert end <= layout.HEADER_BYTES


@pytest.mark.parametrize("size", [1 << power for power in range(20, 35)])
def test_areas_follow_one_another(size: int) -> None:
    assert layout.check_size(size) == size
    assert layout.STATUS_OFFSET + layout.STATUS_BYTES <= layout.RINGS_OFFSET
    assert layout.RINGS_OFFSET < layout.slabs_offset(size) < size
    assert layout.slabs_offset(size) % (4 * bounds.KIB) == 0
    areas = layout.areas(size)
    assert [area.start for area in areas] == [0, *(area.end for area in areas[:-1])]
    assert areas[-1].end == size


@pytest.mark.parametrize("size", [0, -1, 1, 4096, 3 << 20, (1 << 20) + 1, 1 << 35])
def test_odd_sizes_are_refused_by_value(size: int) -> None:
    with pytest.raises(InvalidArgument, match=str(size)):
        layout.check_size(size)


def test_documentation_shows_the_table() -> None:
    assert layout.table() in DOCUMENT.read_text()
    assert layout.status_table() in DOCUMENT.read_text()
    assert layout.queue_table() in DOCUMENT.read_text()


def test_words_of_the_status_page_follow_one_another() -> None:
    offsets = [field.offset for field in layout.STATUS_FIELDS]
    assert offsets == [layout.WORD * number for number in range(len(offsets))]
    assert offsets[-1] + layout.WORD <= layout.STATUS_BYTES


def test_indices_have_a_cache_line_each() -> None:
    lines = [field.offset // 64 for field in layout.QUEUE_FIELDS]
    assert len(set(lines)) == len(lines)
    end = 0
    for field in layout.QUEUE_FIELDS:
        assert field.offset >= end
        end = field.offset + field.size
    assert end <= layout.QUEUE_BYTES


@pytest.mark.parametrize("size", [1 << 20, 1 << 28])
def test_queue_pairs_stay_before_the_slabs(size: int) -> None:
    pairs = layout.queue_pairs(size)
    assert pairs == min(64, size // 4 // layout.QUEUE_BYTES)
    assert layout.queue_offset(pairs) <= layout.slabs_offset(size)
