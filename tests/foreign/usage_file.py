"""One usage file (`.usg`): verified without a key, opened with one. Written from keys/FORMAT.md, section 6, and from
nothing else; see `usage_reader.py`."""

import datetime
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from usage_keys import SUITE, crc32c, key_fault, open_base, sha256, signed_by, u32

FILE_MAX = 17 * 1024 * 1024
MAGIC = b"I3USG\0\x01\0"
RECIPIENTS_AT, RECIPIENT = 168, 96
BODY_MIN, BODY_MAX, FRAME, SIGNED_BODY = 17, 65_519, 13, 80
EVENTS, CHECKPOINT, CLOSE = 1, 2, 3
ITEMS_MAX, USERS_MAX, KEYS_MAX, SETS_MAX, SET_KEYS_MAX = 256, 1_048_576, 16_384, 65_536, 4_096
ROLES = ("none", "primary", "switchover")
BEGINNINGS = (None, "first", "midnight", "restart", "size", "abandoned", "changed")
KINDS = {0x10: "present", 0x11: "logon", 0x12: "logoff", 0x13: "keys-changed", 0x14: "remark"}


class Damage(Exception):
    """A file, or what is sealed in it, is not as it must be: the reason in the document's word, and where."""

    def __init__(self, reason: str, offset: int, record: int | None = None) -> None:
        super().__init__(f"{reason} at byte {offset}" + (f", record {record}" if record else ""))
        self.reason, self.offset, self.record = reason, offset, record


def number(data: bytes, at: int, size: int, signed: bool = False) -> int:
    return int.from_bytes(data[at : at + size], "big", signed=signed)


# --- The header, 6.3


@dataclass(frozen=True)
class Header:
    raw: bytes
    role: str
    began: str
    pseudonyms: bool
    segment: int
    records_before: int
    trusted_ms: int
    wall_ms: int
    public: bytes
    license_id: str
    pseudonym_key: str
    previous_end: bytes
    commitment: bytes
    recipients: dict[bytes, tuple[bytes, bytes]]

    @property
    def installation(self) -> str:
        return sha256(self.public)[:16].hex()

    @property
    def name(self) -> str:
        day = "19700101"
        try:
            began = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=self.trusted_ms)
            day = f"{began.year:04}{began.month:02}{began.day:02}"
        except OverflowError:
            pass  # not in the years 0001 to 9999
        return f"{self.installation}-{self.segment:08}-{day}.usg"


def read_header(data: bytes) -> Header:
    if len(data) > FILE_MAX:
        raise Damage("file-too-large", FILE_MAX)
    if not data or not MAGIC.startswith(data[:8]):
        later = data[:6] == MAGIC[:6]
        raise Damage("later-version" if later else "not-a-usage-file", 6 if later else 0)
    if len(data) >= 16 and data[10:16] != SUITE:
        raise Damage("unknown-suite", 10)
    if data[16:17] not in (b"", b"\x01"):
        raise Damage("later-version", 16)
    if len(data) <= RECIPIENTS_AT:
        raise Damage("header-cut", len(data))
    count = data[RECIPIENTS_AT]
    if not 1 <= count <= 4:
        raise Damage("bad-header", RECIPIENTS_AT)
    signed = RECIPIENTS_AT + 1 + RECIPIENT * count
    if number(data, 8, 2) != signed + 64:
        raise Damage("bad-header", 8)
    if len(data) < signed + 64:
        raise Damage("header-cut", len(data))
    public = data[48:80]
    if fault := key_fault(public):
        raise Damage(fault, 48)
    if not signed_by(public, data[signed : signed + 64], "usage-header", data[:signed]):
        raise Damage("header-signature", signed)

    role, began, names, segment, before = *data[17:20], number(data, 20, 4), number(data, 24, 8)
    previous, key_id = data[104:136], data[96:104]
    if role >= len(ROLES) or not 1 <= began < len(BEGINNINGS) or names > 1 or (names == 0 and any(key_id)):
        raise Damage("bad-header", 17)
    if not 1 <= segment <= 99_999_999 or (segment == 1) != (BEGINNINGS[began] == "first"):
        raise Damage("bad-header", 20)
    if segment == 1 and (before or any(previous)):
        raise Damage("bad-header", 20)
    recipients = {}
    for at in range(RECIPIENTS_AT + 1, signed, RECIPIENT):
        if data[at : at + 16] in recipients:
            raise Damage("bad-header", RECIPIENTS_AT + 1)
        recipients[data[at : at + 16]] = (data[at + 16 : at + 48], data[at + 48 : at + 96])
    digits = data[80:96].hex()
    return Header(
        raw=data[: signed + 64],
        role=ROLES[role],
        began=str(BEGINNINGS[began]),
        pseudonyms=names == 1,
        segment=segment,
        records_before=before,
        trusted_ms=number(data, 32, 8, signed=True),
        wall_ms=number(data, 40, 8, signed=True),
        public=public,
        license_id="-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])),
        pseudonym_key=key_id.hex(),
        previous_end=previous,
        commitment=data[136:168],
        recipients=recipients,
    )


