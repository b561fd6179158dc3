"""The tables of small images that are learned from, and of blocks of several sides, from results/learning.json and
results/block-size.json."""

from __future__ import annotations

import json
from pathlib import Path

from markdown import table

RESULTS = Path(__file__).parent / "results" / "learning.json"
BLOCK_SIZE = Path(__file__).parent / "results" / "block-size.json"


def small_archives() -> str:
    """Bytes of archives without learning, by default and with `--learn`, and processor seconds to read them."""
    rows = []
    for row in json.loads(RESULTS.read_text())["small"]["archives"]:
        learned = row.get("learned")
        rates = [rate for rate in learned["rates of learning"] if rate != "0"] if learned else []
        rows.append(
            [
                row["images"],
                row["model"] or "as bbc chooses",
                str(row["count"]),
                str(row["frozen"]["bytes"]),
                str(row["default"]["bytes"]),
                str(learned["bytes"]) if learned else "",
                (", ".join(f"{rate}e-6" for rate in rates) or "none") if learned else "",
                f"{row['frozen']['seconds']['read']} / {learned['seconds']['read'] if learned else ''}",
            ]
        )
    return table(
        ["images", "model", "count", "without learning", "default", "`--learn`", "rate", "read, s without / with"], rows
    )


def block_sizes() -> str:
    """Bytes of a photograph by the side of its blocks, and what a region takes to decode."""
    found = json.loads(BLOCK_SIZE.read_text())
    usual = {row["learn"]: row["bytes"] for row in found["rows"] if row["side"] == 1024}
    rows = [
        [
            "yes" if row["learn"] else "no",
            str(row["side"]),
            str(row["blocks"]),
            str(row["bytes"]),
            f"{100 * (row['bytes'] / usual[row['learn']] - 1):+.2f} %",
            str(row["decoded_blocks"]),
            f"{100 * row['decoded']:.1f} %",
            f"{row['seconds']:.1f}",
        ]
        for row in found["rows"]
    ]
    head = ["learning", "`--block-size`", "blocks", "bytes", "more", "decoded blocks", "of the pixels", "processor s"]
    return table(head, rows)
