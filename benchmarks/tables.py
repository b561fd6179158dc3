"""Write the tables of benchmarks/README.md and README.md from benchmarks/results.

    python benchmarks/tables.py

Figures stand between the lines `<!-- table -->` and `<!-- end -->`, those of local models between `<!-- local -->` and
`<!-- end local -->`, those of the paper's CIFAR-10 system between `<!-- resnet -->` and `<!-- end resnet -->`,
those of the paper's study between `<!-- study -->` and `<!-- end study -->`, those of test images and damaged files
between `<!-- robustness -->` and `<!-- end robustness -->`, those of efforts between `<!-- effort -->` and
`<!-- end effort -->`, those of photographs between `<!-- photographs -->` and `<!-- end photographs -->`, those of
16 bits and alpha between `<!-- deep -->` and `<!-- end deep -->`, those of chunks of arrays between `<!-- zarr -->` and
`<!-- end zarr -->`, those of photographs that were JPEGs between `<!-- jpeg-born -->` and `<!-- end jpeg-born -->`,
those of the two gaps between `<!-- gaps -->` and `<!-- end gaps -->`, those of small images that are learned from
between `<!-- small -->` and `<!-- end small -->`, those of blocks between `<!-- blocks -->` and `<!-- end blocks -->`,
those of speed between `<!-- speed -->` and `<!-- end speed -->`, those of more inputs of the pixel network between
`<!-- inputs -->` and `<!-- end inputs -->`, those of other shapes of it between `<!-- shapes -->` and
`<!-- end shapes -->`, that of small photographs between `<!-- small photographs -->` and
`<!-- end small photographs -->`, those of rates of learning between `<!-- learning rates -->` and
`<!-- end learning rates -->`, that of other weights between `<!-- weights -->` and `<!-- end weights -->`, that of
the README between `<!-- front -->` and `<!-- end front -->`; nothing is typed by hand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gaps_tables import gaps
from inputs_tables import inputs
from learning_rate_tables import learning_rates
from learning_tables import block_sizes, small_archives
from markdown import table
from robustness_tables import robustness
from shapes_tables import shapes
from small_photographs_tables import small_photographs
from speed_tables import speed
from study_tables import study
from weights_tables import weights

HERE = Path(__file__).parent
ROOT = HERE.parent
OPEN, CLOSE = "<!-- table -->", "<!-- end -->"
LOCAL = "<!-- local -->", "<!-- end local -->"
RESNET = "<!-- resnet -->", "<!-- end resnet -->"
ROBUSTNESS = "<!-- robustness -->", "<!-- end robustness -->"
EFFORT = "<!-- effort -->", "<!-- end effort -->"
DEEP = "<!-- deep -->", "<!-- end deep -->"
ZARR = "<!-- zarr -->", "<!-- end zarr -->"
PHOTOGRAPHS = "<!-- photographs -->", "<!-- end photographs -->"
JPEG_BORN = "<!-- jpeg-born -->", "<!-- end jpeg-born -->"
FRONT = "<!-- front -->", "<!-- end front -->"
GAPS = "<!-- gaps -->", "<!-- end gaps -->"
INPUTS = "<!-- inputs -->", "<!-- end inputs -->"
SHAPES = "<!-- shapes -->", "<!-- end shapes -->"
WEIGHTS = "<!-- weights -->", "<!-- end weights -->"
WEIGHTS_THROUGH = "<!-- weights through -->", "<!-- end weights through -->"
WEIGHTS_FURTHER = "<!-- weights further -->", "<!-- end weights further -->"
LEARNING_RATES = "<!-- learning rates -->", "<!-- end learning rates -->"
SMALL_PHOTOGRAPHS = "<!-- small photographs -->", "<!-- end small photographs -->"
SMALL = "<!-- small -->", "<!-- end small -->"
BLOCKS = "<!-- blocks -->", "<!-- end blocks -->"
SPEED = "<!-- speed -->", "<!-- end speed -->"
STUDY = "<!-- study -->", "<!-- end study -->"
ARCHIVES = {"cifar10": "CIFAR-10", "mnist-grey-local": "grey MNIST", "mnist-binary-local": "binary MNIST"}
PHOTOS = {"photos": "photographs, RGB", "grey": "photographs, grey"}
Results = dict[str, Any]


def main() -> None:
    results = json.loads((HERE / "results" / "mnist.json").read_text())
    insert(HERE / "README.md", "\n\n".join([rates(results), by_steps(results), times(results), machine(results)]))
    local = json.loads((HERE / "results" / "local.json").read_text())
    sections = [photos(local), archives(local), drawings(local), process_times(local)]
    insert(HERE / "README.md", "\n\n".join(filter(None, sections)), LOCAL)
    insert(ROOT / "README.md", front(local), FRONT)
    resnet = json.loads((HERE / "results" / "resnet.json").read_text())
    sections = [resnet_rates(resnet), resnet_without_steps(resnet), resnet_own_rate(resnet)]
    sections += [resnet_lone(resnet), resnet_times(resnet), resnet_photographs(resnet)]
    insert(HERE / "README.md", "\n\n".join(filter(None, sections)), RESNET)
    insert(HERE / "README.md", gaps(), GAPS)
    insert(HERE / "README.md", small_archives(), SMALL)
    insert(HERE / "README.md", block_sizes(), BLOCKS)
    insert(HERE / "README.md", speed(), SPEED)
    insert(HERE / "README.md", inputs(), INPUTS)
    insert(HERE / "README.md", shapes(), SHAPES)
    insert(HERE / "README.md", weights(), WEIGHTS)
    insert(HERE / "README.md", weights("weights-through"), WEIGHTS_THROUGH)
    insert(HERE / "README.md", weights("weights-further"), WEIGHTS_FURTHER)
    insert(HERE / "README.md", learning_rates(), LEARNING_RATES)
    insert(HERE / "README.md", small_photographs(), SMALL_PHOTOGRAPHS)
    insert(HERE / "README.md", study(), STUDY)
    insert(HERE / "README.md", robustness(), ROBUSTNESS)
    insert(HERE / "README.md", efforts(json.loads((HERE / "results" / "effort.json").read_text())), EFFORT)
    insert(HERE / "README.md", photographs(), PHOTOGRAPHS)
    insert(HERE / "README.md", jpeg_born(), JPEG_BORN)
    insert(HERE / "README.md", deep(json.loads((HERE / "results" / "deep.json").read_text())), DEEP)
    insert(HERE / "README.md", chunks(json.loads((HERE / "results" / "zarr.json").read_text())), ZARR)


def insert(path: Path, text: str, markers: tuple[str, str] = (OPEN, CLOSE)) -> None:
    """Replace what stands between the markers of a file."""
    opening, closing = markers
    before, _, rest = path.read_text().partition(opening)
    after = rest.partition(closing)[2]
    path.write_text(f"{before}{opening}\n{text}\n{closing}{after}")


def efforts(found: Results) -> str:
    """Rates of efforts and of other formats, and processor seconds per megapixel."""
    rows = [
        [
            f"{row['coder']} {row['setting']}".rstrip(),
            f"{row['size']}",
            f"{row['bpd']:.4f}",
            f"{row['compress']:.2f}",
            f"{row['decompress']:.2f}",
        ]
        for row in found["results"]
    ]
    return table(["", "bytes", "bits per sub-pixel", "compress, s per megapixel", "decompress, s per megapixel"], rows)


def deep(found: Results) -> str:
    """Images of 16 bits, and photographs with soft alpha: bytes, what bbc takes of others' bytes, processor seconds."""
    parts = {"grey": "16 bits, grey: `deep.py grey`", "alpha": "soft alpha: `deep.py alpha`"}
    coders = ("JPEG XL e9", "JPEG XL e7", "WebP m6", "PNG", "zstd 19")
    rows = []
    for part, label in parts.items():
        of_part = found[part]
        sizes, ratios, images = of_part["bytes"], of_part["bbc_to"], of_part["images"]
        what = f"{len(images)} images, {label}"
        rows.append([f"{what}, bytes", *(str(sizes.get(coder, "")) for coder in ("bbc", *coders))])
        rows.append(["bbc to it, geometric mean", "", *(f"{ratios[c]:.4f}" if c in ratios else "" for c in coders)])
        times = [
            sum(row["seconds"]["bbc"][way] for row in images) / sum(math.prod(row["size"]) for row in images)
            for way in (0, 1)
        ]
        rows.append(
            ["processor seconds of bbc per megapixel", f"{1e6 * times[0]:.0f} to write, {1e6 * times[1]:.0f} to read"]
        )
        rows[-1] += [""] * len(coders)
    return table(["", "bbc", *coders], rows)


