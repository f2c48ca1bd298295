"""Reads plain contents of usage records, one segment to a line of standard input, for a comparison with another reader.

A line is {"pseudonyms": BOOL, "start_ms": INT, "contents": [HEX, ...]}; for each, the items are printed, or null for
contents that must be refused.
"""

import json
import sys

from usage_file import Content


def items(segment: dict) -> list[dict] | None:
    reader = Content(segment["pseudonyms"], segment["start_ms"])
    try:
        contents = [bytes.fromhex(content) for content in segment["contents"]]
        return [item for content in contents for item in reader.record(content)]
    except (ValueError, IndexError):
        return None


for line in sys.stdin:
    print(json.dumps(items(json.loads(line))))
