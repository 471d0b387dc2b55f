from __future__ import annotations

from pathlib import Path

from host_daemon.hypervisors.qmp.console import read, rotate, tail


async def everything(log: Path, before: Path) -> bytes:
    chunks = [chunk async for chunk in read(log, before, follow=False, alive=lambda: False)]
    return b"".join(chunks)


async def test_a_log_keeps_its_newest_bytes(tmp_path: Path) -> None:
    log, before = tmp_path / "log", tmp_path / "log.1"
    with log.open("ab", buffering=0) as writer:
        for turn in range(50):
            writer.write(b"%04d " % turn * 10)
            rotate(log, before, limit=200)
            assert log.stat().st_size <= 200
        assert before.stat().st_size <= 200
    text = await everything(log, before)
    assert text.endswith(b"0049 ")
    assert b"0046 " in text
    assert b"0000 " not in text


async def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log, before = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"short")
    assert not rotate(log, before, limit=5)
    assert not before.exists()
    assert not rotate(tmp_path / "absent", before)
    assert await everything(log, before) == b"short"


async def test_following_across_a_rotation(tmp_path: Path) -> None:
    log, before = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"first " * 20)
    alive = [True, True, False]

    def still_alive() -> bool:
        answer = alive.pop(0)
        if len(alive) == 1:
            rotate(log, before, limit=10)
            log.write_bytes(b"second")
        return answer

    seen = [chunk async for chunk in read(log, before, follow=True, alive=still_alive)]
    assert b"".join(seen) == b"first " * 20 + b"second"


def test_the_tail_is_one_printable_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old\n\nnew \x1b[31mred\r\nlast\xff\n")
    assert tail(log, lines=2) == "new ?[31mred | last\ufffd"
    assert tail(tmp_path / "absent") == ""
