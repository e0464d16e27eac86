"""Reporting: results read back from disk, Table 1 as a page and on the terminal, submissions to servers."""
