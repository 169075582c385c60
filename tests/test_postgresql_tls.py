"""TLS to PostgreSQL, by what the URL says; the password stands in no log."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.api import Api
from tests.cluster import running_cluster
from tests.server import make_token, running_server
from tests.stores import migrate
from tests.test_postgresql_server import dashkeeper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Cluster

PASSWORD = "p@ss:word/of?tests"


def make_certificate(folder: Path, name: str) -> None:
    """Write NAME.crt, which is its own authority and good for `localhost`, and NAME.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = folder / f"{name}.key"
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_path.chmod(0o600)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of the cluster, and another."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder, "server")
    make_certificate(folder, "other")
    return folder


@pytest.fixture(scope="module")
def tls_cluster(certificates: Path) -> Iterator[Cluster]:
    """A cluster that takes the account `keeper` with its password, over TLS alone."""
    with running_cluster() as cluster:
        asyncio.run(migrate(cluster.url))
        demand_tls(cluster, certificates)
        yield cluster


def demand_tls(cluster: Cluster, certificates: Path) -> None:
    owner = cluster.data.stat()
    for name in ("server.crt", "server.key"):
        shutil.copy2(certificates / name, cluster.data)
        if os.geteuid() == 0:
            os.chown(cluster.data / name, owner.st_uid, owner.st_gid)
    cluster.sql(f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    cluster.stop()
    cluster.configure("ssl = on\n")
    rules = "hostssl all keeper all scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
    (cluster.data / "pg_hba.conf").write_text(rules, encoding="utf-8")
    cluster.start()


def url(cluster: Cluster, parameters: str, *, host: str = "localhost", password: str = PASSWORD) -> str:
    return f"postgresql://keeper:{quote(password, safe='')}@{host}:{cluster.port}/postgres?{parameters}"


def test_tls_required_and_verified_serves_and_logs_no_password(
    tls_cluster: Cluster, certificates: Path, tmp_path: Path, project_id: str
) -> None:
    for number, parameters in enumerate(
        ("sslmode=require", f"sslmode=verify-full&sslrootcert={certificates}/server.crt")
    ):
        folder = tmp_path / str(number)
        with running_server(folder, DATABASE_URL=url(tls_cluster, parameters), LOG_LEVEL="debug") as server:
            api = Api(server, "connect-json", make_token(project_id), project_id)
            assert api.call("Create", {"dashboardId": f"d{number}", "name": "A"}).code == "ok"
            used = tls_cluster.rows(
                "SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'keeper'"
            )
            assert {row["ssl"] for row in used} == {True}
            tls_cluster.stop()
            assert api.call("Get", {"id": f"d{number}"}).code == "unavailable"
            tls_cluster.start()
            api.close()
        log = (folder / "log").read_text(encoding="utf-8")
        assert PASSWORD not in log
        assert quote(PASSWORD, safe="") not in log


@pytest.mark.parametrize(
    ("parameters", "host", "password", "told"),
    [
        ("sslmode=verify-full&sslrootcert={}/other.crt", "localhost", PASSWORD, "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert={}/server.crt", "127.0.0.1", PASSWORD, "IP address mismatch"),
        ("sslmode=verify-full&sslrootcert={}/none.crt", "localhost", PASSWORD, "No such file"),
        ("sslmode=disable", "localhost", PASSWORD, "no encryption"),
        ("sslmode=require", "localhost", "wrong-password", "password authentication failed"),
        ("sslmode=often", "localhost", PASSWORD, "sslmode"),
    ],
)
def test_tls_that_is_not_as_the_url_wants_it_is_refused_with_the_reason(
    tls_cluster: Cluster,
    certificates: Path,
    tmp_path: Path,
    parameters: str,
    host: str,
    password: str,
    told: str,
) -> None:
    wrong = url(tls_cluster, parameters.format(certificates), host=host, password=password)
    run = dashkeeper("serve", tmp_path, wrong)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert told in run.stderr
    assert "DASHKEEPER_DATABASE_URL" in run.stderr
    for secret in (password, quote(password, safe="")):
        assert secret not in run.stderr
