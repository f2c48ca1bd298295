"""A second reader of usage files (`.usg`), written from keys/FORMAT.md, section 6, and from nothing else.

Usage: usage_reader.py --key KEY FILE...      verifies and opens; prints items and a summary as JSON lines
       usage_reader.py --verify FILE...       verifies without a key

KEY is a private usage key as it is written, or a file that holds one. Several files are also checked as a sequence, for
which there is --excerpt (segments before the first are not missed), --seen "INSTALLATION HEAD" (a head that the
licensor saw), --acknowledged "INSTALLATION SEGMENT SHA256" and --only INSTALLATION.

Exit codes: 0 all is as it must be, 1 something was found, 2 the question cannot be answered (arguments, files, key).
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from usage_file import FILE_MAX, Damage, Segment, open_items, read_segment
from usage_keys import private_key


@dataclass(frozen=True)
class Read:
    """A file under its name: its segment, or why its header is refused."""

    name: str
    digest: str
    size: int
    segment: Segment | None
    refusal: Damage | None

    @property
    def damage(self) -> Damage | None:
        return self.segment.damage if self.segment else self.refusal


def read(name: str, data: bytes) -> Read:
    segment, refusal = None, None
    try:
        segment = read_segment(data)
    except Damage as damage:
        refusal = damage
    return Read(name, hashlib.sha256(data).hexdigest(), len(data), segment, refusal)


# --- Many segments, 6.6


@dataclass(frozen=True)
class Finding:
    installation: str
    segment: int
    reason: str
    record: int | None = None


@dataclass(frozen=True)
class Known:
    """What the licensor knows of installations: heads that it saw, digests that it acknowledged, by segment."""

    seen: list[tuple[str, int, int, str]]
    acknowledged: dict[tuple[str, int], str]

    @classmethod
    def parsed(cls, seen: list[str], acknowledged: list[str]) -> "Known":
        heads = []
        for line in seen:
            installation, head = line.split()
            segment, records, chain = head.split("/")
            heads.append((installation, int(segment), int(records), chain))
        split = [line.split() for line in acknowledged]
        return cls(heads, {(installation, int(segment)): digest for installation, segment, digest in split})


def named(name: str) -> tuple[str, int]:
    """What a name tells; an empty installation for one that tells nothing."""
    parts = name.removesuffix(".usg").split("-")
    fits = len(parts) == 3 and len(parts[0]) == 32 and parts[1].isdigit() and parts[2].isdigit()
    return (parts[0], int(parts[1])) if fits else ("", 0)


def check_sequence(files: list[Read], known: Known, excerpt: bool = False, only: str | None = None) -> list[Finding]:
    findings: list[Finding] = []
    chains: dict[str, dict[int, list[Read]]] = {}
    for installation in [head[0] for head in known.seen] + [place[0] for place in known.acknowledged]:
        chains.setdefault(installation, {})
    for file in files:
        if file.segment is None:
            findings.append(Finding(*named(file.name), "damaged"))
            continue
        header = file.segment.header
        place = (header.installation, header.segment)
        if only not in (None, header.installation):
            findings.append(Finding(*place, "foreign"))
            continue
        if file.name != header.name:
            findings.append(Finding(*place, "misnamed"))
        if file.damage:
            findings.append(Finding(*place, "damaged", file.damage.record))
        there = chains.setdefault(header.installation, {}).setdefault(header.segment, [])
        if file.digest not in [other.digest for other in there]:
            findings.extend([Finding(*place, "two-files")] if there else [])
            there.append(file)
    for installation, chain in chains.items():
        findings.extend(check_chain(installation, chain, known, excerpt))
    return sorted(findings, key=lambda finding: (finding.installation, finding.segment, finding.reason))


def check_chain(installation: str, chain: dict[int, list[Read]], known: Known, excerpt: bool) -> Iterator[Finding]:
    acknowledged = {number: digest for (of, number), digest in known.acknowledged.items() if of == installation}
    heads: dict[int, list[tuple[int, str]]] = {}
    for of, number, records, end in known.seen:
        if of == installation:
            heads.setdefault(number, []).append((records, end))
    there = sorted({*chain, *acknowledged})
    before = min(chain) - 1 if excerpt and chain else 0
    for number in [*there, max([*there, *heads], default=0) + 1]:
        if number > before + 1:
            yield Finding(installation, before + 1, "missing-segments")
        before = max(before, number)
    for number, files in sorted(chain.items()):
        told = [against_licensor(file, acknowledged.get(number), heads.get(number, [])) for file in files]
        faults = [fault for fault in told if fault]
        after = chain.get(number + 1, [])
        if not faults and after:
            links = [against_next(file.segment, following.segment) for file in files for following in after]
            faults = [link for link in links[:1] if link and all(links)]
        if not faults and number != max(chain):
            torn = [file.segment.records for file in files if file.segment and file.segment.end == "torn"]
            faults = [("missing-records", records + 1) for records in torn]
        for fault in faults:
            yield Finding(installation, number, *fault)


Fault = tuple[str, int | None]


def against_licensor(file: Read, acknowledged: str | None, heads: list[tuple[int, str]]) -> Fault | None:
    """A file against what the licensor has of it; damage in itself is told already."""
    segment = file.segment
    if segment is None or segment.damage:
        return None
    if acknowledged not in (None, file.digest):
        return ("replaced", None)
    for records, end in sorted(heads):
        if segment.records < records:
            return ("missing-records", segment.records + 1)
        if segment.chain[records].hex() != end:
            return ("replaced", records)
    return None


def against_next(segment: Segment | None, after: Segment | None) -> Fault | None:
    """A segment against what the next one's header says of it."""
    if segment is None or after is None or segment.damage:
        return None
    records = after.header.records_before - segment.header.records_before
    if segment.records < records:
        return ("missing-records", segment.records + 1)
    if segment.records > records:
        return ("replaced", records + 1)
    return ("replaced", None) if segment.chain[-1] != after.header.previous_end else None


