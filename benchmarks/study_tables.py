"""The tables of the paper's study in benchmarks/README.md, from benchmarks/results/study-*.json, beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results"
KINDS = {"binary": "binary MNIST", "grey": "grey MNIST", "cifar10": "CIFAR-10"}
PAPER_TABLE1 = {
    "binary": {"VAE": 0.200, "0.1": 0.195, "0.2": 0.192, "0.4": 0.191, "0.8": 0.196, "1": 0.201, "ours": 0.187},
    "grey": {"VAE": 1.543, "0.1": 1.527, "0.2": 1.519, "0.4": 1.515, "0.8": 1.545, "1": 1.550, "ours": 1.513},
    "cifar10": {"VAE": 4.592, "0.1": 4.591, "0.2": 4.598, "0.4": 4.614, "0.8": 4.651, "1": 4.667, "ours": 4.572},
}
"""The paper's Table 1, which has no 0.6."""
PAPER_CATCHING_UP = {"binary": (7, 1.167), "cifar10": (8, 0.462)}
"""The paper's Figure 8: the K with which the baseline reaches half-asleep at K = 0, and its extra time to compress."""
HALF_ASLEEP = "reverse half-asleep"
FIGURE3 = ("figure3", "figure3-long")
FIGURE4 = ("figure4", "figure4-short")
Results = dict[str, Any]


def study() -> str:
    """All tables whose results are there."""
    parts = [
        figures1_and_2(),
        figure3(),
        figure4(),
        figure5(),
        figure6(),
        table1(),
        figures7_and_8(),
        norms(),
        claims(),
    ]
    return "\n\n".join(filter(None, parts))


def figures1_and_2() -> str:
    """Overfitting and the amortised inference gap."""
    first, second = read("figure1"), read("figure2")
    if first is None or second is None:
        return ""
    columns = {
        "train": first["results"]["train"], "test": first["results"]["test"],
        "test, optimal inference": second["results"]["optimal"], "gap": second["results"]["gap"],
    }  # fmt: skip
    rows = [
        [str(epoch), *(show(points[number]) for points in columns.values())]
        for number, epoch in enumerate(first["epochs"])
    ]
    title = "Figures 1 and 2: a VAE of binary MNIST by its epochs"
    return section(title, ["epochs", *columns], rows, first, "figure1", "figure2")


def figure3() -> str:
    """A known model."""
    parts = []
    for name in FIGURE3:
        if (found := read(name)) is not None:
            rows = [[objective, show(result["final"])] for objective, result in found["results"]["test_bpd"].items()]
            title = f"Figure 3: encoders for a known model, {found['schedule']['encoder']['epochs']} epochs"
            parts.append(section(title, ["objective", "test"], rows, found, name))
    return "\n\n".join(parts)


def figure4() -> str:
    """Encoders of one VAE by objective."""
    parts = []
    for name in FIGURE4:
        if (found := read(name)) is not None:
            rows = [[objective, show(result["final"])] for objective, result in found["results"].items()]
            title = f"Figure 4: encoders of one VAE of binary MNIST after {found['schedule']['vae']['epochs']} epochs"
            parts.append(section(title, ["objective", "test"], rows, found, name))
    return "\n\n".join(parts)


def figure5() -> str:
    """VAE, optimal and half-asleep over the VAE's epochs."""
    parts = []
    for pixels, found, result, name in by_kind("figure5"):
        epochs = result.get("epochs") or found["epochs"]
        points = {head: values for head, values in result.items() if head != "epochs"}
        rows = [
            [str(epoch), *(show(of_name[number]) for of_name in points.values())] for number, epoch in enumerate(epochs)
        ]
        title = f"Figure 5: test BPD of {KINDS[pixels]} by inference and the VAE's epochs"
        parts.append(section(title, ["epochs", *points], rows, found, name))
    return "\n\n".join(parts)


