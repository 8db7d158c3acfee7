"""Runs side by side: what differs between them, mean ± deviation over seeds, curves with bands."""
