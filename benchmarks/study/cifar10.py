"""CIFAR-10 in the paper's Figures 5 and 6 and Table 1: encoders for the decoder of a residual VAE that is there.

    bbc train --data cifar10 --architecture resnet
    python benchmarks/study/cifar10.py --start runs/cifar10-resnet [--quick] [--runs DIR] [--out DIR] [--seeds N]
                                       [--encoder-epochs N] [--optimal-epochs N]
    python benchmarks/study/cifar10.py --train-vae [--norm NORM] [--precision P] [--batch N] [--hidden C] [...]

Figure 5's points are the checkpoints that this run has kept, and its end. All encoders begin as the VAE's, without its
learning rate's decay and its averages, in its batches and precision. With --train-vae the VAE is trained first where it
is not there, under --runs: 500 epochs at 5e-4, one checkpoint every 100 (`bbc train`'s defaults of a resnet), without
averages; an interrupted one is gone on with. Bounds are those of the float32 networks, not of
the integers that are coded. Results: study-cifar10.json, .png, .svg.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from study import (
    DIGITS,
    VAE_SEED,
    Study,
    draw,
    finish,
    main,
    results_of,
    seeds_text,
    spread,
    test_bpd,
)
from table1 import ALPHA, OURS, sigmas_of

from bbcompress.errors import BBCError
from bbcompress.training.config import OF_DECODER, TrainingConfig
from bbcompress.training.finished import stored_config
from bbcompress.training.objectives import DENOISING
from bbcompress.training.stacked import Member

VAE_LR, VAE_EPOCHS, VAE_EVERY = 5e-4, 500, 100
LR = 1e-5  # of encoders and of optimal inference (paper, Section 4)
EPOCHS = 100
OPTIMAL_EPOCHS = 500
OF_START = (*OF_DECODER, "batch", "lr", "precision", "samples")
PHOTO = DIGITS.parents[1] / "photos" / "landscape.png"
QUICK_TILES, QUICK_SIDE = 100, 16


# --- Runs ----------------------------------------------------------------------------------------


def checkpoints(start: Path) -> dict[int, Path]:
    """The VAE's checkpoints by epoch: those that were kept, and the finished run. Raises BBCError."""
    finished = start / "training.pt"
    if not finished.exists():
        raise BBCError(f"{start}: no finished run; bbc train --data cifar10 --architecture resnet makes one (--start)")
    kept = {int(path.stem.removeprefix("epoch-")): path for path in start.glob("epoch-*.pt")}
    return dict(sorted({**kept, stored_config(start).epochs: finished}.items()))


def encoders(
    study: Study, name: str, epoch: int, start: Path, *, evaluate_every: int = 1, **options: Any
) -> list[Member]:
    """Runs of encoders for the VAE after `epoch`, one for each seed."""
    of_start = stored_config(start)
    epochs = study.encoder_length(EPOCHS)
    members = []
    for seed in range(study.seeds):
        out = study.runs / f"cifar10-{epoch:04}-{name}-lr{LR:g}-{epochs}-seed{seed}"
        config = TrainingConfig(
            **{field: getattr(of_start, field) for field in OF_START}, data_dir=study.data_dir, device=study.device,
            threads=study.threads, average=0.0, seed=seed, epochs=epoch, encoder_epochs=epochs, encoder_lr=LR,
            evaluate_every=evaluate_every or epochs, alpha=ALPHA, name=out.name, **options,
        )  # fmt: skip
        members.append(Member(config, out, start))
    return members


def vae_config(study: Study, **options: Any) -> TrainingConfig:
    """The paper's training of a VAE of CIFAR-10, but for what the study is told of norm, precision, width and batch."""
    values: dict[str, Any] = {
        "architecture": "resnet", "data": "cifar10", "data_dir": study.data_dir, "hidden": study.hidden,
        "norm": study.norm, "precision": study.precision, "batch": study.batch, "lr": VAE_LR, "average": 0.0,
        "epochs": VAE_EPOCHS, "encoder_epochs": 0, "encoder_lr": LR, "samples": "aggregate", "keep_every": VAE_EVERY,
        "evaluate_every": 10, "device": study.device, "threads": study.threads,
    }  # fmt: skip
    return TrainingConfig(**(values | options))


def trained_start(study: Study, seed: int = VAE_SEED) -> Path:
    """The run of the VAE of the paper's schedule, or with --quick of a small one of a hundred pieces of a photograph;
    trained where it is not there."""
    config = vae_config(study, seed=seed, **(quick_options(study) if study.quick else {}))
    config.name = "cifar10-quick" if study.quick else f"cifar10-vae-{config.norm}-{config.hidden}"
    out = study.runs / (config.name + (f"-seed{seed}" if seed != VAE_SEED else ""))
    study.train(config, out)
    return out