def figure6() -> str:
    """Half-asleep after some of its epochs."""
    parts = []
    for pixels, found, result, name in by_kind("figure6"):
        curve = result["curve"]
        epochs = sorted({epoch for epoch in (1, 10, 20, 50, 100) if epoch <= len(curve)} | {len(curve)})
        rows = [["VAE", f"{result['VAE']:.4f}"]]
        rows += [[f"half-asleep, epoch {epoch}", show(curve[epoch - 1])] for epoch in epochs]
        title = f"Figure 6: half-asleep on {KINDS[pixels]} by its epochs"
        parts.append(section(title, ["", "test"], rows, found, name))
    return "\n\n".join(parts)


def table1() -> str:
    """Denoising against half-asleep, beside the paper's."""
    parts = []
    for pixels, found, result, name in by_kind("table1"):
        paper = PAPER_TABLE1[pixels]
        rows = [["VAE", f"{result['VAE']:.4f}", f"{paper['VAE']:.3f}"]]
        rows += [
            [f"denoising, sigma = {sigma}", show(spread), f"{paper[sigma]:.3f}" if sigma in paper else ""]
            for sigma, spread in result["denoising"].items()
        ]
        rows.append([HALF_ASLEEP, show(result[HALF_ASLEEP]), f"{paper['ours']:.3f}"])
        title = f"Table 1: the denoising regulariser on {KINDS[pixels]}"
        parts.append(section(title, ["", "test", "the paper's"], rows, found, name))
    return "\n\n".join(parts)


def figures7_and_8() -> str:
    """Real files by K, and what the baseline spends to catch up."""
    seventh, eighth = read("figure7"), read("figure8")
    if seventh is None or eighth is None:
        return ""
    parts = []
    for pixels, result in seventh["results"].items():
        times = eighth["results"][pixels]
        names = list(result["bits_per_subpixel"])
        rows = []
        for number, steps in enumerate(result["K"]):
            sizes = [show(result["bits_per_subpixel"][name][number], 5) for name in names]
            both = [f"{1000 * times[name][kind][number]:.2f}" for name in names for kind in ("compress", "decompress")]
            rows.append([str(steps), *sizes, *both])
        heads = ["K", *names, *(f"{name}, ms to {kind}" for name in names for kind in ("compress", "decompress"))]
        title = f"Figures 7 and 8: files of {KINDS[pixels]} by K, bits per sub-pixel"
        parts.append(section(title, heads, rows, seventh, "figure7", "figure8", pixels=pixels))
        parts.append(catching_up(pixels, times))
    return "\n\n".join(parts)


def catching_up(pixels: str, times: Results) -> str:
    """A sentence on the K and the time with which the baseline is as small as half-asleep at K = 0."""
    found = []
    for reached in times["baseline_reaches_rha_at_K_0"]:
        if reached is None:
            found.append("it does not")
        else:
            compress, decompress = (reached[f"{kind}_extra"] for kind in ("compress", "decompress"))
            found.append(f"K = {reached['K']}, {compress:+.0%} time to compress, {decompress:+.0%} to decompress")
    paper = ""
    if pixels in PAPER_CATCHING_UP:
        steps, extra = PAPER_CATCHING_UP[pixels]
        paper = f" (the paper: K = {steps}, {extra:+.1%})"
    return f"The baseline is as small as half-asleep at K = 0 with: {'; '.join(found)}{paper}."


def norms() -> str:
    """Where a single image explodes behind batch norm, and what helps."""
    path = RESULTS / "norms.json"  # of no figure of the paper
    if not path.exists():
        return ""
    found: Results = json.loads(path.read_text())
    return "\n\n".join(NORMS[part](found) for part in NORMS if part in found["results"])


