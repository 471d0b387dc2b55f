"""Streams of two devices on one VF wait for each other, over every way that there is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import vaccel
from tests.integration.daemon_host import SECONDS, DaemonHost
from vaccel.commands import Copy, Fill, Nop, WaitFence
from vaccel.errors import DeviceLost, InvalidArgument, NotFound, WrongState
from vaccel.inventory import VF

PATHS = [(one, two) for one in ("aperture", "grpc") for two in ("aperture", "grpc")]
SIZE = 16 << 20


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        yield host


@pytest.fixture(scope="module")
def vf(host: DaemonHost) -> Iterator[VF]:
    with host.vf("fences") as vf:
        yield vf


def slow(device: vaccel.Device, commands: int) -> vaccel.Fence:
    """Milliseconds a command."""
    buffer = device.buffer(SIZE)
    return device.stream().submit(*[Fill(buffer.at(), SIZE, b"ab")] * commands)


@pytest.mark.parametrize(("one", "two"), PATHS)
def test_a_stream_waits_for_another_devices_fence(vf: VF, one: str, two: str) -> None:
    with (
        vaccel.open(address=vf.socket, path=one) as first,
        vaccel.open(address=vf.socket, path=two) as second,
    ):
        before = slow(first, 20)
        stream, buffer = second.stream(), second.buffer(8)
        held = stream.wait(before)
        stream.submit(Fill(buffer.at(), 8, b"\1"))
        # And back again, and in the same device; a null command is one as well.
        back = first.stream()
        back.wait(stream.submit(Nop()))
        ends = back.submit(Nop()), second.stream().wait(held)
        for end in ends:
            end.wait(SECONDS)
        assert buffer.read("uint8", (8,)).tolist() == [1] * 8
        assert before.wait(0).error is None  # it is reached, so there is nothing to wait for


def test_null_commands_are_found_in_the_ring_that_they_were_put_into(vf: VF) -> None:
    with (
        vaccel.open(address=vf.socket, path="aperture") as first,
        vaccel.open(address=vf.socket, path="aperture") as second,
    ):
        here, there = first.stream(), second.stream()
        for _ in range(300):
            there.wait(here.submit(Nop())).wait(SECONDS)
            here.wait(there.submit(Nop(), Nop())).wait(SECONDS)


@pytest.mark.parametrize(("one", "two"), PATHS)
def test_a_device_that_closes_ends_waits_for_it(vf: VF, one: str, two: str) -> None:
    with vaccel.open(address=vf.socket, path=two) as second:
        first = vaccel.open(address=vf.socket, path=one)
        stream = second.stream()
        fence = slow(first, 1000)
        held = stream.wait(fence)
        behind = stream.submit(Nop())
        first.close()
        with pytest.raises(NotFound, match=r"stream \d+ fence 1000 of context .* was closed"):
            held.wait(SECONDS)
        behind.wait(SECONDS)
        with pytest.raises((NotFound, WrongState), match=r"not open|closed"):
            stream.wait(fence)
        stream.submit(Nop()).wait(SECONDS)


@pytest.mark.parametrize("path", ["aperture", "grpc"])
def test_a_fence_of_another_vf_is_refused_by_name(host: DaemonHost, vf: VF, path: str) -> None:
    with (
        host.vf("elsewhere") as other,
        vaccel.open(address=vf.socket, path=path) as here,
        vaccel.open(address=other.socket, path=path) as there,
    ):
        fence, stream = there.stream().submit(Nop()), here.stream()
        with pytest.raises(InvalidArgument, match=f"of {other.id}.* on {vf.id}"):
            stream.wait(fence)
        # Nor does its context mean anything to the worker of this one.
        raw = WaitFence(1, 1, there.stream().context)
        with pytest.raises(NotFound, match="is not open"):
            stream.submit(raw).wait(SECONDS)
        with pytest.raises(InvalidArgument, match="a Nop is no fence"):
            stream.wait(Nop())  # type: ignore[arg-type]


def test_another_program_needs_three_words(vf: VF) -> None:
    with (
        vaccel.open(address=vf.socket) as first,
        vaccel.open(address=vf.socket) as second,
    ):
        stream, buffer = first.stream(), second.buffer(16)
        fence = stream.submit(Nop())
        wait = WaitFence(stream.id, fence.value, stream.context)
        done = second.stream().submit(wait, Copy(buffer.at(), buffer.at(8), 8))
        assert done.wait(SECONDS).fence == 2


@pytest.mark.parametrize(("one", "two"), PATHS)
def test_a_reset_ends_both(host: DaemonHost, one: str, two: str) -> None:
    with (
        host.vf(f"reset-{one}-{two}") as vf,
        vaccel.open(address=vf.socket, path=one) as first,
        vaccel.open(address=vf.socket, path=two) as second,
    ):
        stream = second.stream()
        fence = slow(first, 1000)
        held = stream.wait(fence)
        os.kill(host.admin.vf(vf.id).worker_pid, signal.SIGKILL)
        with pytest.raises(DeviceLost):
            held.wait(SECONDS)
        with pytest.raises(DeviceLost):
            fence.wait(SECONDS)
        with pytest.raises((DeviceLost, NotFound)):
            stream.wait(fence)  # what is lost is not taken for a fence of the new context
        assert stream.submit(Nop()).wait(SECONDS).fence >= 1
        stream.wait(first.stream().submit(Nop())).wait(SECONDS)
