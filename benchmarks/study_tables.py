"""The tables of the paper's study in benchmarks/README.md, from benchmarks/results/study-*.json, beside the paper's."""

from __future__ import annotations

from disagreement_tables import disagreements
from markdown import table
from study_claims import HEADS, WORDS, claims
from study_missing import ALPHAS, MISSING, missing, not_run
from study_results import (
    FIGURE3,
    FIGURE4,
    HALF_ASLEEP,
    KINDS,
    PAPER_CATCHING_UP,
    PAPER_TABLE1,
    Results,
    by_kind,
    read,
    read_file,
    show,
)


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
        missing(),
        norms(),
        disagreements(),
        comparisons(),
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
    return "\n\n".join([*parts, figure4_grid()])


def figure4_grid() -> str:
    """Encoders by alpha of a VAE after some numbers of epochs."""
    title = "Figure 4: by alpha and the epochs of the VAE"
    if (found := read("figure4-grid")) is None:
        heads = ["epochs", "VAE", *(f"alpha = {alpha}" for alpha in ALPHAS)]
        return f"#### {title}\n\n{table(heads, not_run('figure4', len(heads)))}"
    alphas = [f"{alpha:g}" for alpha in found["schedule"]["encoder"]["alphas"]]
    rows = [
        [epochs, f"{result['VAE']:.4f}", *(show(result["alphas"][alpha]["final"]) for alpha in alphas)]
        for epochs, result in found["results"].items()
    ]
    return section(title, ["epochs", "VAE", *(f"alpha = {alpha}" for alpha in alphas)], rows, found, "figure4-grid")


def figure5() -> str:
    """VAE, optimal and half-asleep over the VAE's epochs."""
    parts = []
    for pixels, found, result, name in by_kind("figure5"):
        epochs = result.get("epochs") or found["epochs"]
        points = {head: values for head, values in result.items() if head != "epochs"}
        rows = [
            [str(epoch), *(show(of_name[number]) for of_name in points.values())] for number, epoch in enumerate(epochs)
        ]
        rows += short_of(pixels, 1 + len(points))
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
        rows += short_of(pixels, 2)
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
        rows += short_of(pixels, 3)
        title = f"Table 1: the denoising regulariser on {KINDS[pixels]}"
        parts.append(section(title, ["", "test", "the paper's"], rows, found, name))
    return "\n\n".join(parts)


def short_of(pixels: str, cells: int, of_files: bool = False) -> list[list[str]]:
    """The row of a table that stands for what is not at the paper's size."""
    name = pixels + ("-files" if of_files else "")
    return not_run(name, cells) if name in MISSING else []


def figures7_and_8() -> str:
    """Real files by K, and what the baseline spends to catch up."""
    eighth = {pixels: (times, name) for pixels, _, times, name in by_kind("figure8")}
    parts = []
    for pixels, found, result, name in by_kind("figure7"):
        if pixels not in eighth:
            continue
        times, its_name = eighth[pixels]
        names = list(result["bits_per_subpixel"])
        rows = []
        for number, steps in enumerate(result["K"]):
            sizes = [show(result["bits_per_subpixel"][name][number], 5) for name in names]
            both = [f"{1000 * times[name][kind][number]:.2f}" for name in names for kind in ("compress", "decompress")]
            rows.append([str(steps), *sizes, *both])
        heads = ["K", *names, *(f"{name}, ms to {kind}" for name in names for kind in ("compress", "decompress"))]
        rows += short_of(pixels, len(heads), of_files=True)
        title = f"Figures 7 and 8: files of {KINDS[pixels]} by K, bits per sub-pixel"
        parts.append(section(title, heads, rows, found, name, its_name, pixels=pixels))
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


def comparisons() -> str:
    """Whether the results have what the paper says."""
    rows = claims()
    return f"#### The paper's comparisons\n\n{table(HEADS, rows)}\n\n{WORDS}" if rows else ""


def norms() -> str:
    """Where a single image explodes behind batch norm, and what helps."""
    found = read_file("norms.json")  # of no figure of the paper
    if found is None:
        return ""
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


# --- Parts ---------------------------------------------------------------------------------------


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
    if said.get("shipped_models") or (pixels == "cifar10" and not said.get("vae_of_cifar10_trained")):
        return "the model that bbc ships"
    parts = [f"{said['seeds']} seed{'s' * (said['seeds'] != 1)}"]
    for name in ("vae", "half_asleep", "encoder", "optimal"):
        if name in said:
            epochs = said[name]["epochs"]
            if isinstance(epochs, dict):
                epochs = epochs.get(pixels) or ", ".join(map(str, epochs.values()))
            parts.append(f"{name.replace('_', '-')} {epochs} epochs at {said[name]['lr']:g}")
    return "; ".join(parts)
