"""The same bytes everywhere: encode in one setting, decode in others, a process each.

What one plain setting writes, with K = 3, bits-back and direct coding, every other one has to write and read as well.
Beside each setting stands a control, plain float arithmetic that does change under it: otherwise it proves nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness_worker import LOCAL, MODELS, RESNET
from models_for_tests import sampled_strips, tiny_local, tiny_resnet, tiny_vae
from PIL import Image
from torch_for_tests import BACKENDS, TORCH_BACKENDS, torch

from bbcompress.models.checkpoint import save
from bbcompress.models.local import LocalWeights
from bbcompress.models.resnet import ResNetWeights

HERE = Path(__file__).parents[1]
IMAGES = 40
TILES = 16
ALL = 1000
SWITCHES = ("OPENBLAS_", "GOTO_", "NUMBA_", "NPY_", "ATEN_", "MKL_", "ONEDNN_", "DNNL_", "OMP_", "KMP_")
GLIBC = platform.libc_ver()[0] == "glibc"
X86 = platform.machine().lower() in ("x86_64", "amd64")


def cpu_features() -> tuple[list[str], list[str]]:
    """What numpy can switch off here, and all that it finds in this CPU."""
    core = "numpy._core" if int(np.__version__.split(".")[0]) >= 2 else "numpy.core"
    umath: Any = importlib.import_module(f"{core}._multiarray_umath")
    found = [name for name, on in umath.__cpu_features__.items() if on]
    return [name for name in umath.__cpu_dispatch__ if name in found], found


DISPATCHED, FEATURES = cpu_features()
OPENBLAS = X86 and "openblas" in str(np.show_config(mode="dicts"))
HAS_MKL = torch is not None and all(library.is_available() for library in (torch.backends.mkl, torch.backends.mkldnn))
WIDE = X86 and "AVX2" in FEATURES


@dataclass(frozen=True)
class Setting:
    """A process's environment, device and compute batch.

    possible: whether this machine has it. around: what the program
    around sets, of the worker's `AROUND`. controls: which float arithmetic has to change against `against`. certain:
    whether it must on this machine; elsewhere a control that does not change is skipped.
    """

    environment: dict[str, str] = field(default_factory=dict)
    device: str = "numpy"
    batch: int = 37
    possible: bool = True
    controls: tuple[str, ...] = ()
    against: str = "numpy"
    certain: bool = False
    flags: tuple[str, ...] = ()
    around: str = "nothing"


PLAIN = {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of OpenMP that wait would else burn most of the processor time here."""

