"""What a picture file says about its making: XMP packets and the note that facemend writes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from facemend.files import open_named
from facemend.io.formats import DAMAGED, START_LENGTH, format_of, open_photo
from facemend.io.limits import MOST_BYTES as MOST_PHOTO_BYTES

MOST_BYTES = 1 << 20
"""Of a packet. Cameras write some kB; editors that note every step of a picture's life some hundred."""
_NAMESPACE, _MOST_URI_BYTES = b"xmlns", 256
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES = {
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "urn:facemend:1.0#": "facemend",
}
_PARENTS = [f"{_RDF} RDF", f"{_RDF} Description"]
"""Of a property."""
CREATOR_TOOL = "http://ns.adobe.com/xap/1.0/ CreatorTool"
DIGITAL_SOURCE_TYPE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType"
RECORD = "urn:facemend:1.0# Provenance"
"""Properties, by their namespace and name."""

LAYER_SPACES = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"http://ns.google.com/photos/1.0/container/",
    b"http://ns.google.com/photos/1.0/camera/",
    b"http://ns.google.com/photos/1.0/depthmap/",
    b"http://ns.google.com/photos/1.0/image/",
    b"http://ns.google.com/photos/dd/1.0/device/",
    b"http://ns.apple.com/HDRGainMap/1.0/",
)
"""Namespaces that tell of layers beside the primary picture: gain maps, motion photos, depth."""
_THUMBNAIL_SPACE = "http://ns.adobe.com/xap/1.0/g/img/"

_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
_EMPTY = f'{_HEAD}<rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'.encode()
_SPACE = b" \t\r\n"
_PACKET_END = b"<?xpacket end"
_SHELLS, _MOST_SHELL_BYTES = {"xmpmeta", "xapmeta", "RDF"}, 1 << 14


class XmpError(ValueError):
    """A packet that cannot be read: no XML in UTF-8, with a DTD, without RDF, or too large."""


def packet_of(data: bytes) -> bytes | None:
    """A packet in UTF-8 of what a file holds: it may be UTF-16 or UTF-32. None if it says nothing.

    Adobe, "XMP Specification Part 1", 2012, 7.1; W3C, "Extensible Markup Language (XML) 1.0", appendix F.
    """
    for order in ("utf-32-be", "utf-32-le", "utf-16-be", "utf-16-le"):
        if data.startswith(("\ufeff".encode(order), "<".encode(order))):
            with suppress(UnicodeDecodeError):
                data = data.decode(order).encode()
            break
    data = data.lstrip(_SPACE + b"\0")
    return data if data and not _is_shell(data.rstrip(b"\0")) else None


def _is_shell(packet: bytes) -> bool:
    """Whether a packet holds the elements around XMP's descriptions, and not one description."""
    if len(packet) > _MOST_SHELL_BYTES or b"<!DOCTYPE" in packet:
        return False
    names: set[str] = set()
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = lambda name, _: names.add(name.rpartition(":")[2])
    with suppress(expat.ExpatError):
        parser.Parse(packet, True)
        return names <= _SHELLS
    return False


def holds_pictures(packet: bytes) -> bool:
    """Whether a packet, or a part of one, holds pictures of its own."""
    return _THUMBNAIL_SPACE.encode() in packet or any(space in packet for space in LAYER_SPACES)


def without_thumbnails(packet: bytes) -> bytes:
    """A packet without the properties that hold thumbnails.

    Raises:
        XmpError: there are some, and the packet cannot be read.
    """
    if _THUMBNAIL_SPACE.encode() not in packet:
        return packet
    pieces, at = [], 0
    for start, end in _scan(packet.rstrip(b"\0")).thumbnails:
        pieces.append(packet[at:start])
        at = end
    return b"".join(pieces) + packet[at:]


def with_properties(packet: bytes | None, properties: Mapping[str, str]) -> bytes:
    """A packet with these properties in place of its own of the same names. None starts a new one.

    A `CreatorTool` that is there stays: it names the first program of a photo's life.

    Raises:
        XmpError: the packet cannot be read.
    """
    packet = (packet or b"").rstrip(b"\0") or _EMPTY
    found = _scan(packet)
    ours = {
        name: value
        for name, value in properties.items()
        if name != CREATOR_TOOL or name not in found.values
    }
    pieces, at = [], 0
    for name, start, end in sorted(found.places, key=lambda place: place[1]):
        if name in ours:
            pieces.append(packet[at:start])
            at = end
    pieces += [packet[at : found.rdf_end], _description(found.about, ours), packet[found.rdf_end :]]
    return _without_padding(b"".join(pieces))


