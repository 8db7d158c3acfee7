"""Label files beside images: CSV, JSON lines, ``dataset.json``, CelebA's lists."""
