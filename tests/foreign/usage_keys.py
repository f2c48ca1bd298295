"""Checksums, signatures, keys and HPKE for `usage_file.py`, from keys/FORMAT.md, sections 1, 5, 6.2 and 6.4, and RFC 9180."""

import base64
import hashlib
import hmac
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SUITE = bytes.fromhex("0020 0001 0003")
P25519 = 2**255 - 19


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _castagnoli() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CASTAGNOLI = _castagnoli()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CASTAGNOLI[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def signed_by(installation: bytes, signature: bytes, purpose: str, *parts: bytes) -> bool:
    """Section 5: what is no note."""
    message = f"leasehold/{purpose}/1\n".encode() + b"".join(u32(len(part)) + part for part in parts)
    try:
        Ed25519PublicKey.from_public_bytes(installation).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def key_fault(ed25519: bytes) -> str | None:
    """Section 1: why a public key must be refused."""
    y = int.from_bytes(ed25519, "little") & (2**255 - 1)
    d = -121665 * pow(121666, -1, P25519) % P25519
    # The y of points of order 8 solve d y⁴ + 2 y² − 1 = 0: their doubles have the y 0.
    if y in (0, 1, P25519 - 1, P25519, P25519 + 1) or (d * y**4 + 2 * y**2 - 1) % P25519 == 0:
        return "small-order-key"
    return "bad-header" if y >= P25519 else None


def private_key(written: str) -> X25519PrivateKey:
    """Section 6.2; a file that holds one may end its line."""
    start = "leasehold-usage-private-key-1:"
    if not written.startswith(start):
        written = Path(written).read_text("ascii").strip()
    if not written.startswith(start):
        raise ValueError(f"no private usage key: it begins with {start}")
    raw = base64.b64decode(written.removeprefix(start), validate=True)
    if len(raw) != 32 or base64.b64encode(raw).decode() != written.removeprefix(start):
        raise ValueError("no private usage key: 32 bytes in base64")
    return X25519PrivateKey.from_private_bytes(raw)


# --- HPKE, RFC 9180: base mode, one message, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), length, labeled).derive(prk)


def open_base(key: X25519PrivateKey, enc: bytes, info: bytes, aad: bytes, sealed: bytes) -> bytes:
    """Raises ValueError for an all-zero shared secret, InvalidTag for what does not open."""
    dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
    if not any(dh):
        raise ValueError("an all-zero shared secret")
    kem = b"KEM" + SUITE[:2]
    context = enc + key.public_key().public_bytes_raw()
    shared = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", dh), b"shared_secret", context, 32)
    hpke = b"HPKE" + SUITE
    schedule = b"\0" + labeled_extract(hpke, b"", b"psk_id_hash", b"") + labeled_extract(hpke, b"", b"info_hash", info)
    secret = labeled_extract(hpke, shared, b"secret", b"")
    aead = ChaCha20Poly1305(labeled_expand(hpke, secret, b"key", schedule, 32))
    return aead.decrypt(labeled_expand(hpke, secret, b"base_nonce", schedule, 12), sealed, aad)