# --- The command


def say(**line: object) -> None:
    print(json.dumps(line))


def summary(file: Read, opening: Damage | None) -> dict:
    told: dict = {"file": file.name, "sha256": file.digest, "size": file.size}
    if segment := file.segment:
        header = segment.header
        told |= {"installation": header.installation, "license": header.license_id, "role": header.role}
        told |= {"segment": header.segment, "began": header.began, "records_before": header.records_before}
        told |= {"trusted_ms": header.trusted_ms, "wall_ms": header.wall_ms, "end": segment.end, "head": segment.head}
        told |= {"names": "pseudonym" if header.pseudonyms else "name", "pseudonym_key": header.pseudonym_key}
        told |= {"recipients": [own.hex() for own in header.recipients], "previous_end": header.previous_end.hex()}
        told |= {"records": segment.records, "signed_records": segment.signed_records}
    if damage := opening or file.damage:
        told |= {"damage": damage.reason}
        told |= {"record": damage.record, "offset": damage.offset} if damage.record else {}
    return told


def main() -> int:
    arguments = argparse.ArgumentParser(description="Reads Leasehold's usage files; see the head of this program.")
    how = arguments.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", help="a private usage key, or a file that holds one")
    how.add_argument("--verify", action="store_true", help="verify without a key")
    arguments.add_argument("--excerpt", action="store_true")
    arguments.add_argument("--seen", action="append", default=[], metavar="'INSTALLATION HEAD'")
    arguments.add_argument("--acknowledged", action="append", default=[], metavar="'INSTALLATION SEGMENT SHA256'")
    arguments.add_argument("--only", metavar="INSTALLATION")
    arguments.add_argument("files", nargs="+", type=Path, metavar="FILE")
    given = arguments.parse_args()
    try:
        key = private_key(given.key) if given.key else None
        known = Known.parsed(given.seen, given.acknowledged)
        files = []
        for path in given.files:
            with path.open("rb") as opened:
                # One byte more than a file may have shows that it has too many.
                files.append(read(path.name, opened.read(FILE_MAX + 1)))
    except (OSError, ValueError) as error:
        print(f"usage_reader: {error}", file=sys.stderr)
        return 2
    found = False
    for file in files:
        opening = None
        if key and file.segment:
            try:
                for item in open_items(file.segment, key):
                    say(file=file.name, **item)
            except Damage as damage:
                opening = damage
        found |= (file.damage or opening) is not None
        say(summary=summary(file, opening))
    if len(files) > 1 or given.seen or given.acknowledged or given.only:
        for finding in check_sequence(files, known, given.excerpt, given.only):
            found = True
            say(finding=asdict(finding))
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
