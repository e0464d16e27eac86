"""Fetching pictures from the web: polite to the hosts that serve them, and safe for the machine that asks."""