# --- Records and the chain, 6.5


@dataclass
class Segment:
    """A file whose header is sound, and its records up to its end or to the first damage."""

    header: Header
    chain: list[bytes]
    sealed: list[tuple[int, int, bytes]] = field(default_factory=list)  # record, offset, body
    end: str = "open"
    signed_records: int = 0
    damage: Damage | None = None

    @property
    def records(self) -> int:
        return len(self.chain) - 1

    @property
    def head(self) -> str:
        return f"{self.header.segment}/{self.records}/{self.chain[-1].hex()}"


def read_segment(data: bytes) -> Segment:
    """Raises Damage where the header is not sound."""
    header = read_header(data)
    segment = Segment(header, [sha256(header.raw)])
    at = len(header.raw)
    try:
        while at < len(data):
            at = read_record(segment, data, at)
    except Damage as damage:
        segment.end, segment.damage = "damaged", damage
    return segment


def read_record(segment: Segment, data: bytes, at: int) -> int:
    """Takes one record in; where the next one begins."""
    index = segment.records + 1
    if segment.end == "closed":
        raise Damage("after-close", at, index)
    length = number(data, at, 4)
    if len(data) - at < 4 or (length == 0 and not any(data[at:])):
        segment.end = "torn"
        return len(data)
    if not BODY_MIN <= length <= BODY_MAX:
        raise Damage("record-length", at, index)
    body, crc = at + FRAME, at + FRAME + length
    after = crc + 4
    if after > len(data) or crc32c(data[at:crc]) != number(data, crc, 4):
        if after < len(data):
            raise Damage("record-checksum", at, index)
        segment.end = "torn"
        return len(data)
    kind = data[at + 12]
    if number(data, at + 4, 8) != index:
        raise Damage("record-index", at, index)
    if kind not in (EVENTS, CHECKPOINT, CLOSE):
        raise Damage("record-type", at, index)
    if kind == EVENTS:
        segment.sealed.append((index, at, data[body:crc]))
    else:
        if length != SIGNED_BODY:
            raise Damage("record-length", at, index)
        purpose = "usage-checkpoint" if kind == CHECKPOINT else "usage-close"
        public, place = segment.header.public, (u32(segment.header.segment), index.to_bytes(8, "big"))
        if not signed_by(public, data[body + 16 : crc], purpose, public, *place, segment.chain[-1], data[body : body + 16]):
            raise Damage("chain-signature", at, index)
        segment.signed_records = index
        segment.end = "closed" if kind == CLOSE else segment.end
    segment.chain.append(sha256(segment.chain[-1], data[at:after]))
    return after


# --- Opening, 6.4 and 6.7


def content_key(header: Header, key: X25519PrivateKey) -> bytes:
    own = sha256(b"leasehold/usage-key-id/1\n", key.public_key().public_bytes_raw())[:16]
    if own not in header.recipients:
        raise Damage("not-a-recipient", RECIPIENTS_AT)
    enc, wrapped = header.recipients[own]
    try:
        opened = open_base(key, enc, b"leasehold/usage-recipient/1\n" + header.raw[: RECIPIENTS_AT + 1], own, wrapped)
    except (InvalidTag, ValueError):
        raise Damage("wrapped-key", RECIPIENTS_AT) from None
    if sha256(b"leasehold/usage-content-key/1\n", opened) != header.commitment:
        raise Damage("key-commitment", 136)
    return opened


