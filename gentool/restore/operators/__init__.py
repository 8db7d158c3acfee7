"""Linear maps y = A x that take something away from an image; see `base.Operator`."""
