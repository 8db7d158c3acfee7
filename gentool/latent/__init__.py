"""Playing with a trained model's latent space: one engine for every model that samples.

Everything here goes through two functions of a model: `sample(z, labels)`, which passes gradients
to z, and `encode(x, labels)`, where it has one.

    invert.py        z for a wanted x, by gradient descent through `sample`
    reconstruct.py   x → z → x̂, by the encoder or by inversion, with errors
    paths.py         walks from one point to the next
    directions.py    where "smile" or "male" points, and how sure that is
    edit.py          along a direction, without another, and arithmetic
    points.py        how a point is written: seed:7, face.png, mnist:test:12, z.npz, class:3
    locate.py        from what is written to z
    playable.py      all of it as methods of a loaded model: what `gentool.load` returns

Only playable.py knows of runs, and nothing here of the command line.
"""
