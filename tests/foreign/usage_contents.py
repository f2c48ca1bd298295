"""Reads plain contents of usage records, one segment to a line of standard input, for a comparison with another reader.

A line is {"pseudonyms": BOOL, "start_ms": INT, "contents": [HEX, ...]}; for each, the items are printed, or null for
contents that must be refused.
"""

import json
import sys
from types import SimpleNamespace

from usage_file import Content


def items(segment: dict) -> list[dict] | None:
    header = SimpleNamespace(pseudonyms=segment["pseudonyms"], trusted_ms=segment["start_ms"], segment=1)
    reader = Content(header)
    try:
        contents = [bytes.fromhex(content) for content in segment["contents"]]
        return [item for index, content in enumerate(contents, 1) for item in reader.record(index, content)]
    except (ValueError, IndexError):
        return None


sys.stdout.reconfigure(encoding="utf-8")
for line in sys.stdin:
    print(json.dumps(items(json.loads(line)), ensure_ascii=False))
