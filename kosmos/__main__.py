"""`python -m kosmos` is the command `kosmos`."""

from kosmos.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
