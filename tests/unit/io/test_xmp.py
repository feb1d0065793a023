import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from types import FrameType
from typing import Any, SupportsIndex

import pytest

from facemend.io.xmp import (
    CREATOR_TOOL,
    DIGITAL_SOURCE_TYPE,
    RECORD,
    XmpError,
    read_property,
    with_properties,
)

OURS = {CREATOR_TOOL: "facemend 1", DIGITAL_SOURCE_TYPE: "http://x/y", RECORD: '{"a": "<&\'>"}'}
_SPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:fm="urn:facemend:1.0#"'
)


def packet(descriptions: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {_SPACES}>{descriptions}</rdf:RDF></x:xmpmeta>'
        f'{" " * 2000}<?xpacket end="w"?>'
    ).encode()


def properties(data: bytes) -> list[tuple[str, str]]:
    """Every property of a packet, by an independent reader; each must be there once."""
    root = ElementTree.fromstring(data.decode().lstrip("\ufeff"))
    found = []
    for description in root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"):
        found += [
            (name, value) for name, value in description.attrib.items() if not name.endswith("}about")
        ]
        found += [(child.tag, child.text or "") for child in description]
    assert len({name for name, _ in found}) == len(found)
    return sorted(found)


def test_a_new_packet_holds_what_is_said() -> None:
    made = with_properties(None, OURS)
    assert {name: read_property(made, name) for name in OURS} == OURS
    assert made.startswith(b"<?xpacket begin=")
    assert made.endswith(b'<?xpacket end="w"?>')
    assert len(properties(made)) == 3


def test_every_byte_of_the_others_stays() -> None:
    theirs = '<rdf:Description dc:format="a&#10;b"><!-- c --><dc:title>ö</dc:title></rdf:Description>'
    made = with_properties(packet(theirs), OURS)
    assert theirs.encode() in made
    assert len(properties(made)) == 5


@pytest.mark.parametrize(
    "old",
    [
        '<rdf:Description rdf:about="" ext:DigitalSourceType="old" dc:format="a"/>',
        "<rdf:Description ext:DigitalSourceType = 'old' dc:format=\" ext:DigitalSourceType='no' \"/>",
        "<rdf:Description><ext:DigitalSourceType>old</ext:DigitalSourceType><dc:format>a</dc:format></rdf:Description>",
        '<rdf:Description dc:format="a"><ext:DigitalSourceType rdf:resource="old"/></rdf:Description>',
        '<rdf:Description dc:format="a"><fm:Provenance>old</fm:Provenance></rdf:Description>',
    ],
)
def test_what_was_said_before_is_replaced(old: str) -> None:
    made = with_properties(packet(old), OURS)
    assert {name: read_property(made, name) for name in OURS} == OURS
    assert b"old" not in made
    assert len(properties(made)) == 4


def test_the_first_program_keeps_its_name() -> None:
    old = packet('<rdf:Description rdf:about="" xmp:CreatorTool="Camera 3"/>')
    assert read_property(with_properties(old, OURS), CREATOR_TOOL) == "Camera 3"


def test_saying_it_twice_is_saying_it_once() -> None:
    once = with_properties(packet("<rdf:Description/>"), OURS)
    assert properties(with_properties(once, OURS)) == properties(once)


def test_what_is_not_said_anew_stays() -> None:
    old = packet('<rdf:Description ext:DigitalSourceType="old"/>')
    assert read_property(with_properties(old, {RECORD: "{}"}), DIGITAL_SOURCE_TYPE) == "old"


def test_all_descriptions_are_about_the_same() -> None:
    made = with_properties(packet('<rdf:Description rdf:about="uuid:&lt;1&gt;" dc:format="a"/>'), OURS)
    assert made.count(b'rdf:about="uuid:&lt;1&gt;"') == 2


def test_a_property_inside_of_another_is_none_of_ours() -> None:
    inside = "<rdf:Description><ext:DigitalSourceType>theirs</ext:DigitalSourceType></rdf:Description>"
    old = packet(f"<rdf:Description><dc:source>{inside}</dc:source></rdf:Description>")
    assert read_property(old, DIGITAL_SOURCE_TYPE) is None
    assert inside.encode() in with_properties(old, OURS)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"no xml", "is no XML"),
        (packet("<rdf:Description>"), "is no XML"),
        (packet("").decode().encode("utf-16"), "is no XML"),
        (b"<a/>", "holds no RDF"),
        (b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>', "holds no RDF"),
        (b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>', "has a DTD"),
        (b'<!DOCTYPE a SYSTEM "file:///secret"><a/>', "has a DTD"),
    ],
)
def test_what_cannot_be_read_is_refused(bad: bytes, reason: str) -> None:
    with pytest.raises(XmpError, match=reason):
        with_properties(bad, OURS)
    with pytest.raises(XmpError, match=reason):
        read_property(bad, RECORD)


