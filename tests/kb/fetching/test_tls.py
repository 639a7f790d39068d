"""Over TLS, the certificate must be for the name in the address, though the connection goes to a checked IP address."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kb.errors import HostUnreachable, ModelUnreachable
from kb.fetching import Fetcher
from kb.providers.guard import Guard
from kb.providers.listing import list_models
from tests.fakes.web_pages import PAGE, WebPages


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for site.example that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("site.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "site.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + encoded_key)
    return path


@pytest.fixture
def names() -> list[str | None]:
    """The names that clients asked for in TLS."""
    return []


@pytest.fixture
def secure_web(certificate: Path, names: list[str | None]) -> Iterator[WebPages]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with WebPages(context) as server:
        yield server


def _fetcher(name: str, port: int) -> Fetcher:
    return Fetcher(f"{name}:{port}", resolver=lambda _host, _port: ["127.0.0.1"])


def test_certificate_is_checked_for_the_name_in_the_address(
    secure_web: WebPages, certificate: Path, names: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    port = secure_web.port
    page = _fetcher("site.example", port).fetch(f"https://site.example:{port}/page")
    assert page.data == PAGE
    assert names == ["site.example"]
    assert secure_web.requests[0][1]["Host"] == f"site.example:{port}"
    with pytest.raises(HostUnreachable, match=r"other\.example"):
        _fetcher("other.example", port).fetch(f"https://other.example:{port}/page")
    assert len(secure_web.requests) == 1


def test_certificate_of_an_unknown_authority_is_refused(secure_web: WebPages) -> None:
    with pytest.raises(HostUnreachable, match="self-signed certificate"):
        _fetcher("site.example", secure_web.port).fetch(f"https://site.example:{secure_web.port}/page")
    assert secure_web.requests == []


def test_server_without_tls_is_told() -> None:
    with WebPages() as plain, pytest.raises(HostUnreachable, match="no secure connection"):
        _fetcher("site.example", plain.port).fetch(f"https://site.example:{plain.port}/page")


def test_model_server_of_a_member_proves_its_name(
    secure_web: WebPages, certificate: Path, names: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr("kb.providers.guard._tls", httpx2.create_ssl_context)
    port = secure_web.port
    secure_web.serve("/v1/models", b'{"data": [{"id": "m"}]}', content_type="application/json")
    allowed = Guard.of(f"site.example:{port} other.example:{port}").allowed
    guard = Guard(allowed, lambda _host, _port: ["127.0.0.1"])
    assert list_models(f"https://site.example:{port}/v1", "", 5, guard) == ["m"]
    assert names == ["site.example"]
    assert secure_web.requests[0][1]["Host"] == f"site.example:{port}"
    with pytest.raises(ModelUnreachable):
        list_models(f"https://other.example:{port}/v1", "", 5, guard)
