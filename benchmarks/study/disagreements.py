"""Where the study disagrees with the paper: the reasons that may explain it, tested at a small size.

    python benchmarks/study/disagreements.py [--parts PART ...] [--data-dir DIR] [--runs DIR] [--out FILE] [--seeds N]
                                             [--encoder-epochs N] [--threads N] [--quick]

batches: Figure 3, whether sleep is below wake sooner where batches are smaller, for encoders with random weights at
first, and whether it is where they begin as the encoder of the VAE that has drawn the images. alphas: Figure 4, which
share of model samples is best by the epochs of the VAE, and what the paper's own code compares: half-asleep in batches
of 100 images and 100 samples, twice as large as those of reverse sleep. sigmas: Table 1, whether denoising's best sigma
moves with the scale of the encoder's inputs, and with the epochs of the VAE. rates: Figure 6, whether half-asleep on
grey images is above the VAE in its first epochs because of its learning rate.

Sizes are not the paper's: VAEs are those that bbc ships, or small ones of the first --images training images; test
images are the first 2000. All runs are kept under --runs and gone on with after an interruption. A run of some parts
keeps the results of the others: benchmarks/results/disagreements.json.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from figure3 import ENCODER_LR as KNOWN_LR
from figure3 import OBJECTIVES as KNOWN_OBJECTIVES
from figure3 import draw_images, write_start
from study import BATCH, DIGITS, HALF_ASLEEP_LR, LR, Study, environment, results_of, spread, spreads, test_bpd
from table1 import ALPHA
from torch import Tensor

from bbcompress.errors import BBCError
from bbcompress.training.architectures.base import PHASE_RHA
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.checkpoints.log import save_json
from bbcompress.training.objectives import denoising, evaluate
from bbcompress.training.reporter import reporting
from bbcompress.training.trained import BASELINE, open_run
from bbcompress.training.trainer import Trainer, seeded_generator

HERE = Path(__file__).resolve().parent
PARTS = ("batches", "alphas", "sigmas", "rates")
SHIPPED = {"binary": "mnist-binary", "grey": "mnist-grey"}
IMAGES, TEST_IMAGES = 6_000, 2_000
VAE_EPOCHS = (20, 40)
EPOCHS = {"batches": 5, "alphas": 6, "sigmas": 3, "rates": 6}
BATCHES = (32, 100, 500)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
ALPHA_LR = 3e-4
DATA_AND_SAMPLES = "0.5, batches of 100 images and 100 samples"
"""As the paper's code has it (github.com/zmtomorrow/GeneralizationGapInAmortizedInference, main.py): its half-asleep
batches are twice as large as those of reverse sleep."""
SIGMAS = (0.1, 0.2, 0.4, 0.8)
MNIST_MEAN, MNIST_DEVIATION = 0.1307, 0.3081
SCALES = {"[0, 1]": (0.0, 1.0), "standardised": (MNIST_MEAN, 1 / MNIST_DEVIATION), "[0, 255]": (0.0, 255.0)}
"""Of the encoder's inputs: what is subtracted from pixels in [0, 1], and the factor of the rest."""
RATES = (5e-4, 3e-4, 1e-4)
OWN_EPOCHS = 2
"""Of the shipped VAE of grey images at a constant rate, without averages: the study's VAE has none."""
RATE_IMAGES = 20_000
"""Of the part rates: an epoch is a third of one of the study's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data-dir", default="data", help="where MNIST lies or is downloaded to")
    parser.add_argument("--runs", type=Path, help="runs/disagreements if not given, with --quick -quick behind it")
    parser.add_argument("--out", type=Path, help="benchmarks/results/disagreements.json, with --quick under --runs")
    parser.add_argument("--seeds", type=int, default=1, help="of encoders; default: %(default)s")
    parser.add_argument("--images", type=int, default=IMAGES, help="of the small VAEs; default: %(default)s")
    parser.add_argument("--vae-epochs", type=int, nargs="+", default=VAE_EPOCHS, help="of the small VAEs")
    parser.add_argument("--encoder-epochs", type=int, help=f"of the parts that are run; default: {EPOCHS}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few epochs on a hundred digits, never to be quoted")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = args.runs or Path("runs") / ("disagreements-quick" if args.quick else "disagreements")
    out = args.out or (runs if args.quick else HERE.parent / "results") / "disagreements.json"
    study = Study(
        data=str(DIGITS) if args.quick else "mnist", data_dir=args.data_dir, runs=runs, out=out.parent, epochs=2,
        every=1, seeds=args.seeds, pixels=("binary",), threads=args.threads, quick=args.quick,
        encoder_epochs=args.encoder_epochs,
    )  # fmt: skip
    small = Small(study, study.length(args.images) if args.quick else args.images, sorted(args.vae_epochs))
    found = json.loads(out.read_text()) if out.exists() else {"results": {}, "environments": {}}
    measure: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "batches": lambda: batches(small),
        "alphas": lambda: alphas(small),
        "sigmas": lambda: sigmas(small),
        "rates": lambda: rates(small),
    }
    try:
        for part in args.parts:
            where = environment("cpu")
            for so_far in measure[part]():  # what is there is kept, whatever ends the script
                found["results"][part] = {"quick": args.quick, "seeds": args.seeds, **so_far}
                found["environments"][part] = where
                out.parent.mkdir(parents=True, exist_ok=True)
                save_json(found, out)
    except BBCError as error:
        sys.exit(f"error: {error}")


# --- Parts ---------------------------------------------------------------------------------------


def batches(small: Small) -> Iterator[dict[str, Any]]:
    """By size of batches and objective the test BPD of encoders for the shipped model, on images that it has drawn."""
    study, epochs = small.study, small.encoder_epochs("batches")
    vae = small.shipped("binary")
    folder = study.runs / "known-images"
    counts = draw_images(study, vae, folder)
    of_drawn = replace(study, data="mnist", data_dir=str(folder))
    found: dict[str, Any] = {
        "vae": SHIPPED["binary"], "images": counts, "epochs": epochs, "lr": KNOWN_LR, "batches": {}
    }  # fmt: skip
    for batch in (*BATCHES, None):  # None: the last ones
        name = f"{batch or BATCH}" + ("" if batch else ", begun as the encoder of the VAE")
        of_batch = found["batches"][name] = {}
        for title, objective in KNOWN_OBJECTIVES.items():
            members = []
            for seed in range(study.seeds):
                start = study.runs / f"known-start-seed{seed}.pt" if batch else vae
                if batch and not start.exists():
                    write_start(of_drawn, vae, start, seed)
                members.append(
                    of_drawn.encoder(
                        f"known-{objective}-batch{batch or 'es-own-start'}-{epochs}", start, seed, pixels="binary",
                        vae_epochs=0, epochs=epochs, lr=KNOWN_LR, objective=objective, batch=batch or BATCH,
                    )
                )  # fmt: skip
            of_drawn.train_all(members)
            of_batch[title] = results_of([member.out for member in members])
            yield found


def alphas(small: Small) -> Iterator[dict[str, Any]]:
    """By VAE and alpha the test BPD of encoders, and that of the VAE."""
    study, epochs = small.study, small.encoder_epochs("alphas")
    found: dict[str, Any] = {
        "images": small.images, "test_images": small.tested, "lr": ALPHA_LR, "vae_lr": LR, "vaes": {}
    }  # fmt: skip
    for vae_epochs, start in small.vaes().items():
        of_vae: dict[str, Any] = {"epochs": epochs, "images": small.images, "alphas": {}}
        found["vaes"][f"{vae_epochs} epochs"] = of_vae
        for alpha, batch, times in [(a, BATCH, 1) for a in ALPHAS] + [(ALPHA, 2 * BATCH, 2)]:
            members = [
                small.of_images.encoder(
                    f"small-{vae_epochs:04}-alpha{alpha:g}-batch{batch}-{times * epochs}", start, seed,
                    pixels="binary", vae_epochs=vae_epochs, epochs=times * epochs, lr=ALPHA_LR, alpha=alpha,
                    batch=batch,
                )
                for seed in range(study.seeds)
            ]  # fmt: skip
            small.of_images.train_all(members)
            outs = [member.out for member in members]
            of_vae["VAE"] = test_bpd(outs[0], "baseline")
            of_vae["alphas"][f"{alpha:g}" if times == 1 else DATA_AND_SAMPLES] = results_of(outs)
            yield found


def sigmas(small: Small) -> Iterator[dict[str, Any]]:
    """By VAE and scale of the encoder's inputs the test BPD of denoising by sigma, in units of pixels in [0, 1].

    An encoder W x + b of pixels x is the encoder (W / c) y + (b + W m) of inputs y = c (x - m), and noise of sigma
    there is noise of sigma / c here. So the losses are the same functions, with the same least values, and the best
    sigma can only move by the factor c. What may differ is Adam, whose steps are as large whatever the weights are.
    """
    study, epochs = small.study, small.encoder_epochs("sigmas")
    found: dict[str, Any] = {
        "images": small.images, "test_images": small.tested, "lr": HALF_ASLEEP_LR, "epochs": epochs,
        "mean": MNIST_MEAN, "deviation": MNIST_DEVIATION, "vaes": {},
    }  # fmt: skip
    chosen = SIGMAS[: study.length(len(SIGMAS))]
    for vae_epochs, start in reversed(small.vaes().items()):
        of_vae: dict[str, dict[str, Any]] = {}
        found["vaes"][f"{vae_epochs} epochs"] = {"scales": of_vae}
        last = vae_epochs == max(small.vae_epochs)
        for scale in SCALES if last else list(SCALES)[:1]:
            of_vae[scale] = {}
            for sigma in chosen:
                curves = [denoised(small, start, scale, sigma, epochs, seed) for seed in range(study.seeds)]
                of_vae[scale][f"{sigma:g}"] = {"curve": spreads(curves), "final": spread([c[-1] for c in curves])}
                found["vaes"][f"{vae_epochs} epochs"]["VAE"] = small.bpd_of(start)
                yield found


def rates(small: Small) -> Iterator[dict[str, Any]]:
    """By learning rate the test BPD of half-asleep on grey images after each epoch, and that of the VAE."""
    study, epochs = small.study, small.encoder_epochs("rates")
    images = min(RATE_IMAGES, len(study.dataset(False).train))
    of_all = small.of_first(images)
    vae = study.runs / f"grey-{OWN_EPOCHS}"
    of_all.train(of_all.config("grey", init=SHIPPED["grey"], hidden=500, epochs=OWN_EPOCHS, name=vae.name), vae)
    found: dict[str, Any] = {
        "vae": f"{SHIPPED['grey']}, {OWN_EPOCHS} epochs more at {LR:g} without averages", "images": images,
        "test_images": small.tested, "epochs": epochs, "rates": {},
    }  # fmt: skip
    for rate in RATES:
        members = [
            of_all.encoder(
                f"grey-rate{rate:g}-{epochs}", vae, seed, pixels="grey", vae_epochs=OWN_EPOCHS, epochs=epochs, lr=rate,
                alpha=ALPHA, hidden=500,
            )
            for seed in range(study.seeds)
        ]  # fmt: skip
        of_all.train_all(members)
        outs = [member.out for member in members]
        found["VAE"] = test_bpd(outs[0], "baseline")
        found["rates"][f"{rate:g}"] = results_of(outs)
        yield found


# --- Models and images ---------------------------------------------------------------------------


class Small:
    """The VAEs and images of the parts.

    study: options and runs; images: how many training images the small VAEs have; vae_epochs: their lengths.
    """

    def __init__(self, study: Study, images: int, vae_epochs: list[int]) -> None:
        self.study = study
        self.images = min(images, len(study.dataset(False).train))
        self.tested = min(TEST_IMAGES, len(study.dataset(False).test))
        self.vae_epochs = sorted({study.length(epochs) for epochs in vae_epochs})
        self.of_images = self.of_first(self.images)

    def encoder_epochs(self, part: str) -> int:
        """Epochs of the encoders of a part."""
        return self.study.length(self.study.encoder_epochs or EPOCHS[part])

    def of_first(self, count: int) -> Study:
        """The study of the first training images alone, tested on the first test images."""
        folder = self.study.runs / f"first-{count}"
        folder.mkdir(parents=True, exist_ok=True)
        data = self.study.dataset(False)
        for name, images, number in (
            ("train-images-idx3-ubyte", data.train, count),
            ("t10k-images-idx3-ubyte", data.test, self.tested),
        ):
            levels = np.asarray(images)[:number]
            if not (folder / name).exists():
                with replacing(folder / name) as temporary:
                    temporary.write_bytes(struct.pack(">4I", 0x803, *levels.shape) + levels.tobytes())
        return replace(self.study, data="mnist", data_dir=str(folder))

    def shipped(self, pixels: str) -> Path:
        """A run of no epochs that has the numbers of a model that bbc ships."""
        out = self.study.runs / f"shipped-{pixels}"
        config = self.of_images.config(pixels, init=SHIPPED[pixels], hidden=500, epochs=0, name=out.name)
        self.of_images.train(config, out)
        return out

    def vaes(self) -> dict[int, Path]:
        """The checkpoints of the small VAE of binary images by epoch."""
        out, last = self.study.runs / f"small-{self.images}", self.vae_epochs[-1]
        checkpoints = {epochs: out / f"epoch-{epochs:04}.pt" for epochs in self.vae_epochs}
        if not all(path.exists() for path in checkpoints.values()):
            every = int(np.gcd.reduce(self.vae_epochs))
            config = self.of_images.config("binary", epochs=last, keep_every=every, evaluate_every=every, name=out.name)
            self.of_images.train(config, out)
        return checkpoints

    def model_of(self, checkpoint: Path) -> MLPVAE:
        """A VAE by its checkpoint."""
        data = self.of_images.dataset(True)
        return cast(MLPVAE, open_run(checkpoint, device="cpu", dataset=data).models[BASELINE])

    def rows(self) -> tuple[Tensor, Tensor]:
        """Binary training and test images as rows."""
        data = self.of_images.dataset(True)
        train, test = (np.asarray(images) for images in (data.train, data.test))
        return torch.from_numpy(train.reshape(len(train), -1)), torch.from_numpy(test.reshape(len(test), -1))

    def bpd_of(self, checkpoint: Path) -> float:
        """Test BPD of a VAE with its own encoder, by the noise of `denoised`."""
        return tested(self.model_of(checkpoint), self.rows()[1])


class Rescaled(MLPVAE):
    """A VAE of binary images whose encoder has the inputs scale (x - middle), begun as one of pixels x."""

    def __init__(self, model: MLPVAE, middle: float, scale: float) -> None:
        super().__init__((model.shape[0], model.shape[1]), model.latents, model.hidden, model.binary)
        self.load_state_dict(model.state_dict())
        self.middle, self.scale = middle, scale
        first = cast(torch.nn.Linear, self.encoder[0])
        with torch.no_grad():
            first.bias.add_(first.weight.sum(1) * middle)
            first.weight.div_(scale)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As of `MLPVAE`, for pixels x (B, D) in [0, 1]."""
        return super().encode((x.to(torch.float32) - self.middle) * self.scale)


