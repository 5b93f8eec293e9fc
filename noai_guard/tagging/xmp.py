"""XMP packets with `plus:DataMining`, the property of the PLUS Coalition and IPTC (LDF 2.0.1, vocabulary of 2023-10).

A packet of another program is not parsed and written anew: one element is added before its end, or taken out.
"""

import re
from html import escape
from typing import NamedTuple

from noai_guard.tagging.fields import Fields

NAMESPACE = "http://ns.useplus.org/ldf/xmp/1.0/"
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
PROPERTY = "plus:DataMining"
_TOOLKIT = b'x:xmptk="noai-guard"'
_RDF = b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
_OPENING = f'<rdf:Description rdf:about="" xmlns:plus="{NAMESPACE}" plus:DataMining="{VOCABULARY}'
_OURS = re.compile(re.escape(_OPENING).encode() + rb'DMI-[A-Z-]+"/>')
_VALUE = re.compile(re.escape(VOCABULARY).encode() + rb"(DMI-[A-Z-]+)")


class Packet(NamedTuple):
    """A packet as it is to be (None for none), what of it is somebody else's, and a note; each may be empty."""

    packet: bytes | None
    foreign: bytes
    note: str = ""


def is_ours(packet: bytes) -> bool:
    """Return True if the whole packet was written by us."""
    return _TOOLKIT in packet[:1000]


def mining(packet: bytes) -> str:
    """Return the value of plus:DataMining, such as `DMI-PROHIBITED`; empty if there is none that can be told."""
    values = set(_VALUE.findall(packet)) if b"DataMining" in packet else set()
    return values.pop().decode("ascii") if len(values) == 1 else ""


def merge(packet: bytes | None, fields: Fields) -> Packet:
    """Return a packet with the fields, from the one that a file has."""
    if packet is None or is_ours(packet):
        return Packet(_own(fields) if fields.mining else None, b"")
    foreign = _OURS.sub(b"", packet)
    if not fields.mining:
        return Packet(foreign, foreign)
    if b"DataMining" in foreign:
        return Packet(packet, foreign, "its XMP has a plus:DataMining of its own, which stays")
    if foreign.count(b"</rdf:RDF>") != 1 or _RDF not in foreign:
        return Packet(packet, foreign, "its XMP cannot be added to, so plus:DataMining is missing")
    element = f'{_OPENING}{fields.mining}"/>'.encode()
    return Packet(foreign.replace(b"</rdf:RDF>", element + b"</rdf:RDF>"), foreign)


def _own(fields: Fields) -> bytes:
    statement = f' xmpRights:WebStatement="{escape(fields.page)}"' if fields.page else ""
    owner = f"<xmpRights:Owner><rdf:Bag><rdf:li>{escape(fields.owner)}</rdf:li></rdf:Bag></xmpRights:Owner>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" {_TOOLKIT.decode()}><rdf:RDF {_RDF.decode()}>'
        f'<rdf:Description rdf:about="" xmlns:plus="{NAMESPACE}" '
        'xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" '
        f'plus:DataMining="{VOCABULARY}{fields.mining}" xmpRights:Marked="True"{statement}>'
        f"{owner if fields.owner else ''}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()
