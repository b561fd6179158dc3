"""The comparisons of the paper: whether the study's results have them, and by how many deviations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from study_results import (
    FIGURE3,
    FIGURE4,
    HALF_ASLEEP,
    KINDS,
    PAPER_CATCHING_UP,
    PAPER_TABLE1,
    Results,
    by_kind,
    read,
)

SURE = 2.0
"""Deviations below which a difference says nothing."""
UNBOUNDED = "cifar10"
"""The data whose VAE costs hundreds of bits on single images in float32, so that its figure says nothing."""


@dataclass(frozen=True)
class Claim:
    """One comparison: that `low` is below `high`, both spreads over seeds.

    where: figure or table; data: of which kind of pixels; words: what the paper says; note: what else there is to say;
    void: a figure is one that says nothing.
    """

    where: str
    data: str
    words: str
    low: Results
    high: Results
    note: str = ""
    void: bool = False

    @property
    def difference(self) -> float:
        """How far it is below."""
        return float(self.high["mean"]) - float(self.low["mean"])

    @property
    def deviations(self) -> float | None:
        """The same in deviations of the difference over the seeds; None of one seed."""
        squares = [spread["deviation"] ** 2 for spread in (self.low, self.high) if spread["deviation"] is not None]
        return self.difference / math.sqrt(sum(squares)) if squares and sum(squares) else None

    @property
    def verdict(self) -> str:
        """Whether it holds."""
        if self.void:
            return "says nothing"
        if self.deviations is not None and abs(self.deviations) < SURE:
            return "not to be told"
        return "holds" if self.difference > 0 else "does not hold"

    def row(self) -> list[str]:
        """Of the table."""
        deviations = "one seed" if self.deviations is None else f"{self.deviations:+.1f}"
        notes = [self.note, "the VAE's figure is that of single images that explode" if self.void else ""]
        found = "; ".join(filter(None, [f"{self.low['mean']:.4f} against {self.high['mean']:.4f}", *notes]))
        return [self.where, KINDS[self.data], self.words, found, f"{self.difference:+.4f}", deviations, self.verdict]


HEADS = ["", "", "the paper says", "found", "difference", "in deviations", ""]
WORDS = (
    "A difference is the second figure less the first, its deviations are those of the difference over the seeds (see "
    f"above what a seed is); with less than {SURE:g} of them nothing can be told. A VAE that is one for all seeds has "
    "none of its own."
)


def claims() -> list[list[str]]:
    """A row for each comparison of the paper of which there are results, under `HEADS`."""
    return [claim.row() for claim in all_claims()] + list(catching_up())


def all_claims() -> Iterator[Claim]:
    """Those between two figures in bits per dimension."""
    yield from overfitting()
    yield from known_model()
    yield from by_alpha()
    yield from by_inference()
    yield from by_epoch()
    yield from denoising()
    yield from by_steps()


def overfitting() -> Iterator[Claim]:
    """Figures 1 and 2."""
    first, second = read("figure1"), read("figure2")
    if first is not None:
        epochs, train, test = first["epochs"], first["results"]["train"], first["results"]["test"]
        best = min(range(len(test)), key=lambda number: float(test[number]["mean"]))
        words = f"test BPD rises from its least, after {epochs[best]} epochs, to {epochs[-1]}"
        yield Claim("Figure 1", "binary", words, test[best], test[-1])
        yield Claim(
            "Figure 1", "binary", f"training BPD falls from {epochs[0]} epochs to {epochs[-1]}", train[-1], train[0]
        )
    if second is not None:
        gap, epochs = second["results"]["gap"], second["epochs"]
        words = f"the gap of amortised inference grows from {epochs[0]} epochs to {epochs[-1]}"
        yield Claim("Figure 2", "binary", words, gap[0], gap[-1])


def known_model() -> Iterator[Claim]:
    """Figure 3."""
    for name in FIGURE3:
        if (found := read(name)) is not None:
            finals = {objective: result["final"] for objective, result in found["results"]["test_bpd"].items()}
            of = f"encoders of {found['schedule']['encoder']['epochs']} epochs"
            for low, high in (("reverse sleep", "wake"), ("reverse sleep", "sleep"), ("sleep", "wake")):
                yield Claim("Figure 3", "binary", f"{low} below {high}, {of}", finals[low], finals[high])


def by_alpha() -> Iterator[Claim]:
    """Figure 4."""
    for name in FIGURE4:
        if (found := read(name)) is not None:
            finals = {objective: result["final"] for objective, result in found["results"].items()}
            of = f"VAE of {found['schedule']['vae']['epochs']} epochs"
            half = next(objective for objective in finals if "0.5" in objective)
            for other in finals:
                if other != half:
                    yield Claim("Figure 4", "binary", f"{half} below {other}, {of}", finals[half], finals[other])


def by_inference() -> Iterator[Claim]:
    """Figure 5: where the margin is least."""
    for pixels, found, result, _ in by_kind("figure5"):
        epochs = result.get("epochs") or found["epochs"]
        for low, high in ((HALF_ASLEEP, "VAE"), ("optimal", HALF_ASLEEP)):
            margins = [float(b["mean"]) - float(a["mean"]) for a, b in zip(result[low], result[high], strict=True)]
            least = margins.index(min(margins))
            words = f"{low} inference below {'the VAE' if high == 'VAE' else high} at all points"
            note = f"least margin of {len(epochs)} points, after {epochs[least]} epochs" if len(epochs) > 1 else ""
            void = pixels == UNBOUNDED and high == "VAE"
            yield Claim("Figure 5", pixels, words, result[low][least], result[high][least], note, void)


def by_epoch() -> Iterator[Claim]:
    """Figure 6: where half-asleep is highest."""
    for pixels, _, result, _ in by_kind("figure6"):
        curve, vae = result["curve"], {"mean": result["VAE"], "deviation": None}
        worst = max(range(len(curve)), key=lambda number: float(curve[number]["mean"]))
        above = sum(float(point["mean"]) > result["VAE"] for point in curve)
        note = f"highest, after epoch {worst + 1}; above the VAE after {above} of {len(curve)} epochs"
        words = "half-asleep below the VAE after every epoch"
        yield Claim("Figure 6", pixels, words, curve[worst], vae, note, pixels == UNBOUNDED)


def denoising() -> Iterator[Claim]:
    """Table 1."""
    for pixels, _, result, _ in by_kind("table1"):
        vae, ours = {"mean": result["VAE"], "deviation": None}, result[HALF_ASLEEP]
        sigma, best = min(result["denoising"].items(), key=lambda item: float(item[1]["mean"]))
        yield Claim("Table 1", pixels, "half-asleep below the VAE", ours, vae, void=pixels == UNBOUNDED)
        yield Claim("Table 1", pixels, f"half-asleep below denoising of the best sigma ({sigma})", ours, best)
        paper = {name: value for name, value in PAPER_TABLE1[pixels].items() if name not in ("VAE", "ours")}
        its = min(paper, key=lambda name: paper[name])
        if its in result["denoising"] and its != sigma:
            words = f"denoising is best at sigma = {its}, here against {sigma}"
            yield Claim("Table 1", pixels, words, result["denoising"][its], best)
        for other, value in paper.items():
            if other in result["denoising"]:
                spread = result["denoising"][other]
                helps = value < PAPER_TABLE1[pixels]["VAE"]
                low, high = (spread, vae) if helps else (vae, spread)
                words = f"denoising of sigma = {other} is {'below' if helps else 'above'} the VAE"
                yield Claim("Table 1", pixels, words, low, high, void=pixels == UNBOUNDED)


def by_steps() -> Iterator[Claim]:
    """Figure 7."""
    for pixels, _, result, _ in by_kind("figure7"):
        steps, sizes = result["K"], result["bits_per_subpixel"]
        asleep, vae = sizes[HALF_ASLEEP], sizes["VAE"]
        margins = [float(b["mean"]) - float(a["mean"]) for a, b in zip(asleep, vae, strict=True)]
        least = margins.index(min(margins))
        words = f"half-asleep smaller than the VAE at every K, least at K = {steps[least]}"
        yield Claim("Figure 7", pixels, words, asleep[least], vae[least])
        for name, of_name in (("VAE", vae), (HALF_ASLEEP, asleep)):
            words = f"{name} with K = {steps[-1]} smaller than with K = {steps[0]}"
            yield Claim("Figure 7", pixels, words, of_name[-1], of_name[0])


def catching_up() -> Iterator[list[str]]:
    """Figure 8: rows of the table, of numbers of steps."""
    for pixels, _, times, _ in by_kind("figure8"):
        if pixels not in PAPER_CATCHING_UP:
            continue
        paper, extra = PAPER_CATCHING_UP[pixels]
        reached = [found for found in times["baseline_reaches_rha_at_K_0"] if found is not None]
        words = f"the VAE is as small as half-asleep at K = 0 with K = {paper}, {extra:+.1%} time to compress"
        steps = [found["K"] for found in reached]
        extras = ", ".join(f"{found['compress_extra']:+.0%}" for found in reached)
        found = f"K = {', '.join(map(str, steps))}; {extras}"
        mean = sum(steps) / len(steps)
        deviation = math.sqrt(sum((k - mean) ** 2 for k in steps) / (len(steps) - 1)) if len(steps) > 1 else None
        deviations = f"{(mean - paper) / deviation:+.1f}" if deviation else "one seed"
        holds = "holds" if paper in range(min(steps), max(steps) + 1) else "does not hold"
        yield ["Figure 8", KINDS[pixels], words, found, f"{mean - paper:+.1f} steps", deviations, holds]
