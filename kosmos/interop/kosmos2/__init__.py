"""Kosmos-2 in transformers' form: configuration, names, tokenizer and whole folders, both ways."""
