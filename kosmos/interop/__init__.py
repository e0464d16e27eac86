"""Doors to other people's programs; each module needs the program it is for, and nothing imports it unasked."""
