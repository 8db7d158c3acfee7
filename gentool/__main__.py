"""`python -m gentool`, as torchrun wants it."""

from gentool.cli.main import main

if __name__ == "__main__":
    main()
