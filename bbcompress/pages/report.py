"""The page of a training run: how it went, and what its model is like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from bbcompress.bench.measure import describe_machine
from bbcompress.limits import ENCODERS
from bbcompress.pages.bench import DIRECTIONS, chart_of_report
from bbcompress.pages.charts import SCRIPTS, Chart, Series, drawn
from bbcompress.pages.page import page, picture, section, table, text
from bbcompress.pages.pictures import png
from bbcompress.pages.run_figures import RECONSTRUCTED_K, STEPS, ModelFigures, Run
from bbcompress.text import count_of

NumpyArray = np.ndarray[Any, Any]

PHASES = {"vae": "Phase 1: decoder and encoder", "rha": "Phase 2: a second encoder, the decoder frozen"}
SETTINGS = [(encoder, k) for encoder in ENCODERS for k in RECONSTRUCTED_K]
"""Encoder and K of each row of reconstructions."""
MOST_LATENTS = 64
GAP, ZOOMED = 2, 84
"""Pixels between the pictures of a sheet; each is at least so large."""


def html(run: Run, found: ModelFigures | None, why_not: str = "") -> bytes:
    """The page. found: what the run's model makes of images, None where it has none yet, and why_not then."""
    config = run.config
    words = [f"{config['architecture']} on {config['data']}", "binary pixels" if config["binary"] else ""]
    lead = ", ".join(word for word in [*words, _figures_in_words(run)] if word)
    return page(f"Training run {run.name}", _content(run, found, why_not), SCRIPTS, text(lead))


def _figures_in_words(run: Run) -> str:
    if run.metrics is None:
        return "not finished"
    rates = [f"{name} {run.metrics[f'{name}_test_bpd']:.4f}" for name in ENCODERS if f"{name}_test_bpd" in run.metrics]
    return f"negative ELBO of held-out images: {', '.join(rates)} bits per dimension"


def _content(run: Run, found: ModelFigures | None, why_not: str) -> Iterator[str]:
    for phase, title in PHASES.items():
        lines = [line for line in run.log if line.get("phase") == phase]
        if lines:
            yield section(title, *_curves(lines))
    if found is None:
        if why_not:
            yield section("The model", f'<p class="note">{text(why_not)}</p>')
    else:
        yield section("Encoders", *_encoders(found))
        yield section("What each latent variable holds", *_latents(found))
        yield section("Samples from the prior", *_samples(found))
        yield section("Reconstructions", *_reconstructions(found))
        yield section("Along the latents that hold the most", *_traversals(found))
        yield section("Rate against K and time", *_rates(found))
    yield section("Command and environment", *_environment(run))


