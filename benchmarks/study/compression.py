"""What Figures 7 and 8 of the paper rest on: small models, and the sizes and times of real files made with them.

    python benchmarks/study/compression.py [--quick] [--runs DIR] [--seeds N] [--pixels KIND ...]

As a script it trains what is missing of the models, but measures nothing: training may be done on one machine and the
measurements on another. Each seed is a VAE of its own, and an encoder for it. With --shipped the models are those that
bbc ships. For CIFAR-10 models and files are those of benchmarks/resnet.py, or with --train-vae those of VAEs that the
study trains as cifar10.py does, one for each seed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import cifar10
import numpy as np
from study import LR, VAE_SEED, Study, load_once, main
from table1 import ALPHA

from bbcompress.bench import measure as bench
from bbcompress.bench.report import Data
from bbcompress.bench.schedule import Schedule
from bbcompress.images.image import PixelImage
from bbcompress.models.zoo import Zoo
from bbcompress.training.checkpoints.log import save_json
from bbcompress.training.export import export_run
from bbcompress.training.finished import stored_config
from bbcompress.training.stacked import Member

LATENTS = 10
VAE_EPOCHS = 100
ENCODER_EPOCHS = {"binary": 100, "grey": 300}
STEPS = tuple(range(11))
STEP_RATE = {"binary": 5e-3, "grey": 5e-3, "cifar10": 1e-3}
IMAGES = {"binary": 1000, "grey": 1000, "cifar10": 100}
REPEATS = 3
QUICK_IMAGES, QUICK_STEPS = 20, (0, 1)
SHIPPED = {"binary": "mnist-binary-z10", "grey": "mnist-grey-z10"}
CIFAR = Path(__file__).resolve().parents[1] / "results" / "resnet.json"
PIXELS = (*SHIPPED, "cifar10")
TITLES = {"binary": "binary MNIST", "grey": "grey MNIST", "cifar10": "CIFAR-10"}
ENCODERS = {"baseline": "VAE", "rha": "reverse half-asleep"}
MODELS_ALONE = mock.patch("bbcompress.codecs.choose.ByFallback.may_win", lambda *_: False)
"""What is measured is the models, also where lossless WebP would be smaller."""


# --- Models --------------------------------------------------------------------------------------


def train_models(study: Study, pixels: str) -> list[Path]:
    """The finished runs of the encoders, one for each seed, for VAEs of their own."""
    if pixels == "cifar10":
        return [_train_cifar(study, seed) for seed in range(study.seeds)]
    seeds = range(study.seeds)
    epochs, encoder_epochs = study.length(VAE_EPOCHS), study.encoder_length(ENCODER_EPOCHS[pixels])
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


def _train_cifar(study: Study, seed: int) -> Path:
    """The finished run of an encoder for a VAE of the same seed; that of the first seed is also cifar10.py's."""
    start = cifar10.trained_start(study, seed)
    name = f"alpha{ALPHA:g}" + (f"-vae{seed}" if seed != VAE_SEED else "")
    member = cifar10.encoders(study, name, stored_config(start).epochs, start)[seed]
    study.train(member.config, member.out, start)
    return member.out


def models(study: Study, pixels: str) -> list[Path]:
    """The folders of the models that are measured, each of both encoders."""
    if study.shipped:
        return [Zoo(SHIPPED[pixels]).chosen[0].folder]
    folders = train_models(study, pixels)
    for folder in folders:
        if not (folder / "model.safetensors").exists():
            export_run(folder, study.data_dir)
    return folders


# --- Measurements --------------------------------------------------------------------------------


def measure(study: Study, pixels: str) -> list[dict[str, Any]]:
    """For each model what `bbc bench` says of one archive of the first test images, by encoder and K; kept."""
    if pixels == "cifar10" and not study.train_vae:
        return [of_cifar(json.loads(CIFAR.read_text())["rates"])]
    return [_measure(study, pixels, folder) for folder in models(study, pixels)]


def _measure(study: Study, pixels: str, folder: Path) -> dict[str, Any]:
    entry = Zoo(folder).chosen[0]
    count = QUICK_IMAGES if study.quick else IMAGES[pixels]
    path = study.runs / "measured" / f"compression-{pixels}-{entry.id.hex()[:12]}-{count}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    steps = QUICK_STEPS if study.quick else STEPS
    schedule = Schedule(
        tuple(ENCODERS), steps, str(folder), STEP_RATE[pixels], repeats=study.length(REPEATS) if steps == STEPS else 1
    )
    with MODELS_ALONE:
        report = bench.measure(Data(TITLES[pixels], _images(study, pixels, count)), schedule)
    found = report.as_json()
    found["schedule"]["model"] = entry.name  # where it lies on one machine is nobody else's business
    found["card"] = entry.card
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(found, path)
    return found


