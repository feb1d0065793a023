"""Content Credentials: a signed C2PA manifest in what facemend writes, with the user's own certificate.

C2PA, "Content Credentials: C2PA Technical Specification", version 2. The package c2pa-python signs.
"""

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from facemend import __version__
from facemend.errors import OutputError, UsageError, reason_of
from facemend.files import read_named, sha256_of_parts
from facemend.io import Format, Photo, encode_photo
from facemend.reconstruction.provenance import NOTICE, SOURCE_TYPE, Provenance

MISSING = "signing needs more packages: pip install 'facemend[c2pa]'"
_MOST_BYTES = 1 << 20  # of a certificate or a key
_SETTINGS = {
    # A thumbnail would show what the photo hid, or keep what was stripped.
    "builder": {"thumbnail": {"enabled": False}},
    # A photo may name an address where its manifest lies: whoever made it would see who works on it.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_SOFTWARE = {"name": "facemend", "version": __version__}


@dataclass(frozen=True, repr=False)
class Credentials:
    """A certificate and its key, checked.

    Attributes:
        chain: the certificate and those that lead to its authority, PEM.
        key: the private key, PEM (PKCS #8).
        algorithm: in C2PA's words, such as ES256.
    """

    chain: bytes
    key: bytes
    algorithm: str

    @property
    def sha256(self) -> str:
        """Of the certificates, hexadecimal."""
        return sha256_of_parts(self.chain.decode("ascii", "replace"))


def read_credentials(certificate: Path | str, key: Path | str) -> Credentials:
    """Reads a certificate chain and a private key, both PEM.

    Raises:
        UsageError: the extra `c2pa` is missing, a file cannot be read, the key is encrypted or of a kind
            that C2PA does not know, or the key is not that of the certificate.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
            load_pem_private_key,
        )
        from cryptography.x509 import load_pem_x509_certificates
    except ModuleNotFoundError as error:
        raise UsageError(MISSING) from error
    try:
        chain = read_named(Path(certificate), _MOST_BYTES)
        first = load_pem_x509_certificates(chain)[0]
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{certificate} holds no PEM certificate: {reason_of(error)}") from error
    try:
        private = load_pem_private_key(read_named(Path(key), _MOST_BYTES), None)
    except TypeError as error:
        raise UsageError(f"{key} is encrypted; decrypt it with openssl pkey") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{key} holds no PEM private key: {reason_of(error)}") from error
    curves = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in curves:
        algorithm = curves[private.curve.name]
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = "PS256"
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ED25519"
    else:
        raise UsageError(f"C2PA does not know the kind of key in {key}; use P-256, Ed25519 or RSA")
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != first.public_key().public_bytes(*form):
        raise UsageError(f"{key} is not the key of the first certificate in {certificate}")
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credentials(chain, pem, algorithm)


def sign(data: bytes, kind: Format, before: Photo, made: Provenance, credentials: Credentials) -> bytes:
    """A picture's file with a signed manifest in it.

    The manifest names the input as its parent, one action with the reconstructed regions, the source type
    of a composite with trained algorithmic media, and the provenance. It holds no thumbnail.

    Args:
        data: the file.
        kind: its format.
        before: the input.
        made: how the picture was made.

    Raises:
        UsageError: the extra `c2pa` is missing.
        OutputError: the file or the certificate is refused.
    """
    try:
        import c2pa
    except ModuleNotFoundError as error:
        raise UsageError(MISSING) from error
    source, source_kind = before.source, before.format
    if source is None or source_kind is Format.BMP:
        source, source_kind = encode_photo(before, Format.PNG), Format.PNG
    title = "the photo" if before.stripped else Path(before.name).name
    try:
        context = c2pa.Context.from_dict(_SETTINGS)
        builder = c2pa.Builder.from_json(json.dumps(_manifest(title, kind, made)), context)
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        ingredient = json.dumps({"title": title, "relationship": "parentOf"})
        builder.add_ingredient(ingredient, _media_type(source_kind), BytesIO(source))
        algorithm = c2pa.C2paSigningAlg[credentials.algorithm]
        info = c2pa.C2paSignerInfo(algorithm, credentials.chain, credentials.key, None)
        signed = BytesIO()
        builder.sign(c2pa.Signer.from_info(info), _media_type(kind), BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise OutputError(f"{before.name} cannot be signed: {reason_of(error)}") from error
    return signed.getvalue()


def _manifest(title: str, kind: Format, made: Provenance) -> dict[str, Any]:
    action = {
        "action": "c2pa.edited",
        "softwareAgent": _SOFTWARE,
        "digitalSourceType": SOURCE_TYPE,
        "description": NOTICE,
        "changes": [{"description": "reconstructed", "region": [_region(r.box_px)]} for r in made.regions],
        "parameters": {"com.facemend.model": made.model, "com.facemend.model_sha256": made.model_sha256},
    }
    return {
        "claim_generator_info": [_SOFTWARE],
        "title": title,
        "format": _media_type(kind),
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": "com.facemend.provenance", "data": {"notice": NOTICE} | asdict(made)},
        ],
    }


def _region(box_px: tuple[int, int, int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box_px)
    shape = {
        "type": "rectangle",
        "unit": "pixel",
        "origin": {"x": x1, "y": y1},
        "width": x2 - x1,
        "height": y2 - y1,
        "inside": True,
    }
    return {"type": "spatial", "shape": shape}


def _media_type(kind: Format) -> str:
    return f"image/{kind.value.lower()}"
