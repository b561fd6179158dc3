"""The tables of benchmarks/README.md that say what photographs cost, from results/speed.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results"
HEADINGS = [
    "", "bytes", "clock, compress", "clock, decompress", "processor, compress", "processor, decompress",
    "peak memory, MiB",
]  # fmt: skip


def speed() -> str:
    """Seconds and memory of each way, a table for each image."""
    parts = json.loads((RESULTS / "speed.json").read_text())
    return "\n\n".join(f"{_title(name, part)}\n\n{_costs(part['rows'])}" for name, part in parts.items())


def _title(name: str, part: dict[str, Any]) -> str:
    rounds = part.get("rounds", 1)
    told = f"the least of {rounds} rounds" if rounds > 1 else "one round"
    where = part["environment"]
    return f"{name}, {told}, load {where['load_before']:.1f}, {where['processor']}, commit {where['commit']}:"


def _costs(rows: dict[str, Any]) -> str:
    return table(
        HEADINGS,
        [
            [
                name,
                str(row["bytes"]),
                *(f"{row[way][cost]:.2f}" for cost in ("clock_s", "processor_s") for way in ("compress", "decompress")),
                str(max(row[way]["peak_mib"] for way in ("compress", "decompress"))),
            ]
            for name, row in rows.items()
        ],
    )
