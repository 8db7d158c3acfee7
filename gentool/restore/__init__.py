"""Seeing what is missing: p(z|y) ∝ p(y|x(z)) p(z), for any trained model, without training again.

    operators/      linear maps y = A x, one module each: missing, scale, grey, measure
    measurement.py  what was seen: A, y and the noise
    target.py       log p(y|z), in coordinates in which the prior is a standard normal
    samplers/       elliptical slice sampling, HMC, Metropolis-within-Gibbs
    diagnostics.py  what chains are worth: split R̂, effective samples
    maximum.py      the most likely z, by inversion with A in the loss
    posterior.py    chains of all images in one batch, from their start to restorations
    exact.py        a linear-Gaussian model, whose p(z|y) is known
    calibration.py  simulation-based calibration on it
    recovery.py     reconstruction against the number of random measurements

Nothing here knows of runs or of the command line.
"""
