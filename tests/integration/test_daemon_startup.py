"""What stops a daemon from starting, in one line; and what answers once it has started."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import vaccel
from tests.integration.daemon_host import CONFIG, PROGRAM, SECONDS, DaemonHost
from vaccel.errors import InvalidArgument
from vaccel.rpc.rules import SERVICES


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="vd-") as name:
        yield Path(name)


def refusal(folder: Path, config: str) -> tuple[int, str]:
    """(exit status, last line) of a daemon that does not start."""
    file = folder / "vacceld.toml"
    file.write_text(config.format(folder=folder))
    said = subprocess.run(
        [PROGRAM, "--config", file],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "Traceback" not in said.stderr, said.stderr
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("vacceld: ")
    return said.returncode, last


MISTAKES = {
    "unknown key": (CONFIG.replace("state_dir", "stat_dir"), ("host.stat_dir", "state_dir")),
    "wrong unit": (CONFIG + '\n[hypervisor]\nmemory = "512 MHz"\n', ("hypervisor.memory", "MHz")),
    "unknown card": (CONFIG.replace("kcloud-1", "kcloud-9"), ("npu0", "kcloud-9", "kcloud-1")),
    "duplicate name": (CONFIG + '\n[[pf]]\nname = "npu0"\ncard = "kcloud-1"\n', ("'npu0'",)),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_configuration_is_named(folder: Path, case: str) -> None:
    config, words = MISTAKES[case]
    status, line = refusal(folder, config)
    assert status == 2, line
    for word in words if "card" in case else (str(folder / "vacceld.toml"), *words):
        assert word in line
    assert line.endswith(")"), f"no next step in {line!r}"
    assert not (folder / "state/vacceld.db").exists() or "card" in case


def test_a_missing_configuration_is_named(folder: Path) -> None:
    said = subprocess.run(
        [PROGRAM, "--config", folder / "nowhere.toml"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert said.returncode == 10
    assert "nowhere.toml" in said.stderr and "--config" in said.stderr


@pytest.mark.parametrize("key", ["state", "run"])
def test_a_file_in_the_way_of_a_folder(folder: Path, key: str) -> None:
    (folder / key).write_text("in the way")
    status, line = refusal(folder, CONFIG)
    assert status == 10
    assert str(folder / key) in line and "state_dir" in line


def test_a_folder_that_may_not_be_written(folder: Path) -> None:
    status, line = refusal(folder, CONFIG.replace("{folder}/state", "/sys/vacceld"))
    assert status == 10
    assert "/sys/vacceld" in line and "state_dir" in line
    assert "not permitted" in line or "denied" in line  # to root, or to anybody else


def test_a_damaged_store_is_named(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state/vacceld.db").write_bytes(b"not a store at all" * 100)
    status, line = refusal(folder, CONFIG)
    assert status == 10 and str(folder / "state/vacceld.db") in line


def test_a_damaged_authority_is_named(folder: Path) -> None:
    (folder / "state/tls").mkdir(parents=True)
    (folder / "state/tls/ca.key").write_text("no key")
    (folder / "state/tls/ca.pem").write_text("no certificate")
    status, line = refusal(folder, CONFIG)
    assert status == 10 and str(folder / "state/tls") in line and "remove" in line


def test_a_folder_whose_sockets_have_too_long_names(folder: Path) -> None:
    deep = "x" * (90 - len(str(folder)))
    status, line = refusal(folder, CONFIG.replace("{folder}/run", "{folder}/" + deep))
    assert status == 10
    assert "runtime_dir" in line and deep in line


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


def test_two_daemons_do_not_share_a_runtime_folder(host: DaemonHost, folder: Path) -> None:
    with host.vf("undisturbed") as vf:
        config = CONFIG.replace("{folder}/run", f"{host.folder}/run")
        status, line = refusal(folder, config)
        assert status == 10
        assert f"{host.folder}/run" in line and f"process {host.pid}" in line
        assert host.admin.vf(vf.id).worker_pid == vf.worker_pid
        assert host.workers() == [vf.worker_pid]


def test_a_card_that_has_vfs_cannot_be_taken_away(host: DaemonHost) -> None:
    before = host.config.read_text()
    with host.vf("on-it") as vf:
        host.stop()
        for change in (('"npu0"', '"npu1"'), ('"kcloud-1"', '"rngd"')):
            host.config.write_text(before.replace(*change))
            process = host.spawn()
            assert process.wait(SECONDS) == 4
            last = host.log.strip().splitlines()[-1]
            assert "npu0" in last and "VFs" in last
        host.config.write_text(before)
        host.start()
        assert host.admin.vf(vf.id).worker_pid == vf.worker_pid


def test_health_answers_on_the_control_socket(host: DaemonHost) -> None:
    with grpc.insecure_channel(f"unix:{host.control}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "vaccel.v1.Admin", "vaccel.v1.Compute"):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_describes_every_method(host: DaemonHost) -> None:
    with grpc.insecure_channel(f"unix:{host.control}") as channel:
        found = ProtoReflectionDescriptorDatabase(channel)
        assert {"vaccel.v1.Admin", "vaccel.v1.Compute", "grpc.health.v1.Health"} <= set(
            found.get_services()
        )
        for name in ("Admin", "Compute"):
            service = SERVICES[name]
            file = found.FindFileContainingSymbol(service.full_name)
            (described,) = [s for s in file.service if s.name == name]
            assert [m.name for m in described.method] == [m.name for m in service.methods]


def test_the_environment_may_name_the_device(
    host: DaemonHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"unix:{host.control}"
    with host.vf("one") as one, host.vf("other") as other:
        with pytest.raises(InvalidArgument, match=other.id):
            vaccel.open(address=address)
        monkeypatch.setenv("VACCELD_DEVICE", other.id)
        for named, opened in (("", other), (one.id, one)):
            with vaccel.open(named, address=address) as device:
                assert device.info.id == opened.id


def test_a_daemon_ends_at_once_and_leaves_its_workers(host: DaemonHost) -> None:
    with host.vf("stays") as vf:
        assert host.stop() == 0
        assert host.workers() == [vf.worker_pid]
        assert not host.control.exists()
        host.start()
