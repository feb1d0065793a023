"""XMP packets: our properties put in, and every byte of the others kept.

A packet is RDF in XML (ISO 16684-1): `rdf:Description` elements hold the properties, as attributes or as
elements, each of them once. It is never written anew: ours go into a description of their own before the
end of `rdf:RDF`, and what stood there of the same name is cut out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES = {
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "urn:facemend:1.0#": "facemend",
}
CREATOR_TOOL = "http://ns.adobe.com/xap/1.0/ CreatorTool"
DIGITAL_SOURCE_TYPE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType"
RECORD = "urn:facemend:1.0# Provenance"
"""Properties, by their namespace and name."""

_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
_EMPTY = f'{_HEAD}<rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'.encode()
_START_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_PADDING = re.compile(rb"\s{2,}(?=<\?xpacket end)")


class XmpError(ValueError):
    """A packet that cannot be read: no XML in UTF-8, with a DTD, or without RDF."""


def with_properties(packet: bytes | None, properties: Mapping[str, str]) -> bytes:
    """A packet with these properties in place of its own of the same names; None starts a new one.

    A `CreatorTool` that is there stays: it names the first program of a photo's life.

    Raises:
        XmpError: the packet cannot be read.
    """
    packet = (packet or b"").rstrip(b"\0") or _EMPTY
    found = _Scan(packet)
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
    return _PADDING.sub(b"\n", b"".join(pieces))


def read_property(packet: bytes, name: str) -> str | None:
    """The text of a property; None where there is none.

    Raises:
        XmpError: the packet cannot be read.
    """
    return _Scan(packet.rstrip(b"\0")).values.get(name)


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
        about: what the packet's descriptions say that they describe; ours has to say the same.
        rdf_end: the byte where the end of `rdf:RDF` begins.
        values: names and texts.
        places: names, and the first byte and the first one behind.
    """

    packet: bytes
    about: str = ""
    rdf_end: int = -1
    values: dict[str, str] = field(default_factory=dict)
    places: list[tuple[str, int, int]] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _prefixes: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parser = expat.ParserCreate("UTF-8", " ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = _refuse_dtd
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._text
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(self.packet, True)
        except expat.ExpatError as error:
            raise XmpError(f"it is no XML: {error}") from error
        if self.rdf_end < 0:
            raise XmpError("it holds no RDF")

    def _declare(self, prefix: str | None, uri: str) -> None:
        self._prefixes.setdefault(uri, set()).add(prefix or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        if self._in_rdf() and name == f"{_RDF} Description":
            self.about = attributes.get(f"{_RDF} about", self.about)
            for attribute in attributes.keys() & _NAMES:
                self.values[attribute] = attributes[attribute]
                self.places.append((attribute, *self._place_of_attribute(attribute, start)))
        self._path.append(name)
        self._starts.append(start)
        if self._is_property():
            self.values[name] = attributes.get(f"{_RDF} resource", "")

    def _text(self, text: str) -> None:
        if self._is_property():
            self.values[self._path[-1]] += text

    def _end(self, name: str) -> None:
        start = self._starts.pop()
        if self._is_property():
            self.places.append((name, start, self._end_of_element(start)))
        self._path.pop()
        if name == f"{_RDF} RDF" and not self._is_empty(start):
            self.rdf_end = self._parser.CurrentByteIndex

    def _in_rdf(self) -> bool:
        return self._path[-1:] == [f"{_RDF} RDF"]

    def _is_property(self) -> bool:
        parents = [f"{_RDF} RDF", f"{_RDF} Description"]
        return self._path[-3:-1] == parents and self._path[-1] in _NAMES

    def _start_tag(self, start: int) -> bytes:
        tag = _START_TAG.match(self.packet, start)
        if tag is None:
            raise XmpError("it has a tag that does not end")
        return tag[0]

    def _is_empty(self, start: int) -> bool:
        return self._start_tag(start).endswith(b"/>")

    def _end_of_element(self, start: int) -> int:
        if self._is_empty(start):
            return start + len(self._start_tag(start))
        return self.packet.index(b">", self._parser.CurrentByteIndex) + 1

    def _place_of_attribute(self, name: str, start: int) -> tuple[int, int]:
        uri, local = name.split(" ")
        written = {f"{prefix}:{local}".encode() for prefix in self._prefixes[uri]}
        for attribute in _ATTRIBUTE.finditer(self._start_tag(start)):
            if attribute[1] in written:
                return start + attribute.start(), start + attribute.end()
        raise XmpError(f"{local} is not where it should be")


_NAMES = {CREATOR_TOOL, DIGITAL_SOURCE_TYPE, RECORD}


def _refuse_dtd(*_: object) -> None:
    raise XmpError("it has a DTD, which no XMP needs")