SETTINGS = {
    "numpy": Setting(batch=ALL, flags=("--write", "--numba")),
    # the kernels run in one thread whatever numba is told, so its threads have no control
    "threads": Setting({"OPENBLAS_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}, batch=37, controls=("product 40",)),
    "prescott": Setting({"OPENBLAS_CORETYPE": "Prescott"}, possible=OPENBLAS, controls=("product 40",), certain=WIDE),
    "haswell": Setting(
        {"OPENBLAS_CORETYPE": "Haswell"},
        batch=1,
        possible=OPENBLAS and WIDE,
        controls=("product 40",),
        against="prescott",
        certain=True,
    ),
    "numba generic": Setting({"NUMBA_CPU_NAME": "generic"}, controls=("numba",), certain=WIDE, flags=("--numba",)),
    "numpy baseline": Setting(
        {"NPY_DISABLE_CPU_FEATURES": " ".join(DISPATCHED)},
        batch=ALL,
        possible=bool(DISPATCHED),
        controls=("elementwise",),
        certain=WIDE,
    ),
    "torch": Setting(device="cpu"),
    "torch threads": Setting({"OMP_NUM_THREADS": "2"}, "cpu", batch=1, controls=("sum",), against="torch"),
    "torch baseline": Setting(
        {
            "ATEN_CPU_CAPABILITY": "default",  # shows in elementwise
            "MKL_CBWR": "COMPATIBLE",  # in products
            "ONEDNN_MAX_CPU_ISA": "SSE41",  # in convolutions
        },
        "cpu",
        batch=ALL,
        controls=("elementwise", "product 40", "convolution"),
        against="torch",
        certain=WIDE and HAS_MKL,
    ),
    "upwards": Setting(around="upwards", possible=GLIBC, controls=("elementwise", "product 40"), certain=True),
    "downwards": Setting(around="downwards", possible=GLIBC, controls=("elementwise", "product 40"), certain=True),
    "towards zero": Setting(around="towards zero", possible=GLIBC, controls=("elementwise",), certain=True),
    "no denormals": Setting(around="no denormals", possible=GLIBC and X86, controls=("denormals",), certain=True),
    "buffer size": Setting(around="buffer size", controls=("cast sum",)),
    "errors raise": Setting(around="errors raise", controls=("raised",), certain=True),
    "autocast": Setting(device="cpu", around="autocast", controls=("product 40",), against="torch", certain=True),
    "matmul precision": Setting(device="cpu", around="matmul precision", controls=("product 40",), against="torch"),
    "torch denormals": Setting(
        device="cpu", around="torch denormals", possible=X86, controls=("denormals",), against="torch", certain=True
    ),
    "torch defaults": Setting(
        device="cpu", around="torch defaults", controls=("defaults",), against="torch", certain=True
    ),
    "cuda": Setting(device="cuda", possible="cuda" in TORCH_BACKENDS, controls=("product 40",), against="torch"),
}

Run = Callable[[str], dict[str, Any]]


def local_model() -> LocalWeights:
    """A local model for RGB images whose heads need float64, the rest float32."""
    weights = tiny_local(latents=8, features=16, trunk=(96, 64), head=32, prior_bits=10, direct_bits=1)
    heads = weights.heads
    heads = replace(heads, weight=heads.weight << 6, bias=heads.bias << 6, weight_bits=heads.weight_bits + 6)
    return replace(weights, heads=heads)


def resnet_model() -> ResNetWeights:
    """A residual VAE of so many latents that direct coding searches along gradients."""
    return tiny_resnet(16, width=16, channels=5, prior_bits=10, direct_bits=1)


def digits(kind: str) -> Any:
    """Real digits, uint8 (IMAGES, 784) with levels 0 to 255; noise where the files are missing."""
    files = sorted((HERE / "data" / "digits" / kind).glob("*.png"))[:IMAGES]
    if len(files) < IMAGES:
        return np.random.default_rng(0).choice([0, 255], (IMAGES, 784)).astype(np.uint8)
    return np.stack([np.array(Image.open(file)).reshape(-1) for file in files])


def is_here(setting: Setting) -> bool:
    return setting.possible and setting.device in BACKENDS


def of_one_process(name: str) -> list[str]:
    """The settings that forks of one process can have: those that differ from this one in what the program around sets
    alone. Only on Linux: elsewhere a process that has imported PyTorch is not to be forked."""
    if not sys.platform.startswith("linux"):
        return [name]

    def process(setting: Setting) -> Any:
        return setting.environment, setting.device, setting.batch, setting.flags

    return [
        other for other, setting in SETTINGS.items() if is_here(setting) and process(setting) == process(SETTINGS[name])
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the worker says in a setting, each run once."""
    folder = tmp_path_factory.mktemp("exactness")
    for likelihood, kind in (("bernoulli", "binary"), ("discretised_logistic", "grey")):
        save(tiny_vae(likelihood, (28, 28), latents=10, hidden=500, prior_bits=10, direct_bits=1), folder / likelihood)
        images = digits(kind)
        np.save(
            folder / likelihood / "images.npy", (images // 255 if kind == "binary" else images).reshape(-1, 28, 28, 1)
        )
    save(local_model(), folder / LOCAL)
    np.save(folder / LOCAL / "images.npy", sampled_strips(local_model(), 7, 44, 20).canvas.images)
    save(resnet_model(), folder / RESNET)
    np.save(folder / RESNET / "images.npy", sampled_strips(resnet_model(), TILES, 13, 16).canvas.images)

    answers: dict[str, dict[str, Any]] = {}

    def result(name: str) -> dict[str, Any]:
        setting = SETTINGS[name]
        if not is_here(setting):
            pytest.skip("this machine does not have it")
        if name not in answers:
            kept = {
                key: value
                for key, value in os.environ.items()
                if key == "NUMBA_CACHE_DIR" or not key.startswith(SWITCHES)
            }
            path = os.pathsep.join([str(HERE.parent), *filter(None, [kept.get("PYTHONPATH")])])
            worker = [sys.executable, str(HERE / "support" / "exactness_worker.py")]
            names = of_one_process(name)
            around = [SETTINGS[other].around for other in names]
            done = subprocess.run(
                [*worker, str(folder), setting.device, str(setting.batch), *setting.flags, "--around", *around],
                env={**kept, **PLAIN, **setting.environment, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=600 * len(names),
            )
            assert done.returncode == 0, done.stderr
            assert "NPY_DISABLE" not in done.stderr
            answers.update(zip(names, json.loads(done.stdout), strict=True))
        return answers[name]

    result("numpy")  # the others decode what it writes
    return result


def test_reference(run: Run) -> None:
    answer = run("numpy")
    assert not answer["torch"]  # compress and decompress on a CPU never import it
    assert set(answer["coded"]) == set(MODELS)
    for name, coded in answer["coded"].items():
        direct, *batches = coded["layout"]
        assert direct >= 1
        assert batches
        assert direct + sum(batches) == {LOCAL: 7 * 6, RESNET: TILES}.get(name, IMAGES)  # strips
        assert coded["decoded"]
    assert answer["learned"]["decoded"]
    assert answer["between"]["decoded"]


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "numpy"])
def test_same_bytes_and_same_pixels(run: Run, name: str) -> None:
    reference, answer = run("numpy"), run(name)
    assert all(coded["decoded"] for coded in answer["coded"].values())
    assert all(coded["kept"] for coded in answer["coded"].values())  # what the program around has set
    assert answer["coded"] == reference["coded"]
    assert answer["learned"]["decoded"]
    assert answer["learned"]["kept"]
    assert answer["learned"] == reference["learned"]
    assert answer["between"]["decoded"]
    assert answer["between"]["kept"]
    assert answer["between"] == reference["between"]


@pytest.mark.parametrize(
    ("name", "control"), [(name, control) for name, setting in SETTINGS.items() for control in setting.controls]
)
def test_control_changes(run: Run, name: str, control: str) -> None:
    setting = SETTINGS[name]
    changed = run(name)["controls"][control] != run(setting.against)["controls"][control]
    if not changed and not setting.certain:
        pytest.skip("on this machine this setting does not show in this float arithmetic")
    assert changed, "plain float arithmetic is the same in both settings: the test above proves nothing"


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_control_of_compute_batches(run: Run, name: str) -> None:
    controls = run(name)["controls"]
    assert len({controls[f"product {n}"] for n in (1, 37, 40)}) > 1
