"""Run the command line as `python -m bbcompress`."""

from bbcompress.cli import main

if __name__ == "__main__":
    main(prog_name="bbc")
