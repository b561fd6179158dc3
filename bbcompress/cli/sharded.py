"""bbc compress into a sharded archive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.inputs import echo_notes
from bbcompress.cli.messages import human, say, tell
from bbcompress.cli.options import jobs_for
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.errors import BBCError
from bbcompress.system.signals import Terminated
from bbcompress.system.storage import place_of
from bbcompress.text import count_of

if TYPE_CHECKING:
    from bbcompress.codecs.progress import Progress
    from bbcompress.pipeline.sharding.engine import Engine
    from bbcompress.pipeline.sharding.run import ShardedPacking, ShardEvent

TOLD = 10
"""Files that could not be read of which a line says why; the manifest names all."""


def compress_sharded(
    inputs: Sequence[str],
    target: str,
    shard_pixels: int | None,
    cluster: str | None,
    resume: bool,
    skip: bool | None,
    as_json: bool,
    force: bool,
    quiet: bool,
    coding: dict[str, Any],
) -> None:
    """Write a sharded archive, and say so; the command ends with 1 where files were left out. Raises BBCError."""
    from bbcompress.pipeline.options import Options
    from bbcompress.pipeline.sharding.run import ShardedPacking
    from bbcompress.pipeline.sharding.shard import Loading

    start = monotonic()
    set_up_notices(quiet or as_json)
    names = ("model", "effort", "k", "encoder", "learning_rate", "learn", "solid", "block_size", "binary",
             "embed_model", "preview", "device")  # fmt: skip
    options = Options(
        verify=not coding["no_verify"], max_pixels=coding["max_pixels"], **{name: coding[name] for name in names}
    )
    loading = Loading(coding["strip"], coding["frames"], coding["pixels"], coding["verbose"], skip)
    jobs = jobs_for(coding["jobs"], options.device)
    its_name, names_of_inputs = str(place_of(target)), [str(place_of(name)) for name in inputs]  # without secrets
    entry: dict[str, Any] = {"inputs": names_of_inputs, "output": its_name, "ok": False, "error": None}
    packing: ShardedPacking | None = None
    try:
        packing = ShardedPacking(inputs, target, options, loading, shard_pixels, force, resume)
        with _engine(cluster, jobs) as engine, _progress(packing, engine, quiet or as_json) as advance:
            packing.write(engine, _as_json if as_json else _on_stderr, advance)
        entry |= _facts(packing, start)
    except BBCError as error:
        if not as_json:
            raise
        click.echo(json.dumps({**entry, "error": error.for_command_line}))
        click.get_current_context().exit(error.exit_code)
    except (KeyboardInterrupt, Terminated):
        if packing is not None and packing.made:
            tell(f"{its_name} has {count_of(packing.made, 'shard')} so far; --resume goes on from there")
        raise
    if as_json:
        click.echo(json.dumps({**entry, "ok": True}))
    elif not quiet:
        echo_notes(packing.notes)
        say(_line(names_of_inputs, its_name, packing))
    for unread in packing.unread[:TOLD]:
        tell(f"skipped: {unread}")
    if len(packing.unread) > TOLD:
        tell(f"skipped: {len(packing.unread) - TOLD} more; the manifest names all")
    if packing.unread:
        click.get_current_context().exit(1)


@contextmanager
def _engine(cluster: str | None, jobs: int) -> Iterator[Engine]:
    """What runs the work. Raises BBCError where a cluster cannot be used."""
    if cluster is None:
        from bbcompress.pipeline.sharding.engine import InProcess

        yield InProcess(jobs)
    else:
        from bbcompress.cluster.engine import DaskEngine

        with DaskEngine(cluster, jobs) as engine:
            yield engine


def _progress(packing: ShardedPacking, engine: Engine, quiet: bool) -> AbstractContextManager[Progress | None]:
    """The progress bar, with the number of shards and workers."""

    def note() -> str:
        shards = "" if packing.planned is None else f"{packing.made}/{packing.planned} shards"
        return "  ".join(filter(None, (shards, engine.status())))

    return progress("compress", quiet, packing.expected_pixels, note)


def _as_json(event: ShardEvent) -> None:
    """A line of JSON about a shard, on stdout at once."""
    result = event.result
    shard = None if result is None else result.shard
    line = {
        "shard": event.file,
        "status": event.status,
        "images": 0 if shard is None else shard.images,
        "pixels": 0 if shard is None else shard.pixels,
        "bytes": 0 if shard is None else shard.bytes,
        "unread": 0 if result is None else len(result.unread),
        "seconds": None if result is None else result.seconds,
        "processor_seconds": None if result is None else result.processor_seconds,
        "error": None if event.error is None else event.error.for_command_line,
    }
    click.echo(json.dumps(line))


def _on_stderr(event: ShardEvent) -> None:
    """A line about a shard that failed."""
    if event.error is not None:
        tell(f"failed: {event.file}: {event.error.for_command_line}")


def _facts(packing: ShardedPacking, start: float) -> dict[str, Any]:
    """What `--json` says at the end of all."""
    summary = packing.summary
    manifest = packing.manifest
    return {
        "shards": 0 if manifest is None else len(manifest.shards),
        "images": summary.images,
        "bytes_before": packing.bytes_before,
        "bytes_after": summary.size,
        "ratio": packing.bytes_before / summary.size,
        "bits_per_dimension": summary.bits_per_dimension,
        "coders": summary.coders,
        "notes": [note.removeprefix("note: ") for note in packing.notes],
        "skipped": list(map(str, packing.unread)),
        "seconds": round(monotonic() - start, 3),
    }


def _line(inputs: Sequence[str], target: str, packing: ShardedPacking) -> str:
    """The one line that is printed."""
    summary, manifest = packing.summary, packing.manifest
    before, after = packing.bytes_before, summary.size
    what = inputs[0] if len(inputs) == 1 else f"{len(inputs)} inputs"
    shards = count_of(0 if manifest is None else len(manifest.shards), "shard")
    coders = ", ".join(f"{count} by {name}" for name, count in summary.coders.items())
    skipped = f"  {count_of(len(packing.unread), 'file')} skipped" if packing.unread else ""
    rate = f"{before / after:.2f}x  {summary.bits_per_dimension:.4f} bits/dim"
    sizes = f"{before} -> {after} bytes{human(before, after)}"
    return f"{what} -> {target}  {shards}, {count_of(summary.images)}  {sizes}  {rate}  ({coders}){skipped}"
