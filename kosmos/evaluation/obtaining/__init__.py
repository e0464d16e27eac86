"""Obtaining the datasets: what is fetched from where, how archives are unpacked, and what a folder has and lacks."""
