"""Models fitted as time goes by: labels that look forward, walk-forward fits, predictions that are features."""