def read_property(packet: bytes, name: str) -> str | None:
    """The text of a property. None where there is none.

    Raises:
        XmpError: the packet cannot be read.
    """
    return _scan(packet.rstrip(b"\0")).values.get(name)


def _scan(packet: bytes) -> "_Scan":
    if len(packet) > MOST_BYTES:
        raise XmpError(f"it takes more than {MOST_BYTES >> 20} MiB")
    # The parser goes on after an error of ours, so both are refused before.
    if b"<!DOCTYPE" in packet:
        raise XmpError("it has a DTD, which no XMP needs")
    _refuse_long_namespaces(packet)
    return _Scan(packet)


def _refuse_long_namespaces(packet: bytes) -> None:
    """The parser copies a namespace for each name that is in it: 1 MiB of names would become 36 GB."""
    at = packet.find(_NAMESPACE)
    while at >= 0:
        behind = at + len(_NAMESPACE)
        near = packet[behind : behind + _MOST_URI_BYTES]
        starts = [start for quote in (b'"', b"'") if (start := near.find(quote)) >= 0]
        name = near[: min(starts, default=len(near))]
        declares = packet[at - 1] in _SPACE and (not starts or name.rstrip(_SPACE).endswith(b"="))
        if declares and name[:1] in (b":", b"=", *(bytes((space,)) for space in _SPACE)):
            start = behind + len(name)
            end = packet.find(packet[start : start + 1], start + 1, start + 2 + _MOST_URI_BYTES)
            if not starts or end < 0:
                raise XmpError(f"it has a namespace of more than {_MOST_URI_BYTES} letters")
        at = packet.find(_NAMESPACE, behind)


def _without_padding(packet: bytes) -> bytes:
    """A packet without the spaces that others leave before its end, for changes in place."""
    head, end, rest = packet.rpartition(_PACKET_END)
    bare = head.rstrip(_SPACE)
    return packet if len(head) - len(bare) < 2 else bare + b"\n" + end + rest


def _description(about: str, properties: Mapping[str, str]) -> bytes:
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for uri, prefix in _PREFIXES.items())
    lines = []
    for name, value in properties.items():
        uri, local = name.split(" ")
        lines.append(f"<{_PREFIXES[uri]}:{local}>{escape(value)}</{_PREFIXES[uri]}:{local}>\n")
    head = f'<rdf:Description xmlns:rdf="{_RDF}" rdf:about={quoteattr(about)}{spaces}>\n'
    return (head + "".join(lines) + "</rdf:Description>\n").encode()


