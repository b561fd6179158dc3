"""The table of small images that are learned from, from results/learning.json."""

from __future__ import annotations

import json
from pathlib import Path

from markdown import table

RESULTS = Path(__file__).parent / "results" / "learning.json"


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
