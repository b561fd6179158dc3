"""A process of test_distributed.py: normalises and trains what lies in a folder, and leaves there what came of it.

FOLDER/norm-NAME.pt holds a batch, what its output's gradient is, and the rows of each process; FOLDER/batch.pt the rows
of a batch of a residual VAE; FOLDER/runs.json names the runs: their configurations and whether they are resumed.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import torch
from data_for_training import data_of

from bbcompress.training.architectures.resnet.network import ResNetShape, ResNetVAE
from bbcompress.training.config import TrainingConfig
from bbcompress.training.distributed import BatchNorm2d, Share, is_first, joined, leave, parallel
from bbcompress.training.objectives import negative_elbo
from bbcompress.training.run import train


def normalise(path: Path, share: Share) -> None:
    case = torch.load(path, weights_only=True)
    begin, end = case["rows"][share.rank]
    norm = BatchNorm2d(case["x"].shape[1], momentum=0.05)
    norm.load_state_dict(case["norm"])
    x = case["x"][begin:end].requires_grad_()
    y = norm(x)
    y.backward(case["gradient"][begin:end])
    result = {
        "y": y.detach(), "of_x": x.grad, "of_weight": norm.weight.grad, "of_bias": norm.bias.grad, **norm.state_dict()
    }  # fmt: skip
    torch.save(result, path.with_name(f"{share.rank}-{path.name}"))


def differentiate(path: Path, share: Share) -> None:
    model = ResNetVAE(ResNetShape((32, 32), 8))
    loss = parallel(partial(negative_elbo, model, share=share), model)
    batch = torch.load(path, weights_only=True)
    loss(batch, generator=torch.Generator().manual_seed(1)).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.save(gradients, path.with_name(f"{share.rank}-gradients.pt"))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as share:
        for path in sorted(folder.glob("norm-*.pt")):
            normalise(path, share)
        differentiate(folder / "batch.pt", share)
        for name, (values, resume) in json.loads((folder / "runs.json").read_text()).items():
            config = TrainingConfig(**values)
            metrics = train(config, folder / name, resume=resume, quiet=True, dataset=data_of(config))
            if is_first():
                (folder / name / f"exported-by-{share.rank}").touch()
            (folder / f"{name}-{share.rank}.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
