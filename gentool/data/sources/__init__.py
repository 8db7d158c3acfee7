"""Where data comes from: one module a source or a file format, each named in `data.registry`."""
