"""The model: decoder, positions, vision tower, resampler, and what joins them."""
