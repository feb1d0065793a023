"""Signed C2PA manifests, read back by the reader of the library that others verify with."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as PillowImage

pytest.importorskip("c2pa", reason="needs the extra c2pa: pip install 'facemend[c2pa]'")

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from facemend.cli.main import main
from facemend.errors import UsageError
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.provenance import read_credentials, read_provenance
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import COVER

_PRIVATE = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of a test authority: chain.pem, key.pem and the authority's root.pem."""
    folder = tmp_path_factory.mktemp("certificate")
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("test authority", authority, authority, "test authority")
    leaf = _certificate("test newsroom", signer, authority, "test authority")
    (folder / "root.pem").write_bytes(root)
    (folder / "chain.pem").write_bytes(leaf + root)
    (folder / "key.pem").write_bytes(_pem(signer, PrivateFormat.TraditionalOpenSSL))
    return folder


def _certificate(name: str, key: _PRIVATE, issuer_key: _PRIVATE, issuer: str) -> bytes:
    """PEM. One for signing photos, or an authority's if it issues itself."""
    is_authority, now = key is issuer_key, datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    public = issuer_key.public_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                **usage,
            ),
            critical=True,
        )
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(purpose, critical=False)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _named(name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "facemend tests")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: _PRIVATE, form: PrivateFormat, lock: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, form, lock or NoEncryption())


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path, folder: Path) -> Reconstructor:
    credentials = read_credentials(folder / "chain.pem", folder / "key.pem")
    return Reconstructor(stand_in_model, threads=1, credentials=credentials)


@pytest.fixture(scope="module")
def photo() -> Image:
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[305:370, 205:305] = COVER
    return photo


def _file(photo: Image, path: Path) -> Path:
    PillowImage.fromarray(photo).save(path)
    return path


def _read(path: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    """What the library's reader says of a file, trusting the test's authority: its verdict and manifest."""
    root = (folder / "root.pem").read_text()
    context = c2pa.Context.from_dict({"trust": {"trust_anchors": root}, "verify": {"verify_trust": True}})
    kind = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".tif": "image/tiff"}
    with c2pa.Reader(kind[path.suffix], BytesIO(path.read_bytes()), context=context) as reader:
        return str(reader.get_validation_state()), reader.get_active_manifest()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_manifest_says_what_was_done_and_is_trusted(
    reconstructor: Reconstructor, photo: Image, folder: Path, tmp_path: Path, suffix: str
) -> None:
    source = _file(photo, tmp_path / f"secret{suffix}")
    out = tmp_path / f"out{suffix}"
    result = reconstructor(source)
    result.save(out)
    verdict, manifest = _read(out, folder)
    assert verdict == "Trusted"
    assert manifest["signature_info"]["common_name"] == "test newsroom"
    (ingredient,) = manifest["ingredients"]
    assert (ingredient["relationship"], ingredient["title"]) == ("parentOf", source.name)
    assert "thumbnail" not in ingredient
    assert "thumbnail" not in manifest
    data = {each["label"]: each["data"] for each in manifest["assertions"]}
    opened, edited = data["c2pa.actions.v2"]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert edited["softwareAgent"]["name"] == "facemend"
    (region,) = result.provenance.regions
    (change,) = edited["changes"]
    shape = change["region"][0]["shape"]
    x, y = shape["origin"]["x"], shape["origin"]["y"]
    assert (x, y, x + shape["width"], y + shape["height"]) == region.box_px
    assert data["com.facemend.provenance"]["input_sha256"] == result.provenance.input_sha256
    assert str(tmp_path) not in json.dumps(manifest)
    assert read_provenance(out) == result.provenance


def test_one_changed_bit_is_noticed(
    reconstructor: Reconstructor, photo: Image, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    reconstructor(photo).save(out)
    assert _read(out, folder)[0] == "Trusted"
    data = bytearray(out.read_bytes())
    data[data.rfind(b"IDAT") + 40] ^= 1
    out.write_bytes(data)
    assert _read(out, folder)[0] == "Invalid"


def test_a_file_in_which_nothing_was_drawn_stays_as_it_is(
    reconstructor: Reconstructor, tmp_path: Path
) -> None:
    source = _file(np.full((80, 80, 3), 90, dtype=np.uint8), tmp_path / "plain.png")
    reconstructor(source).save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == source.read_bytes()


def test_stripping_leaves_the_name_of_the_file_out(
    reconstructor: Reconstructor, photo: Image, folder: Path, tmp_path: Path
) -> None:
    reconstructor(_file(photo, tmp_path / "secret.jpg"), strip=True).save(tmp_path / "out.jpg")
    verdict, manifest = _read(tmp_path / "out.jpg", folder)
    assert verdict == "Trusted"
    assert "secret" not in json.dumps(manifest)


def test_a_signed_photo_stays_in_the_history_of_the_next(
    reconstructor: Reconstructor, photo: Image, folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    reconstructor(photo).save(first)
    mask = np.zeros(photo.shape[:2], dtype=np.bool_)
    mask[320:340, 230:270] = True
    reconstructor(first, mask=mask).save(second)
    verdict, manifest = _read(second, folder)
    assert verdict == "Trusted"
    assert manifest["ingredients"][0]["active_manifest"]


def test_the_command_signs_and_does_not_take_other_work_for_its_own(
    stand_in_model: Path, photo: Image, folder: Path, tmp_path: Path
) -> None:
    source, out = _file(photo, tmp_path / "a.png"), tmp_path / "out.png"
    words = ["reconstruct", str(source), "-o", str(out), "--model", str(stand_in_model)]
    signing = ["--c2pa-certificate", str(folder / "chain.pem"), "--c2pa-key", str(folder / "key.pem")]
    runner = CliRunner()
    assert runner.invoke(main, words + signing[:2]).exit_code == 2
    assert runner.invoke(main, words + signing).exit_code == 0
    assert _read(out, folder)[0] == "Trusted"
    assert "finished before" in runner.invoke(main, words + signing).output
    assert runner.invoke(main, words).exit_code == 1


def test_what_cannot_sign_is_refused_before_anything_is_done(folder: Path, tmp_path: Path) -> None:
    chain, key = folder / "chain.pem", folder / "key.pem"
    other = ec.generate_private_key(ec.SECP256R1())
    files = {
        "other.pem": _pem(other, PrivateFormat.PKCS8),
        "locked.pem": _pem(other, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "curve.pem": _pem(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8),
        "text.pem": b"no key",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for certificate, private, said in (
        (tmp_path / "none.pem", key, "holds no PEM certificate"),
        (key, key, "holds no PEM certificate"),
        (chain, tmp_path / "text.pem", "holds no PEM private key"),
        (chain, tmp_path / "other.pem", "is not the key of"),
        (chain, tmp_path / "locked.pem", "is encrypted"),
        (chain, tmp_path / "curve.pem", "does not know the kind"),
    ):
        with pytest.raises(UsageError, match=said):
            read_credentials(certificate, private)


def test_signing_asks_no_address_that_a_photo_names(
    reconstructor: Reconstructor, photo: Image, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{address}"/></rdf:RDF></x:xmpmeta>'
    )
    PillowImage.fromarray(photo).save(tmp_path / "a.jpg", xmp=packet.encode(), quality=100)
    reconstructor(tmp_path / "a.jpg").save(tmp_path / "b.jpg")
    server.shutdown()
    server.server_close()
    assert b"c2pa" in (tmp_path / "b.jpg").read_bytes()
    assert not asked