def norms_cause(found: Results) -> str:
    """Deviations of the worst image by layer."""
    cause = found["results"]["cause"]
    columns = {
        f"test image {cause['image']}, farthest channel": "deviations",
        "median channel": "deviations_of_median_channel",
        "farthest, statistics of a batch": "deviations_with_statistics_of_a_batch",
        "median, statistics of a batch": "of_median_channel_with_statistics_of_a_batch",
        "test image 0, median channel": "of_median_channel_of_the_first_image",
    }
    rows = [
        [name, *(f"{layer[key]:.1f}" for key in columns.values()), f"{layer['least_deviation_of_a_channel']:.2f}"]
        for name, layer in cause["layers"].items()
    ]
    heads = ["batch norm, outputs in deviations of their channel", *columns, "least deviation of a channel"]
    of_batch, others = (cause[f"{which}_with_statistics_of_a_batch"] for which in ("bits", "others"))
    words = (
        f"Of the first {cause['searched']} test images this one has the farthest mean of its posterior: "
        f"{cause['largest_mu']:.1f}, its largest sigma is {cause['largest_sigma']:.2f} (the median of farthest means "
        f"is {cause['median_of_largest_mu']:.1f}). It takes {cause['bits']:.1f} bits a sub-pixel. Among "
        f"{cause['batch'] - 1} training images, with the statistics of this batch, it takes {of_batch:.2f} bits, the "
        f"others {others:.2f}; the integers do not hold the scales of batch norm, which are estimates here. Deviations "
        f"are those of {cause['statistics_of']} training images. {norms_measured(found, 'cause')}"
    )
    title = f"Single images in `{cause['model']}`, float32: where they explode"
    return f"#### {title}\n\n{table(heads, rows)}\n\n{words}"


def norms_remedies(found: Results) -> str:
    """Clamps in the finished model."""
    remedies = found["results"]["remedies"]
    rows = [[name, f"{bits['worst']:.3f}", f"{bits['others']:.4f}"] for name, bits in remedies["bits"].items()]
    heads = ["bits a sub-pixel", f"test image {remedies['image']}", f"first {remedies['images']} test images"]
    title = f"Single images in `{remedies['model']}`: clamps that were not there in training"
    return f"#### {title}\n\n{table(heads, rows)}\n\n{norms_measured(found, 'remedies')}"


def norms_training(found: Results) -> str:
    """Small models by norm."""
    training = found["results"]["training"]
    rows = []
    for name, figures in training["norms"].items():
        cells = [figures["test"]["mean"], figures["test"]["largest"], figures["stripes"]["largest"]]
        if "integers" in figures:
            cells += [figures["integers"]["mean"], figures["integers_of_stripes"]["largest"]]
        rows.append([name, *(f"{cell:.4f}" for cell in cells), *[""] * (5 - len(cells))])
    heads = [
        "", "test, float32", "largest of a test image", "largest of stripes",
        f"integers, first {training['coded']}", "integers, largest of stripes",
    ]  # fmt: skip
    words = (
        f"C = {training['hidden']}, {training['blocks']} blocks, {training['images']} training images, "
        f"{training['epochs']} epochs at {training['lr']:g} in batches of {training['batch']}, one seed, first "
        f"{training['tested']} test images: a small size, not the paper's. {norms_measured(found, 'training')}"
    )
    return f"#### Small VAEs of CIFAR-10 by norm, bits a sub-pixel\n\n{table(heads, rows)}\n\n{words}"


NORMS = {"cause": norms_cause, "remedies": norms_remedies, "training": norms_training}


def norms_measured(found: Results, part: str) -> str:
    """Where a part of `norms.py` was measured."""
    environment = found["environments"][part]
    return f"cpu, torch {environment['packages']['torch']}, commit {environment['commit']}."