def of_cifar(part: dict[str, Any]) -> dict[str, Any]:
    """What benchmarks/resnet.py has measured, as `bbc bench` would say it."""
    results = [
        {
            "encoder": encoder, "K": found["K"], "bytes": found["bytes"],
            "bits_per_subpixel": found["whole_file"], "net_bits_per_subpixel": found["net"],
            **{f"{kind}_seconds_per_image": {"best": found[f"seconds_{kind}"]} for kind in ("compress", "decompress")},
        }
        for encoder, rows in part["by_encoder"].items()
        for found in rows
    ]  # fmt: skip
    steps = part["baseline_reaches_rha_at_K"]
    reached = None
    if steps is not None:
        reached = {"K": steps}
        for kind in ("compress", "decompress"):
            pair = part["by_encoder"]["baseline"][steps], part["by_encoder"]["rha"][0]
            slow, fast = (found[f"seconds_{kind}"] for found in pair)
            reached[f"{kind}_extra"] = slow / fast - 1
    return {
        "results": results,
        "data": {"images": part["images"]},
        "schedule": {"learning_rate": part["learning_rate"], "K": [found["K"] for found in part["by_encoder"]["rha"]]},
        "machine": part["environment"],
        "card": part["card"],
        "baseline_reaches_rha_at_K_0": reached,
    }


def _images(study: Study, pixels: str, count: int) -> list[tuple[str, PixelImage]]:
    if pixels == "cifar10":
        data = load_once(cifar10.quick_options(study)["data"] if study.quick else "cifar10", study.data_dir, False)
        return [(f"{number:04}.png", PixelImage("RGB", image)) for number, image in enumerate(data.test[:count])]
    levels = np.asarray(study.dataset(pixels == "binary").test[:count])
    scale = np.uint8(255 if pixels == "binary" else 1)
    return [(f"{number:04}.png", PixelImage("L", image * scale)) for number, image in enumerate(levels)]


def row(report: dict[str, Any], encoder: str, steps: int) -> dict[str, Any]:
    """A row of a measurement."""
    return next(dict(r) for r in report["results"] if (r["encoder"], r["K"]) == (encoder, steps))


def steps_of(report: dict[str, Any]) -> list[int]:
    """The K that were measured."""
    return [int(steps) for steps in report["schedule"]["K"]]


def schedule_line(study: Study, pixels: str, reports: list[dict[str, Any]]) -> str:
    """What a plot says of its models and images of one kind of pixels."""
    first = reports[0]
    if study.shipped or (pixels == "cifar10" and not study.train_vae):
        which = "the model that bbc ships"
    elif pixels == "cifar10":
        epochs, encoder_epochs = study.length(cifar10.VAE_EPOCHS), study.encoder_length(cifar10.EPOCHS)
        which = f"{len(reports)} models, VAE {epochs} epochs at {cifar10.VAE_LR:g}, "
        which += f"half-asleep {encoder_epochs} at {cifar10.LR:g}"
    else:
        epochs, encoder_epochs = study.length(VAE_EPOCHS), study.encoder_length(ENCODER_EPOCHS[pixels])
        which = f"{len(reports)} models, VAE {epochs} and half-asleep {encoder_epochs} epochs at {LR:g}"
    rate = first["schedule"]["learning_rate"]
    images = first["data"]["images"]
    if isinstance(images, int):
        images = f"first {images} test images"
    return f"{TITLES[pixels]}: {which}; {images} in one archive; K steps at {rate:g}"


def trained(reports: list[dict[str, Any]]) -> list[Any]:
    """How the models were trained, as their cards say."""
    return [report["card"].get("commands") for report in reports]


def trainings(study: Study) -> dict[str, Any]:
    """How those that the study trains were, for `Study.about`."""
    kinds = [pixels for pixels in study.pixels if pixels in ENCODER_EPOCHS]
    if study.train_vae and study.pixels == ("cifar10",):
        vae = {"lr": cifar10.VAE_LR, "epochs": study.length(cifar10.VAE_EPOCHS)}
        return {"vae": vae, "half_asleep": {"lr": cifar10.LR, "epochs": study.encoder_length(cifar10.EPOCHS)}}
    if study.shipped or not kinds:
        return {}
    return {
        "vae": {"lr": LR, "epochs": study.length(VAE_EPOCHS)},
        "half_asleep": {"lr": LR, "epochs": {pixels: study.encoder_length(ENCODER_EPOCHS[pixels]) for pixels in kinds}},
    }


def train(study: Study) -> None:
    """All models of the study's kinds of pixels."""
    for pixels in study.pixels:
        if pixels == "cifar10" and not study.train_vae:
            continue
        for folder in models(study, pixels):
            print(f"model: {folder}")


if __name__ == "__main__":
    main(train, __doc__, pixels=PIXELS)
