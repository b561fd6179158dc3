"""Table 1 of the paper: test BPD with the denoising regulariser (Eq. 18) by its sigma, against reverse half-asleep.

    python benchmarks/study/table1.py [--quick] [--runs DIR] [--out DIR] [--epochs N] [--seeds N] [--pixels KIND ...]

The VAEs are the long ones after --epochs; each seed is an encoder of its own for that VAE. The paper names neither the
learning rate, which is that of Figure 5 here, nor the unit of sigma: pixels have [0, 1] here. Both methods train for
as many epochs. Results: study-table1.json, .png, .svg.
"""

from __future__ import annotations

from typing import Any

from study import HALF_ASLEEP_LR, LR, Study, draw, finish, main, seeds_text, spread, test_bpd

from bbcompress.training.objectives import DENOISING

ALPHA = 0.5
SIGMAS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
EPOCHS = {"binary": 100, "grey": 300}
OURS = "reverse half-asleep"


def measure(study: Study) -> dict[str, Any]:
    """By kind of pixels the VAE's test BPD, the spread of half-asleep and of denoising by sigma."""
    last = study.points[-1]
    results: dict[str, dict[str, Any]] = {}
    for pixels in study.pixels:
        epochs = study.encoder_length(EPOCHS[pixels])
        start = study.vae(pixels)[last]
        members = study.half_asleep(pixels, last, start, epochs)
        study.train_all(members)
        ours = [member.out for member in members]
        results[pixels] = {
            "VAE": test_bpd(ours[0], "baseline"),
            OURS: spread([test_bpd(out) for out in ours]),
            "denoising": {},
        }
        denoising = {
            sigma: [
                study.encoder(
                    f"mnist-{pixels}-{last:04}-denoising{sigma:g}-lr{HALF_ASLEEP_LR:g}-{epochs}", start, seed,
                    pixels=pixels, vae_epochs=last, epochs=epochs, lr=HALF_ASLEEP_LR, objective=DENOISING,
                    alpha=ALPHA, sigma=sigma,
                )
                for seed in range(study.seeds)
            ]
            for sigma in sigmas_of(study)
        }  # fmt: skip
        study.train_all([member for of_sigma in denoising.values() for member in of_sigma])
        for sigma, of_sigma in denoising.items():
            results[pixels]["denoising"][f"{sigma:g}"] = spread([test_bpd(member.out) for member in of_sigma])
    return results


def sigmas_of(study: Study) -> tuple[float, ...]:
    """Those that are tried."""
    return SIGMAS[: study.length(len(SIGMAS))]


def table1(study: Study) -> None:
    last = study.points[-1]
    lengths = {pixels: study.encoder_length(EPOCHS[pixels]) for pixels in study.pixels}
    sigmas = sigmas_of(study)
    results = study.results("study-table1", measure)
    of_lengths = ", ".join(f"{epochs} epochs ({pixels})" for pixels, epochs in lengths.items())
    figure = study.figure(
        "The denoising regulariser against reverse half-asleep, alpha = 0.5",
        f"VAE: rate {LR:g}, {last} epochs; encoders: rate {HALF_ASLEEP_LR:g}, {of_lengths}",
        seeds_text(study.seeds),
        width=5.5 * len(study.pixels),
    )
    panels = figure.subplots(1, len(study.pixels), squeeze=False)[0]
    for axes, (pixels, result) in zip(panels, results.items(), strict=True):
        draw(axes, sigmas, list(result["denoising"].values()), "denoising", "o")
        draw(axes, sigmas, [result[OURS]] * len(sigmas), OURS)
        axes.axhline(result["VAE"], color="grey", linestyle="--", label="VAE")
        finish(axes, "sigma", f"{pixels} MNIST")
    about = study.about(
        vae={"lr": LR, "epochs": last}, encoder={"lr": HALF_ASLEEP_LR, "epochs": lengths, "alpha": ALPHA}
    )
    study.write("study-table1", {**about, "results": results}, figure)


if __name__ == "__main__":
    main(table1, __doc__, pixels=("binary", "grey"))