def open_items(segment: Segment, key: X25519PrivateKey) -> Iterator[dict]:
    """The items, record by record; raises Damage at the first that does not open or does not read."""
    aead = ChaCha20Poly1305(content_key(segment.header, key))
    reader = Content(segment.header.pseudonyms, segment.header.trusted_ms)
    for index, at, body in segment.sealed:
        place = index.to_bytes(8, "big")
        bound = b"leasehold/usage-record/1\n" + segment.chain[index - 1] + place + bytes([EVENTS]) + u32(len(body))
        try:
            items = reader.record(aead.decrypt(bytes(4) + place, body, bound))
        except InvalidTag:
            raise Damage("record-sealed", at, index) from None
        except (ValueError, IndexError):
            raise Damage("bad-content", at, index) from None
        for item in items:
            yield {"segment": segment.header.segment, "record": index} | item


def is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def is_label(text: str) -> bool:
    """Section 3."""
    barred = "[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
    fits = 1 <= len(text.encode()) <= 256 and text == text.strip()
    return fits and not any(map(is_control, text)) and not re.search(barred, text)


class Content:
    """What the records of a segment have defined so far. Refuses by ValueError or IndexError."""

    def __init__(self, pseudonyms: bool, start_ms: int) -> None:
        self.pseudonyms, self.start_ms, self.reference, self.present_may_come = pseudonyms, start_ms, start_ms, True
        self.users: list[str] = []
        self.keys: list[str] = []
        self.sets: list[list[str]] = []
        self.data, self.at = b"", 0

    def record(self, data: bytes) -> list[dict]:
        self.data, self.at = data, 0
        items = []
        while self.at < len(data):
            item = self.operation()
            if item:
                items.append(item)
        require(data and len(items) <= ITEMS_MAX)
        return items

    def take(self, size: int) -> bytes:
        require(self.at + size <= len(self.data))
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                require(value < 2**64 and (byte or not shift))
                return value
        raise ValueError("a number of more than ten bytes")

    def time(self, reference: int) -> int:
        zigzag = self.varint()
        moved = reference + (zigzag >> 1 ^ -(zigzag & 1))
        return (moved + 2**63) % 2**64 - 2**63

    def text(self) -> str:
        return self.take(self.varint()).decode("utf-8")

    def operation(self) -> dict | None:
        code = self.take(1)[0]
        if code in (0x01, 0x02):
            require(len(self.users) < USERS_MAX and self.pseudonyms == (code == 0x02))
            user = "~" + self.take(16).hex() if code == 0x02 else self.text()
            require(is_label(user))
            self.users.append(user)
        elif code == 0x03:
            key = self.text()
            require(len(self.keys) < KEYS_MAX and re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", key))
            require(not key.endswith("_CONCURRENT"))
            self.keys.append(key)
        elif code == 0x04:
            numbers = [self.varint() for _ in range(bounded(self.varint(), SET_KEYS_MAX))]
            require(len(self.sets) < SETS_MAX and numbers == sorted(set(numbers)))
            self.sets.append(sorted({self.keys[number] for number in numbers}))
        else:
            return self.item(KINDS.get(code))
        return None

    def item(self, kind: str | None) -> dict:
        require(kind)
        at_ms = self.time(self.start_ms if kind == "present" else self.reference)
        item: dict = {"kind": kind, "at_ms": at_ms}
        if kind == "present":
            require(self.present_may_come)
        else:
            self.reference = at_ms
        if kind == "remark":
            item |= {"code": bounded(self.varint(), 2**32 - 1), "text": self.text()}
            require(len(item["text"].encode()) <= 512 and not any(map(is_control, item["text"])))
            return item
        self.present_may_come = kind == "present"
        item |= {"user": self.users[self.varint()], "counter": bounded(self.varint(), 2**32 - 1)}
        item["keys"] = self.sets[self.varint()]
        require(item["counter"] or kind == "logoff")
        return item


def require(holds: object) -> None:
    if not holds:
        raise ValueError("content that the format does not allow")


def bounded(value: int, most: int) -> int:
    require(value <= most)
    return value