def chunks(found: Results) -> str:
    """Chunks of arrays by each codec: bits a sample, and processor seconds per million samples, write and read."""
    kinds = found["kinds"]
    rows = []
    for codec in next(iter(kinds.values()))[0]["sizes"]:
        row = [codec]
        for arrays in kinds.values():
            samples = sum(math.prod(array["shape"]) for array in arrays)
            size = sum(array["sizes"][codec] for array in arrays)
            seconds = [1e6 / samples * sum(array["seconds"][codec][way] for array in arrays) for way in (0, 1)]
            row += [f"{8 * size / samples:.3f}", " / ".join(f"{value:.2g}" for value in seconds)]
        rows.append(row)
    head = [
        cell for kind, arrays in kinds.items() for cell in (f"{kind}, {arrays[0]['dtype']}: bits", "s, write / read")
    ]
    return table(["", *head], rows)


def photos(local: Results) -> str:
    """Photographs, each in its own file: bits per sub-pixel of all of them together."""
    names = ["rha K=0", "rha K=10", "baseline K=0", "JPEG XL effort 9", "JPEG XL effort 7"]
    names += ["WebP method 6", "WebP method 4", "PNG", "net", "kl", "without z"]
    found = {label: local[part]["bits_per_subpixel"] for part, label in PHOTOS.items() if part in local}
    rows = [[name, *(f"{rates[name]:.4f}" for rates in found.values())] for name in names]
    for k in (0, 10):
        key = f"rha K={k} against JPEG XL"
        rows.append([f"rha K={k} against JPEG XL effort 9", *(percent(rates[key]) for rates in found.values())])
        larger = f"rha K={k}, larger than JPEG XL"
        rows.append([f"photographs where K={k} is larger", *(str(len(rates[larger])) for rates in found.values())])
    return "### Held-out photographs, each its own file, bits per sub-pixel\n\n" + table(["", *found], rows)


