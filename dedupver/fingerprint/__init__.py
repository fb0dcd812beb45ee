"""Contents → fingerprints: one module a modality, and the encoders."""
