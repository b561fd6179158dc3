"""The tables of the reasons for which the study may disagree with the paper, from results/disagreements.json."""

from __future__ import annotations

from markdown import table
from study_results import Results, read_file, show


def disagreements() -> str:
    """Those of the parts whose results are there."""
    found = read_file("disagreements.json")
    if found is None:
        return ""
    return "\n\n".join(
        TABLES[part](found["results"][part], measured(found, part)) for part in TABLES if part in found["results"]
    )


def rates(result: Results, where: str) -> str:
    """Half-asleep on grey images by its learning rate."""
    epochs = next(iter(result["rates"].values()))["epochs"]
    rows = [["VAE", f"{result['VAE']:.4f}", *[""] * len(epochs)]]
    rows += [
        [f"rate {float(rate):g}", show(found["final"]), *(show(point) for point in found["curve"])]
        for rate, found in result["rates"].items()
    ]
    heads = ["", "at the end", *(f"epoch {epoch}" for epoch in epochs)]
    words = (
        f"{result['vae']}; an epoch is {result['images']} images; first {result['test_images']} test images, one "
        f"draw of z an image and four at the end. {where}"
    )
    return f"#### Figure 6, grey MNIST: half-asleep by its learning rate\n\n{table(heads, rows)}\n\n{words}"


def alphas(result: Results, where: str) -> str:
    """Encoders by alpha and VAE."""
    vaes = result["vaes"]
    names = list(next(iter(vaes.values()))["alphas"])
    rows = [["VAE", *(f"{vae['VAE']:.4f}" for vae in vaes.values())]]
    rows += [
        [
            f"alpha = {name}",
            *(show(vae["alphas"][name]["final"]) if name in vae["alphas"] else "" for vae in vaes.values()),
        ]
        for name in names
    ]
    epochs = " and ".join(sorted({str(vae["epochs"]) for vae in vaes.values()}))
    words = (
        f"VAEs of the first {result['images']} training images at {result['vae_lr']:g}, encoders of {epochs} epochs at "
        f"{result['lr']:g} in batches of 100 (those of 200 take as many steps), first {result['test_images']} test "
        f"images. {where}"
    )
    heads = ["", *(f"VAE of {name}" for name in vaes)]
    return f"#### Figure 4, a small size: by alpha and the VAE's epochs\n\n{table(heads, rows)}\n\n{words}"


def sigmas(result: Results, where: str) -> str:
    """Denoising by sigma, inputs and VAE."""
    columns = list(next(iter(next(iter(result["vaes"].values()))["scales"].values())))
    rows = [
        [
            f"VAE of {name}",
            f"{vae['VAE']:.4f}",
            scale,
            *(show(of_scale[s]["final"]) if s in of_scale else "" for s in columns),
        ]
        for name, vae in result["vaes"].items()
        for scale, of_scale in vae["scales"].items()
    ]
    heads = ["", "test", "inputs of the encoder", *(f"sigma = {sigma}" for sigma in columns)]
    words = (
        f"VAEs of the first {result['images']} training images; denoising of {result['epochs']} epochs at "
        f"{result['lr']:g}; sigma in units of pixels in [0, 1], whatever the inputs; first {result['test_images']} "
        f"test images. {where}"
    )
    return f"#### Table 1, a small size: denoising by the scale of the inputs\n\n{table(heads, rows)}\n\n{words}"


def batches(result: Results, where: str) -> str:
    """Encoders of a known model by the size of their batches."""
    names = list(next(iter(result["batches"].values())))
    rows = []
    for batch, of_batch in result["batches"].items():
        finals = {name: of_batch[name]["final"] for name in names if name in of_batch}
        cells = [show(finals[name]) if name in finals else "" for name in names]
        above = f"{finals['sleep']['mean'] - finals['wake']['mean']:+.4f}" if {"sleep", "wake"} <= set(finals) else ""
        rows.append([f"batches of {batch}", *cells, above])
    train, test = result["images"]
    words = (
        f"`{result['vae']}`, {train} training and {test} test images that it has drawn; encoders of "
        f"{result['epochs']} epochs at {result['lr']:g}. {where}"
    )
    heads = ["", *names, "sleep above wake"]
    return f"#### Figure 3, a small size: by the size of batches\n\n{table(heads, rows)}\n\n{words}"


TABLES = {"batches": batches, "alphas": alphas, "rates": rates, "sigmas": sigmas}


def measured(found: Results, part: str) -> str:
    """How many seeds, and where."""
    environment, seeds = found["environments"][part], found["results"][part]["seeds"]
    of_seeds = "One seed" if seeds == 1 else f"{seeds} seeds"
    versions = f"torch {environment['packages']['torch']}, commit {environment['commit']}"
    return f"{of_seeds}; {environment['device']}, {versions}."