def claims() -> str:
    """What the study is about: whether it holds, in numbers."""
    rows = []
    for pixels, _, result, _ in by_kind("table1"):
        asleep = result[HALF_ASLEEP]
        below = (result["VAE"] - asleep["mean"]) / asleep["deviation"]
        rows.append([KINDS[pixels], "half-asleep below the VAE, in deviations of the encoders' seeds", f"{below:.1f}"])
        sigma, best = min(result["denoising"].items(), key=lambda item: float(item[1]["mean"]))
        words = f"half-asleep no worse than denoising of the best sigma ({sigma})"
        rows.append([KINDS[pixels], words, f"{asleep['mean']:.4f} against {best['mean']:.4f}"])
    for pixels, _, result, _ in by_kind("figure5"):
        pairs = zip(result["optimal"], result[HALF_ASLEEP], strict=True)
        least = min(asleep["mean"] - optimal["mean"] for optimal, asleep in pairs)
        rows.append([KINDS[pixels], "optimal inference no higher than half-asleep", f"at least {least:.4f} lower"])
    for name in FIGURE3:
        if (found := read(name)) is not None:
            finals = {objective: result["final"]["mean"] for objective, result in found["results"]["test_bpd"].items()}
            epochs = f"encoders of {found['schedule']['encoder']['epochs']} epochs"
            for better, others in {"reverse sleep": ["wake", "sleep"], "sleep": ["wake"]}.items():
                holds = finals[better] < min(finals[other] for other in others)
                figures = f"{finals[better]:.4f} against {' and '.join(f'{finals[other]:.4f}' for other in others)}"
                words = f"{better} better than {' and '.join(others)}, {epochs}"
                rows.append([KINDS["binary"], words, figures + ("" if holds else ": NOT so")])
    for name in FIGURE4:
        if (found := read(name)) is None:
            continue
        finals = {name: result["final"]["mean"] for name, result in found["results"].items() if "alpha" in name}
        half = next(name for name in finals if "0.5" in name)
        rest = " and ".join(f"{value:.4f}" for name, value in finals.items() if name != half)
        words = f"alpha = 0.5 no worse than 0 and 1, VAE of {found['schedule']['vae']['epochs']} epochs"
        holds = finals[half] <= min(finals.values())
        rows.append([KINDS["binary"], words, f"{finals[half]:.4f} against {rest}{'' if holds else ': NOT so'}"])
    return "#### What the study is about, in numbers\n\n" + table(["", "", "found"], rows) if rows else ""


# --- Parts ---------------------------------------------------------------------------------------


def read(name: str) -> Results | None:
    """The results of a script, None where there are none."""
    path = RESULTS / f"study-{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def by_kind(figure: str) -> list[tuple[str, Results, Results, str]]:
    """For each kind of pixels that has a figure: what its file says, its results there, and the file's name."""
    found = []
    for pixels in KINDS:
        for name in (f"{figure}-{pixels}", figure):
            file = read(name)
            if file is not None and pixels in file["results"]:
                found.append((pixels, file, file["results"][pixels], name))
                break
        else:
            file = read(pixels)
            if file is not None and figure in file["results"]:
                found.append((pixels, file, file["results"][figure], pixels))
    return found


def section(title: str, heads: list[str], rows: list[list[str]], found: Results, *names: str, pixels: str = "") -> str:
    """A table, its plots and where it was measured. pixels: its kind, if the schedule has several."""
    plots = ", ".join(f"[{name}](results/study-{name}.png)" for name in names)
    environment = found["environment"]
    versions = f"torch {environment['packages']['torch']}, commit {environment['commit']}"
    measured = f"{plots}; {environment['device']}, {versions}; {schedule(found, pixels)}."
    return f"#### {title}\n\n{table(heads, rows)}\n\n{measured}"


def schedule(found: Results, pixels: str = "") -> str:
    """The schedule of a training, in words."""
    said = found["schedule"]
    if said.get("shipped_models") or pixels == "cifar10":  # whose files are of one model
        return "the model that bbc ships"
    parts = [f"{said['seeds']} seed{'s' * (said['seeds'] != 1)}"]
    for name in ("vae", "half_asleep", "encoder", "optimal"):
        if name in said:
            epochs = said[name]["epochs"]
            if isinstance(epochs, dict):
                epochs = epochs.get(pixels) or ", ".join(map(str, epochs.values()))
            parts.append(f"{name.replace('_', '-')} {epochs} epochs at {said[name]['lr']:g}")
    return "; ".join(parts)


def show(spread: Results, digits: int = 4) -> str:
    """Mean and, where there is one, sample standard deviation."""
    mean = f"{spread['mean']:.{digits}f}"
    return mean if spread["deviation"] is None else f"{mean} ± {spread['deviation']:.{digits}f}"