def archives(local: Results) -> str:
    """One archive of the first 1000 test images of a data set."""
    found = {label: local[part] for part, label in ARCHIVES.items() if part in local}
    rows = [
        [name, *(f"{data['rates'][name]['whole_file']:.4f}" for data in found.values())]
        for name in ("rha K=0", "rha K=10", "baseline K=0")
    ]
    if "cifar10-more-steps" in local and "cifar10" in local:
        more = local["cifar10-more-steps"]["rates"]["rha K=20"]["whole_file"]
        rows.append(["rha K=20", *(f"{more:.4f}" if label == ARCHIVES["cifar10"] else "" for label in found)])
    gains = [d["rates"]["rha K=10"]["bytes"] / d["rates"]["rha K=0"]["bytes"] - 1 for d in found.values()]
    rows.append(["rha K=10 against K=0", *map(percent, gains)])
    for figure in ("net", "kl", "without z"):
        rows.append([f"rha K=0: {figure}", *(f"{data['rha K=0'][figure]:.4f}" for data in found.values())])
    rows.append(["one image alone, mean bytes of 25", *(f"{data['lone_mean_bytes']:.1f}" for data in found.values())])
    tools = [name for data in found.values() for name in data["tools"]]
    for name in dict.fromkeys(tools):
        rows.append([name, *(f"{d['tools'][name]:.4f}" if name in d["tools"] else "" for d in found.values())])
    return "### First 1000 test images in one archive, bits per sub-pixel\n\n" + table(["", *found], rows)


def drawings(local: Results) -> str:
    """Screenshots, line art and the like."""
    if "drawings" not in local:
        return ""
    rows = local["drawings"]["drawings"]
    by_model = sum(not row["coder"].startswith("fallback") for row in rows)
    most = local["drawings"]["most_above_webp"]
    larger = f"no file was more than {most} bytes larger"
    if most < 0:
        larger = f"every file was at least {-most} bytes smaller"
    return (
        f"Of {len(rows)} drawn screenshots, line art, plots and the like {by_model} were coded by a model; {larger} "
        "than Pillow's lossless WebP, method 4."
    )


def process_times(local: Results) -> str:
    """Seconds of whole processes on photographs of 768x512."""
    if "times" not in local:
        return ""
    rows = local["times"]["seconds"]
    names = [name for name in rows[0] if name != "name" and not name.startswith("JPEG")]
    body = [[name, *(f"{row[name]['best']:.2f} ({row[name]['median']:.2f})" for row in rows)] for name in names]
    body.append(["JPEG XL effort 9, encode (in process)", *(f"{row['JPEG XL effort 9, encode']:.2f}" for row in rows)])
    head = ["", *(row["name"] for row in rows)]
    env = local["times"]["environment"]
    note = f"{env['processor']}, {env['cores']} cores, load before {env['load_before']:.1f}; commit {env['commit']}."
    return f"### Seconds of a whole process, 768x512, best (median) of 3\n\n{table(head, body)}\n\n{note}"


