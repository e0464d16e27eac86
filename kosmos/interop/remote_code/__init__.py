"""Files that are copied into exported folders; they import nothing but torch and transformers."""
