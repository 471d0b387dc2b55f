"""The host's own certificate authority, and the certificate that its guest endpoint shows.

Guests trust this authority and no other: they find it in their window's header, which only the host
can write. EC P-256 keeps the PEM small enough for the header.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vaccel.errors import HostFault

_CA_YEARS: Final = 20
_SERVER_DAYS: Final = 3650
# A guest's clock may be behind: a virtual machine that was paused, or an RTC that was set wrong.
_BACKDATED: Final = datetime.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the guest endpoint shows, and what guests trust."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes
    server_name: str


def load_or_make(folder: Path, host_id: str, unix_ns: Callable[[], int]) -> Identity:
    """The host's identity; the authority is kept in ``folder``, the server's key only in memory.

    Raises HostFault where the authority's files are unreadable or damaged.
    """
    key_path, ca_path = folder / "ca.key", folder / "ca.pem"
    now = datetime.datetime.fromtimestamp(unix_ns() / 1e9, datetime.UTC)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key_path.exists():
            _make_authority(key_path, ca_path, host_id, now)
        ca_pem = ca_path.read_bytes()
        authority = x509.load_pem_x509_certificate(ca_pem)
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is no EC key")
        if key.public_key() != authority.public_key():
            raise ValueError("its key is not the certificate's")
    except (OSError, ValueError) as fault:
        raise HostFault(
            f"certificate authority in {folder}: {fault}",
            hint="remove the folder to make a new one; running guests then enrol again",
        ) from None
    return _issue(authority, key, ca_pem, f"vacceld.{host_id}.internal", now)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _make_authority(key_path: Path, ca_path: Path, host_id: str, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"vaccel host {host_id}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=365 * _CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(ca_path, certificate.public_bytes(serialization.Encoding.PEM))
    _write(key_path, _key_pem(key))  # last: its presence says that both are whole


def _issue(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    ca_pem: bytes,
    server_name: str,
    now: datetime.datetime,
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("vacceld"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=_SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Identity(ca_pem, pem, _key_pem(key), server_name)
