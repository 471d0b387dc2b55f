"""Bad input from an operator and from programs: named in one line, with the next step, no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.integration.daemon_host import PROFILE, SECONDS, DaemonHost, compute
from vaccel import bounds
from vaccel.errors import (
    Exhausted,
    InvalidArgument,
    InvalidModel,
    NotFound,
    Unavailable,
    VaccelError,
    WrongState,
)
from vaccel.inventory import VF

X = np.ones((2, 4), np.float32)
Attempt = Callable[[vaccel.Device], object]


def is_told(error: VaccelError, kind: type[VaccelError], *words: str) -> None:
    assert type(error) is kind, f"{error!r} is no {kind.__name__}"
    text = str(error)
    assert "\n" not in text and error.message
    assert error.hint, f"{text!r} does not say what to do"
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.fixture(scope="module")
def vf(host: DaemonHost) -> Iterator[VF]:
    with host.vf("clumsy") as made:
        yield made


@pytest.fixture(scope="module")
def neighbour(host: DaemonHost) -> Iterator[Callable[[], None]]:
    """Proves that another VF of the card serves on, with what it held."""
    with host.vf("neighbour") as made, vaccel.open(address=made.socket) as device:
        model = device.load(models.build("affine"))
        kept = device.buffer(X)

        def serves() -> None:
            assert model(X)["y"].shape == (2, 3)
            np.testing.assert_array_equal(kept.read("float32", (2, 4)), X)
            shown = host.admin.vf(made.id)
            assert (shown.state, shown.epoch, shown.usage.errors) == (
                "attached",
                made.epoch,
                0,
            )

        yield serves


def truncated() -> bytes:
    good = models.build("affine")
    return good[: len(good) // 2]


def attempt_load(data: bytes) -> Attempt:
    return lambda device: device.load(data)


def attempt_call(*args: Any, **named: Any) -> Attempt:
    return lambda device: device.load(models.build("affine"))(*args, **named)


PROGRAM_ERRORS: dict[str, tuple[Attempt, type[VaccelError], tuple[str, ...]]] = {
    "not a model": (attempt_load(b"\x7fELF, surely not a model"), InvalidModel, ()),
    "an empty model": (attempt_load(b""), InvalidModel, ("empty",)),
    "a truncated model": (attempt_load(truncated()), InvalidModel, ()),
    "a model of files outside it": (
        attempt_load(models.build("external")),
        InvalidModel,
        ("weight", "/etc/passwd"),
    ),
    "no such file": (
        lambda device: device.load("/nowhere/model.onnx"),
        InvalidArgument,
        ("/nowhere/model.onnx",),
    ),
    "a folder as a model": (lambda device: device.load("/etc"), InvalidArgument, ("/etc",)),
    "wrong name": (attempt_call(z=X), InvalidArgument, ("'z'", "x: float32[batch, 4]")),
    "wrong shape": (
        attempt_call(np.ones((2, 5), np.float32)),
        InvalidArgument,
        ("x: float32[batch, 4]", "float32[2, 5]", "axis 1"),
    ),
    "wrong dtype": (attempt_call(X.astype(np.int32)), InvalidArgument, ("float32", "int32[2, 4]")),
    "wrong rank": (attempt_call(X[0]), InvalidArgument, ("rank 2", "float32[4]", "rank 1")),
    "too many inputs": (attempt_call(X, X), InvalidArgument, ("2 inputs",)),
    "an input twice": (attempt_call(X, x=X), InvalidArgument, ("'x'",)),
    "no input": (attempt_call(), InvalidArgument, ("'x'", "missing")),
    "no tensor at all": (attempt_call("text"), InvalidArgument, ("'x'", "float32[batch, 4]")),
    "an unknown kernel": (lambda device: device.run("frobnicate", X), NotFound, ("frobnicate",)),
    "a buffer beyond memory": (
        lambda device: device.buffer(7 << 30),
        Exhausted,
        (str(7 << 30), str(6 << 30)),
    ),
    "past a buffer's end": (
        lambda device: device.buffer(8).write(np.zeros(9, np.uint8)),
        InvalidArgument,
        ("8 bytes",),
    ),
    "no commands": (lambda device: device.stream().submit(), InvalidArgument, ("no commands",)),
}


@pytest.mark.parametrize("case", PROGRAM_ERRORS)
def test_a_programs_mistake_is_told_and_leaves_nothing(
    host: DaemonHost, vf: VF, neighbour: Callable[[], None], case: str
) -> None:
    attempt, kind, words = PROGRAM_ERRORS[case]
    with vaccel.open(address=vf.socket) as device:
        with pytest.raises(VaccelError) as caught:
            attempt(device)
        is_told(caught.value, kind, *words)
        np.testing.assert_allclose(device.run("matmul", X, X.T), X @ X.T)  # it serves on
    usage = host.admin.vf(vf.id).usage
    assert (usage.contexts, usage.buffers, usage.programs, usage.memory_bytes) == (0, 0, 0, 0)
    neighbour()


Order = Callable[[DaemonHost], object]
ORDER_ERRORS: dict[str, tuple[Order, type[VaccelError], tuple[str, ...]]] = {
    "unknown profile": (lambda h: h.admin.create_vf("gpu.9g"), NotFound, ("gpu.9g", PROFILE)),
    "unknown profile of a PF": (
        lambda h: h.admin.create_vf("gpu.9g", pf="npu0"),
        NotFound,
        ("gpu.9g", PROFILE),
    ),
    "unknown PF": (lambda h: h.admin.create_vf(PROFILE, pf="npu7"), NotFound, ("npu7", "npu0")),
    "bad name": (lambda h: h.admin.create_vf(PROFILE, name="A b"), InvalidArgument, ("'A b'",)),
    "bad tenant": (
        lambda h: h.admin.create_vf(PROFILE, tenant="A b"),
        InvalidArgument,
        ("'A b'",),
    ),
    "name in use": (
        lambda h: h.admin.create_vf(PROFILE, name="neighbour"),
        InvalidArgument,
        ("'neighbour'",),
    ),
    "show unknown VF": (lambda h: h.admin.vf("nobody"), NotFound, ("nobody",)),
    "destroy unknown VF": (lambda h: h.admin.destroy_vf("nobody"), NotFound, ("nobody",)),
    "attach unknown VF": (
        lambda h: h.admin.attach_vf("nobody", local=True),
        NotFound,
        ("nobody",),
    ),
    "attach an attached VF": (
        lambda h: h.admin.attach_vf("clumsy", local=True),
        WrongState,
        ("clumsy", "attached", "detach"),
    ),
    "destroy an attached VF": (
        lambda h: h.admin.destroy_vf("clumsy"),
        WrongState,
        ("clumsy", "attached", "detach"),
    ),
    "attach to unknown VM": (
        lambda h: h.admin.attach_vf("clumsy", vm="ghost"),
        NotFound,
        ("ghost",),
    ),
    "attach to nothing": (lambda h: h.admin.attach_vf("clumsy"), InvalidArgument, ("give one",)),
    "exec in unknown VM": (
        lambda h: list(h.admin.exec_vm("ghost", ["true"])),
        NotFound,
        ("ghost",),
    ),
    "console of unknown VM": (lambda h: list(h.admin.console("ghost")), NotFound, ("ghost",)),
    "stop unknown VM": (lambda h: h.admin.stop_vm("ghost"), NotFound, ("ghost",)),
    "start without an image": (
        lambda h: h.admin.start_vm("web-1", image="debian"),
        NotFound,
        ("debian",),
    ),
    "bad VM name": (lambda h: h.admin.start_vm("A b"), InvalidArgument, ("'A b'",)),
    "VM of too little memory": (
        lambda h: h.admin.start_vm("web-1", memory_bytes=4096),
        InvalidArgument,
        ("4096", "128 MiB"),
    ),
    "VM of too many CPUs": (
        lambda h: h.admin.start_vm("web-1", cpus=65),
        InvalidArgument,
        ("65",),
    ),
    "unknown image": (lambda h: h.admin.build_image("ghost"), NotFound, ("ghost",)),
    "image of another folder": (
        lambda h: h.admin.build_image("../../etc"),
        InvalidArgument,
        ("../../etc",),
    ),
}


def what_there_is(host: DaemonHost) -> object:
    """All that an order could change; counters that rise by themselves are left out."""
    vfs = [(v.id, v.state, v.epoch, v.socket, v.worker_pid) for v in host.admin.vfs()]
    return vfs, host.admin.vms(), [(pf.fits, pf.core_owners) for pf in host.admin.pfs()]


@pytest.mark.usefixtures("vf")
@pytest.mark.parametrize("case", ORDER_ERRORS)
def test_an_operators_mistake_is_told_and_changes_nothing(
    host: DaemonHost, neighbour: Callable[[], None], case: str
) -> None:
    order, kind, words = ORDER_ERRORS[case]
    before = what_there_is(host)
    with pytest.raises(VaccelError) as caught:
        order(host)
    is_told(caught.value, kind, *words)
    assert what_there_is(host) == before
    neighbour()


def test_more_vfs_than_fit_says_what_is_free(host: DaemonHost) -> None:
    held = {vf.id for vf in host.admin.vfs()}
    with pytest.raises(VaccelError) as caught:
        for _ in range(100):
            host.admin.create_vf(PROFILE)
    full = host.admin.pfs()[0]
    is_told(caught.value, Exhausted, PROFILE, "npu0", "free")
    assert full.fits[PROFILE] == 0
    for vf in host.admin.vfs():
        if vf.id not in held:
            host.admin.destroy_vf(vf.id)
    assert len(host.workers()) == len(held)


def test_a_guest_that_is_started_without_qemu(tmp_path: Path) -> None:
    with DaemonHost(environment={"PATH": str(tmp_path)}) as bare:
        status = bare.admin.status()
        assert status.accelerator == "none"
        assert "qemu" in status.accelerator_reason
        assert any("qemu" in warning for warning in status.warnings)
        with bare.vf("alone") as made, vaccel.open(address=made.socket) as device:
            np.testing.assert_allclose(device.run("matmul", X, X.T), X @ X.T)


def test_the_sdk_says_where_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(VaccelError) as caught:
        vaccel.open(address=f"unix:{tmp_path}/nobody.sock")
    is_told(caught.value, Unavailable, "nobody.sock")


async def test_calls_that_are_given_up_in_the_middle_disturb_nobody(
    host: DaemonHost, vf: VF, neighbour: Callable[[], None]
) -> None:
    chunk = bytes(bounds.CHUNK_BYTES)
    async with compute(vf.socket) as client:
        context = await client.open_context()
        buffer = await client.allocate(context, len(chunk))
        for turn in range(60):
            calls = [
                asyncio.create_task(client.write(context, buffer, 0, chunk)),
                asyncio.create_task(client.read(context, buffer, 0, len(chunk))),
            ]
            # At another moment each time: also while a message is half way to the worker or back.
            await asyncio.wait(calls, timeout=turn / 5000)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert await client.read(context, buffer, 0, len(chunk)) == chunk
        openings = [asyncio.create_task(client.open_context()) for _ in range(20)]
        await asyncio.sleep(0)
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
    assert host.admin.vf(vf.id).epoch == vf.epoch
    async with asyncio.timeout(SECONDS):
        while host.admin.vf(vf.id).usage.contexts:  # noqa: ASYNC110 - the daemon frees them
            await asyncio.sleep(0.005)
    neighbour()
