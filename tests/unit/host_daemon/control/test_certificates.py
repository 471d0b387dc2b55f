"""The host's authority: made once, loaded again, and named where it is damaged."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from host_daemon.control.certificates import load_or_make
from vaccel.errors import HostFault

NOW = 1_760_000_000_000_000_000


def test_it_is_made_once_and_signs_the_server(tmp_path: Path) -> None:
    first = load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    second = load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    assert second.ca_pem == first.ca_pem and second.key_pem != first.key_pem
    assert first.server_name == "vacceld.host-1.internal"
    ca = x509.load_pem_x509_certificate(first.ca_pem)
    server = x509.load_pem_x509_certificate(second.certificate_pem)
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [first.server_name]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    now = datetime.datetime.fromtimestamp(NOW / 1e9, datetime.UTC)
    behind = now - datetime.timedelta(days=1)  # a guest whose clock is wrong
    for certificate in (ca, server):
        assert certificate.not_valid_before_utc < behind
        assert certificate.not_valid_after_utc > now + datetime.timedelta(days=3600)


def test_its_files_are_private(tmp_path: Path) -> None:
    load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert {f.name: f.stat().st_mode & 0o777 for f in (tmp_path / "tls").iterdir()} == {
        "ca.key": 0o600,
        "ca.pem": 0o600,
    }


def test_one_that_was_half_made_is_made_anew(tmp_path: Path) -> None:
    old = load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    (tmp_path / "tls/ca.key").unlink()
    (tmp_path / "tls/ca.key.new").write_text("cut sh")
    new = load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    assert new.ca_pem != old.ca_pem
    assert load_or_make(tmp_path / "tls", "host-1", lambda: NOW).ca_pem == new.ca_pem


@pytest.mark.parametrize("file", ["ca.key", "ca.pem"])
@pytest.mark.parametrize("data", [b"", b"-----BEGIN NONSENSE-----\n", b"\xff" * 100])
def test_a_damaged_one_is_named(tmp_path: Path, file: str, data: bytes) -> None:
    load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    (tmp_path / "tls" / file).write_bytes(data)
    with pytest.raises(HostFault, match="certificate authority") as caught:
        load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    assert str(tmp_path / "tls") in caught.value.message and "remove" in caught.value.hint


def test_a_key_of_another_kind_or_authority_is_refused(tmp_path: Path) -> None:
    load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())):
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (tmp_path / "tls/ca.key").write_bytes(pem)
        with pytest.raises(HostFault, match="key") as caught:
            load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
        assert caught.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("in the way")
    with pytest.raises(HostFault, match="tls"):
        load_or_make(tmp_path / "tls", "host-1", lambda: NOW)