def _curves(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Training and test ELBO by epoch, the gap between them shaded."""
    series = []
    for key, name, colour in (("train_bpd", "train", "c0"), ("test_bpd", "test", "c1"),
                              ("test_bpd_averaged", "test, averaged", "c2")):  # fmt: skip
        points = [(float(line["epoch"]), float(line[key])) for line in lines if key in line]
        if points:
            series.append(Series(name, points, colour, dashed=name != "train"))
    objective = lines[-1].get("objective", "elbo")
    seconds = sum(line.get("seconds", 0.0) for line in lines)
    rate = lines[-1].get("learning_rate", 0)
    epochs = count_of(len(lines), "epoch")
    note = f"{epochs} of {objective} in {seconds:,.0f} s; the learning rate ends at {rate:g}."
    names = [one.name for one in series]
    if "train" not in names:
        note += " The loss of this objective is no ELBO, and is not drawn."
    if not series:
        yield f'<p class="note">{text(note)}</p>'
        return
    gap = (names.index("train"), len(names) - 1) if "train" in names and len(names) > 1 else None
    if gap is not None and len(lines) > 1:
        note += " Shaded is the generalisation gap."
    yield drawn(
        Chart("Negative ELBO by epoch, of training and test images", "epoch", "negative ELBO, bits per dimension",
              series, gap=gap, note=note, x_is_whole=True)
    )  # fmt: skip


def _encoders(found: ModelFigures) -> Iterator[str]:
    rows = []
    for encoder in ENCODERS:
        train, test = found.rates[encoder, "train"], found.rates[encoder, "test"]
        rows.append((encoder, f"{train:.4f}", f"{test:.4f}", f"{test - train:+.4f}"))
    what = (
        f"Net bits per dimension by the exact model, of {found.counts['train']} training and {found.counts['test']} "
        "held-out images (tiles of local models)."
    )
    yield table(what, ("Encoder", "Train", "Test", "Gap"), rows, numbers=(1, 2, 3))


def _latents(found: ModelFigures) -> Iterator[str]:
    order = np.argsort(-found.kl)[:MOST_LATENTS].tolist()
    points = [(float(place), float(found.kl[latent])) for place, latent in enumerate(order)]
    told = [f"z{latent}: {found.kl[latent]:.3f} bits" for latent in order]
    used = int(np.count_nonzero(found.kl > 0.05))
    note = (
        f"KL(q(z|x) || p(z)) of the encoder {ENCODERS[0]}, the mean over held-out images: {found.kl.sum():.1f} bits in "
        f"all, {used} of {len(found.kl)} latents with more than 0.05 bits."
    )
    series = [Series("KL", points, "c0", [str(latent) for latent in order], told)]
    yield drawn(Chart("KL by latent, in bits, largest first", "latent", "bits", series, bars=True, note=note))


def sample_rows(found: ModelFigures) -> list[list[NumpyArray]]:
    """The samples in rows."""
    columns = 16 if len(found.samples) > 16 else max(1, len(found.samples) // 2)
    return [found.samples[at : at + columns] for at in range(0, len(found.samples), columns)]


def reconstruction_rows(found: ModelFigures) -> list[list[NumpyArray]]:
    """The images, and a row of reconstructions for each of `SETTINGS`."""
    rows = [[one.image for one in found.reconstructions]]
    return rows + [[one.decoded[setting][0] for one in found.reconstructions] for setting in SETTINGS]


def _samples(found: ModelFigures) -> Iterator[str]:
    count = len(found.samples)
    yield _sheet(sample_rows(found), f"{count} samples of the model")
    note = "z is drawn from the prior. What is shown is the mean of draws of p(x|z), of local models one draw."
    yield f'<p class="note">{note}</p>'


def _reconstructions(found: ModelFigures) -> Iterator[str]:
    yield _sheet(
        reconstruction_rows(found),
        "rows of images: held-out images, and what their posteriors decode to, as the table lists them",
    )
    heads = ["Row", *(f"Image {number}" for number in range(1, len(found.reconstructions) + 1)), "All"]
    lines = []
    for encoder, k in SETTINGS:
        bits = [one.decoded[encoder, k][1] for one in found.reconstructions]
        lines.append((f"{encoder}, K = {k}", *(f"{value:.1f}" for value in bits), f"{sum(bits):.1f}"))
    what = "The first row are the images; of each other row the net bits of each image."
    yield table(what, heads, lines, numbers=range(1, len(heads)))


def _traversals(found: ModelFigures) -> Iterator[str]:
    yield _sheet([images for _, images in found.traversals], "a row of images for each latent, from low to high")
    latents = ", ".join(f"z{latent}" for latent, _ in found.traversals)
    note = f"Rows: {latents}, from {STEPS[0]:g} to {STEPS[-1]:g}; the others stay at the posterior mean of one image."
    yield f'<p class="note">{text(note)}</p>'


def _rates(found: ModelFigures) -> Iterator[str]:
    for direction in DIRECTIONS:
        yield drawn(chart_of_report(found.rate, direction, "processor milliseconds"))
    rows = [
        (row.encoder, row.k, f"{row.size:,}", f"{row.bpd:.4f}",
         f"{1000 * min(row.compress):.2f}", f"{1000 * min(row.decompress):.2f}")
        for row in found.rate.rows
    ]  # fmt: skip
    heads = ("Encoder", "K", "Bytes", "Bits/dim", "Compress, ms", "Decompress, ms")
    count = len(found.rate.data.images)
    what = f"{count} held-out images as one group, coded by the model; processor milliseconds an image."
    yield table(what, heads, rows, numbers=range(1, 6))


def _environment(run: Run) -> Iterator[str]:
    card = run.card or {}
    commands = card.get("commands") or []
    if commands:
        yield f"<pre>{text_lines(commands)}</pre>"
    machine = describe_machine()
    made = card.get("made_with") or {}
    seconds = (run.metrics or {}).get("seconds") or {}
    rows = [
        *(("Made with " + name, value) for name, value in made.items()),
        *((f"Seconds of phase {name}", f"{value:,.1f}") for name, value in seconds.items()),
        ("This page: processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("This page: Python", machine["python"]),
        *((f"This page: {name}", version) for name, version in machine["packages"].items()),
    ]
    given = {name: value for name, value in run.config.items() if value not in (None, "", False) and name != "data_dir"}
    yield '<div class="pair">'
    yield table("Where the run and this page were made.", ("What", "Value"), rows)
    yield table(
        "The options of the run.",
        ("Option", "Value"),
        [(name.replace("_", "-"), value) for name, value in given.items()],
    )
    yield "</div>"


def text_lines(lines: Sequence[str]) -> str:
    """Lines of text for a page."""
    return "\n".join(map(text, lines))


def _sheet(rows: Sequence[Sequence[NumpyArray]], what: str) -> str:
    """Rows of images as one picture of the page."""
    sheet = sheet_of(rows)
    shown = Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet)
    return picture(png(shown), "png", shown.size, what)


def sheet_of(rows: Sequence[Sequence[NumpyArray]]) -> NumpyArray:
    """Rows of images of one size, uint8 (H, W, C), as one image."""
    height, width, channels = rows[0][0].shape
    factor = max(1, -(-ZOOMED // max(height, width)))
    high, wide = height * factor + GAP, width * factor + GAP
    columns = max(map(len, rows))
    sheet = np.full((len(rows) * high - GAP, columns * wide - GAP, channels), 128, np.uint8)
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            zoomed = image.repeat(factor, axis=0).repeat(factor, axis=1)
            sheet[down * high : down * high + height * factor, across * wide : across * wide + width * factor] = zoomed
    return sheet
