"""What a picture says about its making: the provenance in its metadata, and a signed C2PA manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from facemend import __version__
from facemend.errors import ModelError, OutputError, PictureError, UsageError, reason_of
from facemend.files import open_named, parse_json, read_named, sha256_of_parts
from facemend.io import START_LENGTH, Format, Note, Photo, encode_photo, format_of, read_record
from facemend.onnx_model import read_texts, sha256_of_model
from facemend.reconstruction.model import METADATA_KEY, ModelDescription

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photo with parts that a trained model made."""
NOTICE = (
    "Parts of this picture were made up by a neural network. They are a guess, not evidence of "
    "anybody's identity."
)
MASK_NOTICE = "A mask of what hides the faces of a photo, found by a neural network. It may be wrong."
_MOST_PX = 1 << 31
OF_A_MASK: Mapping[str, str] = {"output": "mask"}
"""The option of a picture that shows an occlusion, and not a photo."""


@dataclass(frozen=True)
class Region:
    """A part of a picture that was reconstructed.

    Attributes:
        box_px: x1, y1, x2, y2, the pixels that differ from the input lie inside; x2 and y2 exclusive.
        coverage: share of the picture that they take, 0-1.
    """

    box_px: tuple[int, int, int, int]
    coverage: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box as x, y, width and height."""
        x1, y1, x2, y2 = self.box_px
        return x1, y1, x2 - x1, y2 - y1


@dataclass(frozen=True)
class Provenance:
    """How a picture was made.

    Attributes:
        model, model_sha256: the name and the file.
        input_sha256: of the input file, hexadecimal. None where the input was not a file.
        options: what else decides about the result.
        regions: what was reconstructed. Empty if nothing was.
        software: name and version.
    """

    model: str
    model_sha256: str
    input_sha256: str | None
    options: Mapping[str, str]
    regions: tuple[Region, ...] = ()
    software: str = f"facemend {__version__}"

    @property
    def notice(self) -> str:
        """What people have to know about the picture."""
        return MASK_NOTICE if self.options.items() >= OF_A_MASK.items() else NOTICE

    def same_work(self, other: "Provenance") -> bool:
        """Whether both come from the same input file, model and options."""
        return (
            self.input_sha256 is not None
            and self.input_sha256 == other.input_sha256
            and self.same_making(other)
        )

    def same_making(self, other: "Provenance") -> bool:
        """Whether both come from the same model and options."""
        return (self.model_sha256, self.options) == (other.model_sha256, other.options)

    def to_note(self) -> Note:
        """What a photo file says. It names no trained model where nothing was reconstructed."""
        record = json.dumps({"notice": self.notice} | asdict(self))
        return Note(self.software, self.notice, record, SOURCE_TYPE if self.regions else None)

    def to_text(self) -> dict[str, str]:
        """Keys and values for a PNG's text chunks, where the PNG is not a photo."""
        return self.to_note().texts()


def read_provenance(path: Path | str) -> Provenance | None:
    """What a picture of any format says about how it was made. None for a picture without a provenance or
    with a damaged one, for another kind of file, or for none."""
    record = read_record(Path(path))
    return None if record is None else provenance_of(record)


def provenance_of(record: str) -> Provenance | None:
    """The provenance that a record of `Provenance.to_note` holds. None if it is damaged."""
    try:
        fields = parse_json(record)
        del fields["notice"]
        regions = tuple(_region_of(r["box_px"], r["coverage"]) for r in fields.pop("regions"))
        made = Provenance(**fields, regions=regions)
        _check_texts(made)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return made


def _region_of(box_px: list[int], coverage: float) -> Region:
    """Raises TypeError or ValueError: these are no region."""
    x1, y1, x2, y2 = box_px
    if not all(isinstance(value, int) and 0 <= value <= _MOST_PX for value in box_px):
        raise TypeError("a box is four whole numbers of a picture")
    if not isinstance(coverage, int | float) or not 0 <= coverage <= 1:
        raise TypeError("a coverage is a number from 0 to 1")
    return Region((x1, y1, x2, y2), coverage)


def _check_texts(made: Provenance) -> None:
    texts = [made.model, made.model_sha256, made.software, *made.options.items()]
    texts = [part for text in texts for part in ([text] if isinstance(text, str) else text)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(made.input_sha256, str | None):
        raise TypeError("a provenance is made of texts")


def describe_file(path: Path) -> dict[str, Any]:
    """The facts about a model file or a photo that facemend wrote, ready for JSON.

    They are what the file says. Nothing in it is run.

    Raises:
        PictureError: a photo that facemend did not write, or a file that cannot be read.
        ModelError: a damaged model, or neither a model nor a photo.
    """
    try:
        with open_named(path) as file:
            start = file.read(START_LENGTH)
    except FileNotFoundError as error:
        raise PictureError(f"{path} does not exist") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror or error}") from error
    if format_of(start):
        return _describe_picture(path)
    try:
        return _describe_model(path)
    except ModelError as error:
        if path.suffix == ".onnx":
            raise
        raise ModelError(f"{path} is neither a facemend model nor a photo that facemend wrote") from error


def _describe_picture(path: Path) -> dict[str, Any]:
    made = read_provenance(path)
    if made is None:
        raise PictureError(
            f"{path} says nothing about its making: facemend did not write it, or its metadata was removed"
        )
    return {
        "picture": str(path),
        "notice": made.notice,
        "software": made.software,
        "model": made.model,
        "model_sha256": made.model_sha256,
        "input_sha256": made.input_sha256,
        "options": dict(made.options),
        "regions": [{"box_px": list(r.box), "coverage": r.coverage} for r in made.regions],
    }


def _describe_model(path: Path) -> dict[str, Any]:
    """What the file says. The network in it is neither loaded nor checked."""
    texts = read_texts(path)
    if METADATA_KEY not in texts:
        raise ModelError(f"{path} is not a facemend model; make one with facemend export")
    described = ModelDescription.from_json(texts[METADATA_KEY])
    people = described.training_people
    return {
        "model": str(path),
        "name": described.name,
        "sha256": sha256_of_model(path),
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "size_px": described.size_px,
        "finds_occlusion": described.finds_occlusion,
        "takes_hint": described.takes_hint,
        "says_interval": described.says_interval,
        "images_seen": described.images_seen,
        "hours": described.hours,
        "data": described.data,
        "training_people": None if people is None else len(people),
        "commit": described.commit,
        "metrics": dict(described.metrics),
        "config": dict(described.config),
        "format": described.format,
    }


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
