"""Markov kernels that leave p(u|y) ∝ p(y|z(u)) N(u; 0, I) as it is; see `base.Kernel`."""
