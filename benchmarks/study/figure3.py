"""Figure 3 of the paper: encoders for a known model: a VAE's decoder is the distribution of the data.

    python benchmarks/study/figure3.py [--quick] [--runs DIR] [--out DIR] [--seeds N] [--encoder-epochs N]

A VAE is trained on binary MNIST; training and test images are then drawn from its decoder, and a new encoder is trained
for that decoder by the wake phase (the ELBO of these images), sleep or reverse sleep. Each seed is an encoder of its
own, with random weights at first. Results: study-figure3.json, .png, .svg; study-figure3-long for encoders of another
length than the paper's.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from study import Study, draw, finish, main, results_of, seeds_text

from bbcompress.training.architectures.mlp.task import build_mlp
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from bbcompress.training.config import TrainingConfig
from bbcompress.training.finished import load_trained
from bbcompress.training.objectives import ELBO, REVERSE_SLEEP, SLEEP, sample_model
from bbcompress.training.stacked import Member
from bbcompress.training.trainer import seeded_generator

KNOWN_LR = ENCODER_LR = 1e-3
EPOCHS = 100
IMAGES = {"train-images-idx3-ubyte": 10000, "t10k-images-idx3-ubyte": 1000}
QUICK_IMAGES = 200
FIRST_SEED = 1  # of new encoders' weights: 0 is how the VAE itself began
OBJECTIVES = {"wake": ELBO, "sleep": SLEEP, "reverse sleep": REVERSE_SLEEP}


def measure(study: Study) -> dict[str, Any]:
    """The numbers of images, and by objective `results_of` its runs."""
    epochs, encoder_epochs = study.length(EPOCHS), length_of_encoders(study)
    longer = "" if encoder_epochs == epochs else f"-{encoder_epochs}"
    out = study.runs / f"known-{epochs}"
    study.train(study.config("binary", epochs=epochs, lr=KNOWN_LR, evaluate_every=10, name=out.name), out)
    drawn = study.runs / f"known-{epochs}-images"
    counts = draw_images(study, out, drawn)
    of_drawn = replace(study, data="mnist", data_dir=str(drawn))
    members: dict[str, list[Member]] = {name: [] for name in OBJECTIVES}
    for seed in range(study.seeds):
        start = study.runs / f"known-{epochs}-start-seed{seed}.pt"
        write_start(of_drawn, out, start, seed)
        for name, objective in OBJECTIVES.items():
            members[name].append(
                of_drawn.encoder(
                    f"known-{epochs}-{objective}{longer}", start, seed, pixels="binary", vae_epochs=epochs,
                    epochs=encoder_epochs, lr=ENCODER_LR, objective=objective,
                )
            )  # fmt: skip
    results: dict[str, dict[str, Any]] = {}
    for name, of_name in members.items():
        of_drawn.train_all(of_name)
        results[name] = results_of([member.out for member in of_name])
    return {"images": counts, "test_bpd": results}


def length_of_encoders(study: Study) -> int:
    """Epochs of the encoders: as many as the paper's, unless others are asked for."""
    return study.length(study.encoder_epochs or EPOCHS)


def name_of(study: Study) -> str:
    """Of the results: those of another length have a name of their own."""
    return "study-figure3" if length_of_encoders(study) == study.length(EPOCHS) else "study-figure3-long"


def figure3(study: Study) -> None:
    epochs, encoder_epochs = study.length(EPOCHS), length_of_encoders(study)
    found = study.results(name_of(study), measure)
    results = found["test_bpd"]
    train_images, test_images = found["images"]
    figure = study.figure(
        "Inference for a known model: a VAE of binary MNIST",
        f"VAE: rate {KNOWN_LR:g}, {epochs} epochs; {train_images} training and {test_images} test images of its own",
        f"encoders: rate {ENCODER_LR:g}, {encoder_epochs} epochs; {seeds_text(study.seeds)}",
    )
    axes = figure.subplots()
    for name, result in results.items():
        draw(axes, result.get("epochs", range(1, epochs + 1)), result["curve"], name)
    finish(axes, "epochs of encoder training")
    about = study.about(vae={"lr": KNOWN_LR, "epochs": epochs}, encoder={"lr": ENCODER_LR, "epochs": encoder_epochs})
    study.write(name_of(study), {**about, "results": found}, figure)


def draw_images(study: Study, out: Path, folder: Path) -> list[int]:
    """Images of the model of a finished run, as MNIST's two files in the folder; gives how many each has.

    Files that are there stay: the same draw on another machine may differ by a pixel.
    """
    model, _, _, _ = load_trained(out)
    height, width = load_checkpoint(out / "training.pt")["shape"]
    folder.mkdir(parents=True, exist_ok=True)
    counts = [min(count, QUICK_IMAGES) if study.quick else count for count in IMAGES.values()]
    cpu = torch.device("cpu")
    for name, count in zip(IMAGES, counts, strict=True):
        if (folder / name).exists():
            continue
        levels = sample_model(model, count, seeded_generator(cpu, "known", name), cpu).to(torch.uint8) * 255
        with replacing(folder / name) as temporary:
            temporary.write_bytes(struct.pack(">4I", 0x803, count, height, width) + levels.numpy().tobytes())
    return counts


def write_start(study: Study, out: Path, start: Path, seed: int) -> None:
    """A checkpoint with the decoder of a finished run and a random encoder; study: of the images drawn."""
    state = load_checkpoint(out / "training.pt")
    config = TrainingConfig(**state["config"])
    fresh = build_mlp(replace(config, seed=FIRST_SEED + seed), state["shape"])
    state["config"] = asdict(replace(config, data=study.data, data_dir=study.data_dir))
    save_checkpoint({**state, "baseline": fresh.encoder.state_dict(), "rha": fresh.encoder.state_dict()}, start)


if __name__ == "__main__":
    main(figure3, __doc__)
