"""Run the command line: `bbc`, or `python -m bbcompress`."""

from bbcompress.system.interrupt import interrupts_leave


def run() -> None:
    """The command line. A Ctrl-C while it is imported ends the process as it ends a command."""
    interrupts_leave()
    from bbcompress.cli import main

    main(prog_name="bbc")


if __name__ == "__main__":
    run()