def photographs() -> str:
    """Folders of photographs, each its own file and in one archive."""
    coders, rows = ("bbc", "JPEG XL e9", "JPEG XL e7", "WebP m6", "PNG"), []
    sets = {
        "validation": "19 validation photographs",
        "kodak-without-lattices": "Kodak, its colours not told",
        "kodak": "Kodak",
    }
    for name, label in sets.items():
        found = json.loads((HERE / "results" / f"photographs-{name}.json").read_text())
        rates = found["alone"]["bits_per_subpixel"]
        rows.append([f"{label}, each its own file", *(f"{rates[coder]:.4f}" for coder in coders)])
        for key, archive in found.items():
            if key.startswith("archive"):
                groups = f"{len(archive['groups'])} group{'s' if len(archive['groups']) > 1 else ''}"
                words = f"{label}, one {key} ({groups})"
                rows.append([words, f"{archive['bits_per_subpixel']:.4f}", "", "", "", ""])
    return table(["", *coders], rows)


def jpeg_born() -> str:
    """Photographs that once were JPEGs, with and without what is known of their colours."""
    found = json.loads((HERE / "results" / "photographs-jpeg-born.json").read_text())["lattice"]
    rates, ways = found["bits_per_subpixel"], {"with lattice": "told", "without lattice": "not told"}
    coders = [coder for coder in ("JPEG XL e9", "JPEG XL e7", "WebP m6") if coder in rates]
    head = ["", *ways.values(), *coders]
    rows = [["bits per sub-pixel", *(f"{rates[key]:.4f}" for key in (*ways, *coders))]]
    photographs = found["photographs"]
    pixels = sum(row["pixels"] for row in photographs)
    times = [[1e6 * sum(row["seconds"][way][i] for row in photographs) / pixels for i in (0, 1)] for way in ways]
    seconds = [f"{write:.0f} / {read:.0f}" for write, read in times]
    rows.append(["processor seconds per megapixel, write / read", *seconds, *([""] * len(coders))])
    shares = [row["bytes"]["with lattice"] / row["bytes"]["without lattice"] - 1 for row in photographs]
    least, most = 100 * max(shares), 100 * min(shares)
    mean = 100 * (rates["with lattice"] / rates["without lattice"] - 1)
    note = f"Told is {-mean:.1f} % less, {-least:.1f} to {-most:.1f} % by photograph ({len(photographs)} of them)."
    return table(head, rows) + "\n\n" + note


def front(local: Results) -> str:
    """The table of the README: what one would compress, by the default settings, beside other formats."""
    rows = []
    for name, label in {"kodak": "Kodak, 24 photographs from Photo CDs", "validation": "19 other photographs"}.items():
        found = json.loads((HERE / "results" / f"photographs-{name}.json").read_text())
        rates = found["alone"]["bits_per_subpixel"]
        others = [f"{rates[coder]:.3f}" for coder in ("JPEG XL e9", "WebP m6", "PNG")]
        rows.append([f"{label}, each its own file", f"**{rates['bbc']:.3f}**", *others])
        if "archive" in found:
            rows.append([f"{label}, one archive", f"**{found['archive']['bits_per_subpixel']:.3f}**", "", "", ""])
    for part, label in ARCHIVES.items():
        encoder = json.loads((ROOT / "models" / part / "card.json").read_text()).get("encoder", "rha")
        rate, tools = local[part]["rates"][f"{encoder} K=0"]["whole_file"], local[part]["tools"]
        coders = ("JPEG XL effort 9", "WebP method 6", "PNG")
        others = [f"{tools[key]:.3f}" if (key := f"{coder}, one mosaic") in tools else "" for coder in coders]
        rows.append([f"{label}, 1000 images, one archive", f"**{rate:.3f}**", *others])
    head = ["bits per sub-pixel, whole files", "bbc", "JPEG XL effort 9", "WebP lossless", "PNG"]
    note = "No model was trained on any of these images. The other formats have MNIST and CIFAR-10 as one mosaic. "
    note += "In an archive the model learns from one image to the next where they are alike, as Kodak's are. "
    before = json.loads((HERE / "results" / "photographs-kodak-without-lattices.json").read_text())
    alone, together = before["alone"]["bits_per_subpixel"]["bbc"], before["archive"]["bits_per_subpixel"]
    note += "Kodak's come from Photo CDs, whose colours `bbc` recognises as it recognises those of JPEGs and videos; "
    note += f"without that it takes {alone:.3f} and {together:.3f}, as in the figure. "
    note += "[benchmarks/README.md](benchmarks/README.md) has all measurements, and what does not look as good."
    return table(head, rows) + "\n\n" + note


