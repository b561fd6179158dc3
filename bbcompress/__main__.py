"""Run the command line: `bbc`, or `python -m bbcompress`."""

from bbcompress.system.interrupt import interrupts_leave


def run() -> None:
    """The command line. A Ctrl-C while it is imported ends the process as it ends a command."""
    interrupts_leave()
    import sys

    from bbcompress.cli import group_with

    group_with(sys.argv[1:])(prog_name="bbc")


if __name__ == "__main__":
    run()