@dataclass
class _Scan:
    """Finds our properties in a packet, and where each of them lies.

    Attributes:
        about: what the packet's descriptions say that they describe. Ours has to say the same.
        rdf_end: the byte where the end of `rdf:RDF` begins.
        values: names and texts.
        places: names, and the first byte and the first one behind.
        thumbnails: the same of properties that hold pictures.
    """

    packet: bytes
    about: str = ""
    rdf_end: int = -1
    values: dict[str, str] = field(default_factory=dict)
    places: list[tuple[str, int, int]] = field(default_factory=list)
    thumbnails: list[tuple[int, int]] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _open: int = 0
    """How deep the property lies that is open. 0 if none is."""
    _shows: bool = False
    """Whether it holds a picture."""

    def __post_init__(self) -> None:
        self._parser = expat.ParserCreate("UTF-8", " ")
        self._parser.buffer_text = True
        self._parser.namespace_prefixes = True  # names come as URI, local name and prefix
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._text
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(self.packet, True)
        except expat.ExpatError as error:
            raise XmpError(f"it is no XML: {error}") from error
        except IndexError as error:
            raise XmpError("it is no XML in UTF-8") from error
        if self.rdf_end < 0:
            raise XmpError("it holds no RDF")

    def _start(self, written: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        name = _without_prefix(written)
        if self._in_rdf() and name == f"{_RDF} Description":
            self._take_attributes(attributes, start)
        self._path.append(name)
        self._starts.append(start)
        if not self._open and self._path[-3:-1] == _PARENTS:
            self._open, self._shows = len(self._path), False
        self._shows |= any(key.startswith(_THUMBNAIL_SPACE) for key in (name, *attributes))
        if self._is_property():
            said = {_without_prefix(key): value for key, value in attributes.items()}
            self._texts[name] = [said.get(f"{_RDF} resource", "")]

    def _take_attributes(self, attributes: dict[str, str], start: int) -> None:
        """Properties that a description says as attributes, and what it describes."""
        ours: dict[bytes, str] = {}
        for written, value in attributes.items():
            name = _without_prefix(written)
            if name == f"{_RDF} about":
                self.about = value
            if name in _NAMES:
                _, local, prefix = written.split(" ")
                ours[f"{prefix}:{local}".encode()] = name
                self.values[name] = value
        if ours:
            for said, first, behind in _attributes(self.packet, start):
                if said in ours:
                    self.places.append((ours[said], first, behind))

    def _text(self, text: str) -> None:
        if self._is_property():
            self._texts[self._path[-1]].append(text)

    def _end(self, _: str) -> None:
        name, start = self._path[-1], self._starts.pop()
        if self._is_property():
            self.values[name] = "".join(self._texts[name])
            self.places.append((name, start, self._end_of_element(start)))
        if len(self._path) == self._open:
            if self._shows:
                self.thumbnails.append((start, self._end_of_element(start)))
            self._open = 0
        self._path.pop()
        if name == f"{_RDF} RDF" and not self._is_empty(start):
            self.rdf_end = self._parser.CurrentByteIndex

    def _in_rdf(self) -> bool:
        return self._path[-1:] == [f"{_RDF} RDF"]

    def _is_property(self) -> bool:
        return self._path[-3:-1] == _PARENTS and self._path[-1] in _NAMES

    def _is_empty(self, start: int) -> bool:
        return self.packet[_end_of_tag(self.packet, start) - 2] == ord("/")

    def _end_of_element(self, start: int) -> int:
        if self._is_empty(start):
            return _end_of_tag(self.packet, start)
        return self.packet.index(b">", self._parser.CurrentByteIndex) + 1


def _without_prefix(name: str) -> str:
    """A name as our properties are called, URI and local name, of one with its prefix behind."""
    uri, space, rest = name.partition(" ")
    return uri + space + rest.partition(" ")[0]


def _attributes(packet: bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """The attributes of a tag that XML's parser has taken: the name as it is written, the first byte of
    the space before it, and the first byte behind it."""
    at = _skip(packet, start + 1, _SPACE + b"/>", until=True)
    while True:
        first = at
        name = _skip(packet, at, _SPACE)
        if packet[name] in b"/>":
            return
        behind = _skip(packet, name, _SPACE + b"=", until=True)
        quote = _skip(packet, behind, _SPACE + b"=")
        at = packet.index(packet[quote], quote + 1) + 1
        yield packet[name:behind], first, at


def _end_of_tag(packet: bytes, start: int) -> int:
    """The first byte behind a tag."""
    behind = start + 1
    for _, _, end in _attributes(packet, start):
        behind = end
    return packet.index(b">", behind) + 1


def _skip(packet: bytes, at: int, these: bytes, *, until: bool = False) -> int:
    """The first place from `at` on whose byte is none of these, or, with `until`, is one of them."""
    while (packet[at] in these) != until:
        at += 1
    return at


_NAMES = {CREATOR_TOOL, DIGITAL_SOURCE_TYPE, RECORD}


PNG_KEY = "facemend"


@dataclass(frozen=True)
class Note:
    """A statement on how a photo was made.

    Attributes:
        software: name and version, for XMP's `CreatorTool`, where no other program is named.
        comment: a sentence for people.
        record: JSON for facemend.
        source_type: a term of IPTC's digital source types, as a URI. None says nothing about it.
    """

    software: str
    comment: str
    record: str
    source_type: str | None

    def properties(self) -> dict[str, str]:
        """Names and values for XMP."""
        said = {CREATOR_TOOL: self.software, RECORD: self.record}
        return said if self.source_type is None else said | {DIGITAL_SOURCE_TYPE: self.source_type}

    def texts(self) -> dict[str, str]:
        """Keys and values for PNG's text chunks."""
        return {"Software": self.software, "Comment": self.comment, PNG_KEY: self.record}


def read_record(path: Path) -> str | None:
    """The record of the note in a photo file. None for a photo without one (or with damaged metadata),
    for a file that is no photo, and for no file at all."""
    try:
        # The metadata alone is read, however large the photo.
        if path.stat().st_size > MOST_PHOTO_BYTES:
            return None
        with open_named(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            kind = format_of(data[:START_LENGTH])
            info = open_photo(data, kind, head=True).info if kind else {}
    except (*DAMAGED, ImportError):
        return None
    if isinstance(packet := info.get("xmp"), bytes):
        try:
            if record := read_property(packet, RECORD):
                return record
        except XmpError:
            pass
    text = info.get(PNG_KEY)
    return text if isinstance(text, str) else None