def resnet_rates(results: Results) -> str:
    """The paper's CIFAR-10 system by encoder and K, beside the paper's figures."""
    part = results.get("rates")
    if part is None:
        return ""
    rows = []
    for encoder, found in part["by_encoder"].items():
        for row in found:
            paper = results["paper"]["net"][encoder][row["K"]]
            rows.append([
                encoder, str(row["K"]), f"{row['net']:.5f}", "" if paper is None else f"{paper:.4f}",
                f"{row['whole_file']:.5f}", percent(row["overhead"]), f"{1000 * row['seconds_compress']:.1f}",
                f"{1000 * row['seconds_compress_verified']:.1f}" if "seconds_compress_verified" in row else "",
                f"{1000 * row['seconds_decompress']:.1f}",
            ])  # fmt: skip
    head = ["encoder", "K", "net", "the paper's code, net", "whole file", "overhead", "ms an image, compress"]
    head += ["with verification", "decompress"]
    card, reached = part["card"], part["baseline_reaches_rha_at_K"]
    gain = {name: found[0]["net"] for name, found in part["by_encoder"].items()}
    falls = " and ".join(name for name in part["by_encoder"] if part[f"{name}_falls_with_K"]) or "none of the encoders"
    seconds = card["training"]["seconds"]
    notes = [
        f"`{card['name']}`: {card['architecture']}; {seconds['vae']:.0f} s of training and {seconds['rha']:.0f} s of "
        f"the rha encoder's. The {part['images']} in one archive, K steps at {part['learning_rate']:g}.",
        f"rha is {gain['baseline'] - gain['rha']:.4f} below baseline at K = 0 (the paper: 0.0188), which the baseline "
        + (f"reaches at K = {reached}" if reached is not None else "reaches at no K up to 10")
        + f" (the paper: 8). Each K is below the one before for: {falls}.",
        machine_of(part),
    ]
    return "### By encoder and K, bits per sub-pixel\n\n" + table(head, rows) + "\n\n" + "\n".join(notes)


def resnet_without_steps(results: Results) -> str:
    """More images at K = 0."""
    part = results.get("without-steps")
    if part is None:
        return ""
    rows = [
        [name, f"{found[0]['net']:.5f}", f"{found[0]['whole_file']:.5f}", percent(found[0]["overhead"])]
        for name, found in part["by_encoder"].items()
    ]
    gain = part["by_encoder"]["baseline"][0]["net"] - part["by_encoder"]["rha"][0]["net"]
    title = f"### The {part['images']} in one archive, K = 0"
    note = f"rha is {gain:.4f} below baseline (the paper: 0.0188). {machine_of(part)}"
    return f"{title}\n\n{table(['encoder', 'net', 'whole file', 'overhead'], rows)}\n\n{note}"


def resnet_own_rate(results: Results) -> str:
    """The same at the model's own learning rate."""
    part = results.get("own-rate")
    if part is None:
        return ""
    steps = [row["K"] for row in part["by_encoder"]["rha"]]
    rows = [[name, *(f"{row['net']:.5f}" for row in found)] for name, found in part["by_encoder"].items()]
    title = f"### Net at the model's own rate of the K steps, {part['learning_rate']:g}"
    return f"{title}\n\n{table(['encoder', *(f'K = {k}' for k in steps)], rows)}"


def resnet_lone(results: Results) -> str:
    """Images alone in their files."""
    part = results.get("lone")
    if part is None:
        return ""
    rows = [
        ["the model, whole file", f"{part['whole_file']:.4f}"],
        ["the model, net of bits-back", f"{part['net_of_bits_back']:.4f}"],
        ["the smaller of model and fallback, as `bbc` takes it", f"{part['whole_file_with_fallback']:.4f}"],
        *([name, f"{rate:.4f}"] for name, rate in part["tools"].items()),
    ]
    cost = f"{1000 * part['seconds_compress']:.0f} ms to compress (a search of z), "
    cost += f"{1000 * part['seconds_decompress']:.0f} to decompress."
    head = ["", "bits per sub-pixel"]
    return f"### {part['images'].capitalize()}, coded directly\n\n{table(head, rows)}\n\n{cost} {machine_of(part)}"


