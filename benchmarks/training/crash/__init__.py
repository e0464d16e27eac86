"""Crashes: runs are killed, interrupted and starved of disk, and what comes of it is compared with a run left alone."""