def test_a_packet_may_be_nested_without_end() -> None:
    deep = packet(
        "<rdf:Description><dc:a>" + "<dc:b>" * 50_000 + "</dc:b>" * 50_000 + "</dc:a></rdf:Description>"
    )
    assert read_property(with_properties(deep, OURS), RECORD) == OURS[RECORD]


class _Counted(bytes):
    """Bytes that count how many of them are looked at by what is done in C."""

    looked = 0

    def index(self, *where: Any) -> int:
        found = super().index(*where)
        _Counted.looked += found - where[1]
        return found

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        _Counted.looked += len(found) if isinstance(found, bytes) else 0
        return found


def steps(work: Callable[[bytes], object], data: bytes) -> int:
    """Lines of facemend that run, and bytes that C looks at."""
    lines = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith("io/xmp.py"):
            return None
        lines += event == "line"
        return count

    _Counted.looked = 0
    sys.settrace(count)
    try:
        work(_Counted(data))
    except XmpError:
        pass
    finally:
        sys.settrace(None)
    return lines + _Counted.looked


def spaces_in_attributes(count: int) -> bytes:
    return packet(f'<rdf:Description xmp:CreatorTool="{" a=" * count}" {" " * count}/>')


def prefixes_of_one_name(count: int) -> bytes:
    one = '<rdf:Description xmlns:p{0}="http://ns.adobe.com/xap/1.0/" p{0}:CreatorTool="x"/>'
    return packet("".join(one.format(number) for number in range(count)))


def pieces_of_text(count: int) -> bytes:
    return packet(f"<rdf:Description><fm:Provenance>{'&#60;a' * count}</fm:Provenance></rdf:Description>")


def nested(count: int) -> bytes:
    return packet("<rdf:Description><rdf:RDF>" * count + "</rdf:RDF></rdf:Description>" * count)


@pytest.mark.parametrize(
    "make",
    [
        lambda count: packet(" " * 50 * count),
        lambda count: packet(" " * 50 * count).replace(b"<?xpacket end", b"<?xpacket fin"),
        spaces_in_attributes,
        prefixes_of_one_name,
        pieces_of_text,
        nested,
        lambda count: packet("<rdf:Description>" + "<fm:Provenance/>" * count + "</rdf:Description>"),
        lambda count: packet("<rdf:Description" + "".join(f' dc:a{n}="x"' for n in range(count)) + "/>"),
    ],
)
def test_twice_the_packet_is_twice_the_work(make: Callable[[int], bytes]) -> None:
    def work(data: bytes) -> None:
        with_properties(data, OURS)
        read_property(data, RECORD)

    once, twice = (steps(work, make(count)) for count in (400, 800))
    assert once > 100
    assert twice / once < 2.5


def test_no_expression_is_searched_for_in_packets() -> None:
    # What `re` looks at cannot be counted: metadata.py does without, and a packet of padding takes no time.
    assert "re" not in vars(sys.modules["facemend.io.xmp"])
    padded = packet("<rdf:Description/>" + " " * 500_000).replace(b"<?xpacket end", b"<?xpacket fin")
    assert b" " * 500_000 in with_properties(padded, OURS)


@pytest.mark.parametrize(
    "long",
    [
        packet(f'<rdf:Description xmlns:a="{"u" * 100_000}">{"<a:b/>" * 1000}</rdf:Description>'),
        packet(f"<rdf:Description a:b='' xmlns:a = '{'u' * 300}'/>"),
        packet(f'<rdf:Description xmlns:a{" " * 300}="u"/>'),
        packet(f'<rdf:Description xmlns\n:a="{"u" * 300}"/>'),
    ],
)
def test_a_long_namespace_is_refused_before_it_is_repeated(
    long: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The parser copies it for each name, also after an error of ours: 1 MiB of names would become 36 GB.
    monkeypatch.setattr("facemend.io.xmp._Scan", None)
    for read in (lambda: read_property(long, RECORD), lambda: with_properties(long, OURS)):
        with pytest.raises(XmpError, match="namespace of more than 256"):
            read()


def test_namespaces_and_words_about_them_are_read() -> None:
    said = packet(
        "<rdf:Description dc:a='\"xmlns\"' xmlns:dc='u'><dc:b>xmlns 'is' </dc:b></rdf:Description>"
    )
    assert with_properties(said, OURS)


def test_a_packet_larger_than_any_is_refused() -> None:
    with pytest.raises(XmpError, match="more than 1 MiB"):
        with_properties(packet(" " * (1 << 20)), OURS)