def denoised(small: Small, start: Path, scale: str, sigma: float, epochs: int, seed: int) -> list[float]:
    """Test BPD after each epoch of the denoising regulariser, kept; sigma: in units of pixels in [0, 1]."""
    study = small.study
    name = f"denoised-{start.parent.name}-{start.stem}-{scale.strip('[]').replace(', ', '-')}-sigma{sigma:g}"
    path = study.runs / "measured" / f"{name}-{epochs}-seed{seed}.json"
    if path.exists():
        return list(json.loads(path.read_text()))
    model = Rescaled(small.model_of(start), *SCALES[scale])
    model.decoder.requires_grad_(False)
    train, test = small.rows()
    loss = partial(denoising, model, alpha=ALPHA, sigma=sigma)
    trainer = Trainer(
        model.encoder.parameters(), loss, train, phase=PHASE_RHA, lr=HALF_ASLEEP_LR, batch=BATCH, seed=seed
    )
    curve = []
    with reporting() as reporter:
        while trainer.epoch < epochs:
            trainer.run_epoch(reporter)
            curve.append(tested(model, test))
            reporter.line(f"{name} {trainer.epoch}/{epochs}  test {curve[-1]:.4f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(curve, path)
    return curve


def tested(model: MLPVAE, test: Tensor) -> float:
    """Test BPD by one draw of z an image, the same noise for all models."""
    return evaluate(model, test, 1, seeded_generator(torch.device("cpu"), "test"))


if __name__ == "__main__":
    main()
