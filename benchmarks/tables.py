"""Write the tables of benchmarks/README.md and README.md from benchmarks/results/mnist.json.

    python benchmarks/tables.py

Figures stand between the lines `<!-- table -->` and `<!-- end -->`; nothing is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
OPEN, CLOSE = "<!-- table -->", "<!-- end -->"
Results = dict[str, Any]


def main() -> None:
    results = json.loads((HERE / "results" / "mnist.json").read_text())
    insert(HERE / "README.md", "\n\n".join([rates(results), by_steps(results), times(results), machine(results)]))
    insert(ROOT / "README.md", summary(results))


def insert(path: Path, text: str) -> None:
    """Replace what stands between the markers of a file."""
    before, _, rest = path.read_text().partition(OPEN)
    after = rest.partition(CLOSE)[2]
    path.write_text(f"{before}{OPEN}\n{text}\n{CLOSE}{after}")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def at(model: Results, encoder: str, steps: int) -> Results:
    """The row of one encoder and K."""
    row: Results = model["rates"][encoder][steps]
    return row


def percent(value: float) -> str:
    return f"{100 * value:+.2f} %"


def rates(results: Results) -> str:
    """Whole file and net rate of each model, the gains of K and of the encoder."""
    head = ["model", "encoder", "K = 0: bytes", "whole file", "net", "overhead", "K = 10: whole file", "against K = 0",
            "rha against baseline, K = 0", "one digit alone, mean bytes"]  # fmt: skip
    rows = []
    for name, model in results["models"].items():
        for encoder in ("baseline", "rha"):
            first, last = at(model, encoder, 0), at(model, encoder, 10)
            refined = percent(last["whole_file"] / first["whole_file"] - 1)
            gain = first["whole_file"] / at(model, "baseline", 0)["whole_file"] - 1
            rows.append([
                name, encoder, str(first["bytes"]), f"{first['whole_file']:.4f}", f"{first['net']:.4f}",
                percent(first["overhead"]), f"{last['whole_file']:.4f}", refined,
                percent(gain) if encoder == "rha" else "", f"{model['lone_images']['mean_bytes']:.1f}",
            ])  # fmt: skip
    return "### Rates, bits per dimension\n\n" + table(head, rows)


def by_steps(results: Results) -> str:
    """Whole-file rates by K."""
    steps = range(11)
    rows = [
        [name, encoder, *(f"{at(model, encoder, k)['whole_file']:.4f}" for k in steps)]
        for name, model in results["models"].items()
        for encoder in ("baseline", "rha")
    ]
    return "### Whole file by K\n\n" + table(["model", "encoder", *(f"K = {k}" for k in steps)], rows)


def times(results: Results) -> str:
    """Times of one process a image, and of whole processes."""
    rows, processes = [], []
    for name, model in results["models"].items():
        for steps, cost in model.get("milliseconds_per_image", {}).items():
            rows.append([name, steps, *(f"{cost[key]:.3f}" for key in ("compress", "compress_verified", "decompress"))])
        if cost := model.get("whole_process_seconds"):
            processes.append([name, *(f"{cost[key]:.2f}" for key in ("compress", "decompress", "help"))])
    text = "### Milliseconds an image, one process, warm\n\n"
    text += table(["model", "", "compress", "compress with verification", "decompress"], rows)
    text += "\n\n### Seconds of a whole process on one digit, verification included\n\n"
    return text + table(["model", "`bbc compress`", "`bbc decompress`", "`bbc --help`"], processes)


def machine(results: Results) -> str:
    """Where the figures come from."""
    env = results["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in env["packages"].items())
    return (
        f"{results['images']}; {env['processor']} ({env['machine']}), {env['cores']} cores, Python {env['python']}, "
        f"{packages}; commit {env['commit']}."
    )


def summary(results: Results) -> str:
    """The short table of the README."""
    models, tools = results["models"], results["general_tools"]
    columns = {"binary": ("mnist-binary", "bernoulli"), "grey": ("mnist-grey", "discretised_logistic")}
    rows = [
        [
            f"bbc, one archive, K = {k}",
            *(f"{at(models[name], 'rha', k)['whole_file']:.3f}" for name, _ in columns.values()),
        ]
        for k in (0, 10)
    ]
    lone = (8 * models[name]["lone_images"]["mean_bytes"] / 784 for name, _ in columns.values())
    rows.append(["bbc, each image its own file", *(f"{rate:.3f}" for rate in lone)])
    for tool in tools["bernoulli"]:
        rows.append([tool, *(f"{tools[likelihood].get(tool, float('nan')):.3f}" for _, likelihood in columns.values())])
    note = f"Whole-file bits per pixel, {results['images']} (`benchmarks/mnist.py`; more in `benchmarks/README.md`):"
    return note + "\n\n" + table(["", *columns], rows)


if __name__ == "__main__":
    main()
