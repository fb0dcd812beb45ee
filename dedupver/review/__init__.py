"""A person's part: pairs near a threshold are drawn and shown, labels come back, and say what thresholds are worth."""