def quick_options(study: Study) -> dict[str, Any]:
    """Those of a small VAE of a hundred pieces of a photograph, which are written where they are not there."""
    tiles = study.runs / "tiles"
    if not tiles.exists():
        tiles.mkdir(parents=True)
        with Image.open(PHOTO) as photo:
            across = photo.width // QUICK_SIDE
            for number in range(QUICK_TILES):
                x, y = number % across * QUICK_SIDE, number // across * QUICK_SIDE
                photo.crop((x, y, x + QUICK_SIDE, y + QUICK_SIDE)).save(tiles / f"{number:03}.png")
    sizes = {"hidden": 8, "latents": 2, "blocks": 1}
    return {"data": str(tiles), **sizes, "epochs": 2, "lr": 1e-3, "batch": 10, "keep_every": 1}


# --- Results -------------------------------------------------------------------------------------


def measure(study: Study) -> dict[str, Any]:
    """What Figures 5 and 6 and Table 1 have of other data: `figure5` by epoch, `figure6` and `table1` of the last one;
    `vae`: how the VAE was trained."""
    if study.quick or study.train_vae:
        start = trained_start(study)
        study = replace(study, start=start, data=stored_config(start).data)
    starts = checkpoints(study.start)
    seeds = range(study.seeds)
    asleep = {epoch: encoders(study, f"alpha{ALPHA:g}", epoch, start) for epoch, start in starts.items()}
    for of_epoch in asleep.values():
        study.train_all(of_epoch)
    last = list(starts)[-1]
    ours = [member.out for member in asleep[last]]
    of_vae = test_bpd(ours[0], "baseline")

    optimal_epochs = study.optimal_length(OPTIMAL_EPOCHS)
    points: dict[str, list[dict[str, Any]]] = {"VAE": [], "optimal": [], OURS: []}
    for epoch, start in starts.items():
        measured = [study.measure(start, optimal_epochs, LR, seed) for seed in seeds]
        points["VAE"].append(spread([figures["baseline"]["test"]["bpd"] for figures in measured]))
        points["optimal"].append(spread([figures["optimal"]["test"]["bpd"] for figures in measured]))
        finished = [study.measure(member.out / "training.pt", seed=member.config.seed) for member in asleep[epoch]]
        points[OURS].append(spread([figures["rha"]["test"]["bpd"] for figures in finished]))

    denoising = {}
    for sigma in sigmas_of(study):
        members = encoders(
            study, f"denoising{sigma:g}", last, starts[last], evaluate_every=0, objective=DENOISING, sigma=sigma
        )
        study.train_all(members)
        denoising[f"{sigma:g}"] = spread([test_bpd(member.out) for member in members])
    of_ours = results_of(ours)
    of_start = stored_config(study.start)
    told = ("epochs", "lr", "decay", "average", "batch", "precision", "hidden", "norm")
    return {
        "vae": {field: getattr(of_start, field) for field in told},
        "figure5": {"epochs": list(starts), **points},
        "figure6": {"VAE": of_vae, **of_ours},
        "table1": {"VAE": of_vae, OURS: of_ours["final"], "denoising": denoising},
    }


def cifar10(study: Study) -> None:
    # one network of this size fills a GPU: nothing is gained by training several as one
    study = replace(study, together=False, data="cifar10")
    results = study.results("study-cifar10", measure)
    vae = results["vae"]
    epochs, optimal_epochs = study.encoder_length(EPOCHS), study.optimal_length(OPTIMAL_EPOCHS)
    figure = study.plot(
        "Test BPD on CIFAR-10 by inference",
        f"VAE: {vae['epochs']} epochs from rate {vae['lr']:g}; batches of {vae['batch']}",
        f"encoders: Adam at {LR:g}, {epochs} epochs; optimal: the same, {optimal_epochs} epochs on the test images",
        seeds_text(study.seeds),
        width=15,
    )
    fifth, sixth, table = results["figure5"], results["figure6"], results["table1"]
    left, middle, right = figure.subplots(1, 3)
    for name in ("VAE", "optimal", OURS):
        draw(left, fifth["epochs"], fifth[name], name, "o")
    finish(left, "epochs of VAE training", "Figure 5")
    draw(middle, range(1, len(sixth["curve"]) + 1), sixth["curve"], f"test, {OURS}")
    finish(middle, "epochs of encoder training", f"Figure 6 (VAE: {sixth['VAE']:.3f})")
    sigmas = [float(sigma) for sigma in table["denoising"]]
    draw(right, sigmas, list(table["denoising"].values()), "denoising", "o")
    draw(right, sigmas, [table[OURS]] * len(sigmas), OURS)
    finish(right, "sigma", f"Table 1 (VAE: {table['VAE']:.3f})")
    worst = max(value["mean"] for value in (*sixth["curve"], *table["denoising"].values()))
    if table["VAE"] < 1.02 * worst:  # else nothing but its line would be seen
        for axes in (middle, right):
            axes.axhline(table["VAE"], color="grey", linestyle="--", label="VAE")
            axes.legend(fontsize=8)
    about = study.about(
        pixels=["cifar10"],
        data="pieces of a photograph" if study.quick else "cifar10",
        vae=vae,
        half_asleep={"lr": LR, "epochs": epochs, "alpha": ALPHA},
        optimal={"lr": LR, "epochs": optimal_epochs},
        **{name: vae[name] for name in ("batch", "precision", "hidden")},
    )
    study.write("study-cifar10", {**about, "results": results}, figure)


if __name__ == "__main__":
    main(cifar10, __doc__)
