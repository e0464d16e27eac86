"""Obtaining the datasets: what is fetched from where, how archives are unpacked, what a folder has, stand-ins."""
