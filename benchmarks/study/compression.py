"""What Figures 7 and 8 of the paper rest on: small models, and the sizes and times of real files made with them.

    python benchmarks/study/compression.py [--quick] [--runs DIR] [--seeds N] [--pixels KIND ...]

Trains what is missing of the models and makes them exact, but measures nothing: training may be done on one machine,
and the measurements on another. Each seed is a VAE of its own, and an encoder for it.
"""

from __future__ import annotations

from pathlib import Path

from study import LR, Study, main

from bbcompress.training.stacked import Member

LATENTS = 10
VAE_EPOCHS = 100
ENCODER_EPOCHS = {"binary": 100, "grey": 300}
STEPS = tuple(range(11))
STEP_RATES = {"binary": 5e-3, "grey": 5e-3, "cifar10": 1e-3}
CIFAR_MODEL = "cifar10-resnet"
IMAGES = 1000
QUICK_IMAGES, QUICK_STEPS = 20, (0, 1)


def train_models(study: Study, pixels: str) -> list[Path]:
    """The finished runs of the encoders, one for each seed, for VAEs of their own."""
    seeds = range(study.seeds)
    epochs, encoder_epochs = study.length(VAE_EPOCHS), study.length(ENCODER_EPOCHS[pixels])
    vaes = []
    for seed in seeds:
        name = f"mnist-{pixels}-z{LATENTS}-seed{seed}"
        config = study.config(pixels, latents=LATENTS, seed=seed, epochs=epochs, evaluate_every=10, name=name)
        vaes.append(Member(config, study.runs / name))
    study.train_all(vaes)
    encoders = [
        study.encoder(
            f"mnist-{pixels}-z{LATENTS}-rha{encoder_epochs}", vae.out / "training.pt", seed, pixels=pixels,
            vae_epochs=epochs, epochs=encoder_epochs, lr=LR, alpha=0.5, latents=LATENTS,
        )
        for seed, vae in zip(seeds, vaes, strict=True)
    ]  # fmt: skip
    study.train_all(encoders)
    return [member.out for member in encoders]


def train(study: Study) -> None:
    """All models of the study's kinds of pixels."""
    for pixels in study.pixels:
        for out in train_models(study, pixels):
            print(f"trained: {out}")


if __name__ == "__main__":
    main(train, __doc__, pixels=("binary", "grey"))
