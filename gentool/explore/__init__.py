"""`gentool explore`: trained models in a browser, on this machine alone.

server.py       the local server: routes, start and end
guard.py        who may ask: token, Host, Origin; how much may be sent
connections.py  connections that stall are closed
worker.py       the one thread that computes; the newest position wins
session.py      the runs that were named, opened
wire.py         what the page asks and what it is answered, as bytes
places.py       positions that a page may name: no path among them
commands.py     the `gentool …` line that does the same
elbo.py         the ELBO of one example, part by part
panels.py       panels that other packages bring
explorable.py   `gentool.load(run).explore()`, the same page in a notebook
tabs/           one module a tab: what it needs, and its functions from state to pictures
page/           the browser's side: no build step, and no logic that the terminal lacks
"""
