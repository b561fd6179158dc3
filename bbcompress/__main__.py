"""Run the command line: `bbc`, or `python -m bbcompress`."""

import signal


def run() -> None:
    """The command line. A Ctrl-C while it is imported ends the process as if it were none of Python."""
    ours = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bbcompress.cli import main

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="bbc")


if __name__ == "__main__":
    run()