def resnet_times(results: Results) -> str:
    """The network at the paper's size."""
    part = results["full-size"]
    rows = []
    for steps, cost in part["seconds_per_image"].items():
        paper = results["paper"]["seconds_per_image"][steps]
        columns = ("seconds_compress", "seconds_compress_verified", "seconds_decompress")
        rows.append([steps, *(f"{1000 * cost[name]:.1f}" for name in columns), f"{1000 * paper:.0f}"])
    head = ["", "compress", "with verification", "decompress", "the paper"]
    title = f"### Milliseconds an image at the paper's size, C = {part['C']}, random weights, {part['images']} images"
    return f"{title}\n\n{table(head, rows)}\n\n{machine_of(part)}"


def resnet_photographs(results: Results) -> str:
    """Images of other sizes."""
    part = results.get("photographs")
    if part is None:
        return ""
    rows = [[name, f"{rate:.4f}"] for name, rate in part["bits_per_subpixel"].items()]
    count = len(part["photographs"])
    return f"### {count} photographs in tiles, bits per sub-pixel\n\n{table(['', 'bits per sub-pixel'], rows)}"


def machine_of(part: Results) -> str:
    """Where the figures of a part come from."""
    env = part["environment"]
    return (
        f"{env['processor']} ({env['machine']}), {env['cores']} cores, load {env['load_before']:.1f} before and "
        f"{part['load_after']:.1f} after; commit {env['commit']}."
    )


def at(model: Results, encoder: str, steps: int) -> Results:
    """The row of one encoder and K."""
    row: Results = model["rates"][encoder][steps]
    return row


def percent(value: float) -> str:
    return f"{100 * value:+.2f} %"


def rates(results: Results) -> str:
    """Whole file and net rate of each model, the gains of K and of the encoder."""
    head = ["model", "encoder", "K = 0: bytes", "whole file", "net", "overhead", "K = 10: whole file", "against K = 0",
            "rha against baseline, K = 0", "one digit alone, mean bytes"]  # fmt: skip
    rows = []
    for name, model in results["models"].items():
        for encoder in ("baseline", "rha"):
            first, last = at(model, encoder, 0), at(model, encoder, 10)
            refined = percent(last["whole_file"] / first["whole_file"] - 1)
            gain = first["whole_file"] / at(model, "baseline", 0)["whole_file"] - 1
            rows.append([
                name, encoder, str(first["bytes"]), f"{first['whole_file']:.4f}", f"{first['net']:.4f}",
                percent(first["overhead"]), f"{last['whole_file']:.4f}", refined,
                percent(gain) if encoder == "rha" else "", f"{model['lone_images']['mean_bytes']:.1f}",
            ])  # fmt: skip
    return "### Rates, bits per dimension\n\n" + table(head, rows)


def by_steps(results: Results) -> str:
    """Whole-file rates by K."""
    steps = range(11)
    rows = [
        [name, encoder, *(f"{at(model, encoder, k)['whole_file']:.4f}" for k in steps)]
        for name, model in results["models"].items()
        for encoder in ("baseline", "rha")
    ]
    return "### Whole file by K\n\n" + table(["model", "encoder", *(f"K = {k}" for k in steps)], rows)


def times(results: Results) -> str:
    """Times of one process a image, and of whole processes."""
    rows, processes = [], []
    for name, model in results["models"].items():
        for steps, cost in model.get("milliseconds_per_image", {}).items():
            rows.append([name, steps, *(f"{cost[key]:.3f}" for key in ("compress", "compress_verified", "decompress"))])
        if cost := model.get("whole_process_seconds"):
            processes.append([name, *(f"{cost[key]:.2f}" for key in ("compress", "decompress", "help"))])
    text = "### Milliseconds an image, one process, warm\n\n"
    text += table(["model", "", "compress", "compress with verification", "decompress"], rows)
    text += "\n\n### Seconds of a whole process on one digit, verification included\n\n"
    return text + table(["model", "`bbc compress`", "`bbc decompress`", "`bbc --help`"], processes)


def machine(results: Results) -> str:
    """Where the figures come from."""
    env = results["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in env["packages"].items())
    return (
        f"{results['images']}; {env['processor']} ({env['machine']}), {env['cores']} cores, Python {env['python']}, "
        f"{packages}; commit {env['commit']}."
    )


if __name__ == "__main__":
    main()
