"""Tries `usage_reader.py` on the vectors of usage files and on the worked example in keys/FORMAT.md.

Usage: usage_vectors.py KEYS_DIR, the folder of the crate `leasehold-keys`. Says what is not as published, then `done`.
"""

import base64
import hmac
import re
import sys
import tomllib
from pathlib import Path

from usage_file import Damage, open_items, read_segment
from usage_keys import private_key, sha256
from usage_reader import Known, Read, check_sequence, read

WRONG: list[str] = []


def equal(found: object, published: object, what: str) -> None:
    if found != published:
        WRONG.append(f"{what}: {found!r}, published is {published!r}")


def line(item: dict) -> str:
    words = [item["kind"], item["at_ms"]]
    if item["kind"] == "remark":
        words += [item["code"], item["text"]]
    else:
        words += [item["user"], item["counter"], ",".join(item["keys"])]
    return " ".join(map(str, words))


def opened(file: Read, key: str) -> tuple[str, list[str]]:
    """What a key opens: the items, and `good` or the reason why there are no more. In a damaged file, which is told by
    its own damage, those before it count."""
    if file.segment is None:
        assert file.damage
        return file.damage.reason, []
    lines: list[str] = []
    try:
        lines.extend(line(item) for item in open_items(file.segment, private_key(key)))
    except Damage as damage:
        if not (file.damage and damage.record):
            return damage.reason, lines
    return "good", lines


def check_file(vector: dict, data: bytes, keys: dict[str, str]) -> None:
    name = vector["name"]
    file = read(name, data)
    if damage := file.damage:
        found = {"damage": damage.reason, "offset": damage.offset}
        found |= {"record": damage.record} if damage.record else {}
    else:
        assert file.segment
        found = {"end": file.segment.end, "records": file.segment.records, "head": file.segment.head}
        found |= {"signed-records": file.segment.signed_records}
    keyless = {field: told for field, told in vector.items() if field not in ("name", "items")}
    equal(found, {field: told for field, told in keyless.items() if not field.startswith("opened-by")}, name)
    for holder, key in keys.items():
        state, lines = opened(file, key)
        equal(state, vector[f"opened-by-{holder}"], f"{name} opened by {holder}")
        if holder == "licensor":
            equal(lines, vector.get("items", []), f"{name}, items")


def check_set(vector: dict, folder: Path) -> None:
    files = [read(file["name"], (folder / file["file"]).read_bytes()) for file in vector["files"]]
    known = Known.parsed(vector["seen"], vector["acknowledged"])
    findings = check_sequence(files, known, vector["excerpt"], vector.get("only"))
    found = sorted(f"{finding.reason} {finding.segment} {finding.record or '-'}" for finding in findings)
    equal(found, sorted(vector["findings"]), f"the set {vector['name']}")


def worked_example(document: str) -> None:
    section = document[document.index("### 6.9") :]
    blocks = [bytes.fromhex(block) for block in re.findall(r"```\n([0-9a-f\n]+)```", section)]
    key = "leasehold-usage-private-key-1:" + "ERER" * 10 + "ERE="
    segment = read_segment(blocks[0])
    media = "I3_ACCESS_ACD_MEDIA_1,I3_ACCESS_CLIENT,I3_ACCESS_RECORDER"
    expected = [f"logon 1795334400000 john.smith 1 {media}", f"logon 1795336200000 john.smith 2 {media}"]
    expected.append(f"logoff 1795359600000 john.smith 1 {media}")
    equal([line(item) for item in open_items(segment, private_key(key))], expected, "the worked example")
    name = segment.header.name
    equal(name in section, True, f"the worked example's name, {name},")
    equal(segment.head in section, True, f"the worked example's head, {segment.head},")
    for value in segment.chain:
        equal(value.hex() in section, True, f"the worked example's chain value {value.hex()}")


def pseudonym_example(document: str) -> None:
    section = document[document.index("### 6.8") : document.index("### 6.9")]
    key = bytes([7]) * 32
    check = sha256(b"leasehold/pseudonym-key/1\n", key)[:4]
    told = {
        "written": "leasehold-pseudonym-key-1:" + base64.b64encode(key + check).decode(),
        "ID": hmac.digest(key, b"leasehold/usage-pseudonym-key-id/1\n", "sha256")[:8].hex(),
        "of tina": "~" + hmac.digest(key, b"leasehold/usage-pseudonym/1\ntina", "sha256")[:16].hex(),
    }
    for what, value in told.items():
        equal(f"`{value}`" in section, True, f"the pseudonym key's example, {what}, {value},")


def main() -> int:
    keys = Path(sys.argv[1])
    folder = keys / "tests/usage-vectors"
    index = tomllib.loads((folder / "index.toml").read_text())
    for vector in index["file"]:
        check_file(vector, (folder / vector["name"]).read_bytes(), index["keys"])
    for vector in index["set"]:
        check_set(vector, folder)
    document = (keys / "FORMAT.md").read_text()
    worked_example(document)
    pseudonym_example(document)
    for wrong in WRONG:
        print(wrong, file=sys.stderr)
    if not WRONG:
        print(f"{len(index['file'])} files, {len(index['set'])} sets", file=sys.stderr)
        print("done")
    return int(bool(WRONG))


sys.exit(main())
