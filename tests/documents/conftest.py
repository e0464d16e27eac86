"""The small finished run of the command line's tests."""

from tests.cli.conftest import kosmos, tiny_files, tiny_run

__all__ = ["kosmos", "tiny_files", "tiny_run"]
