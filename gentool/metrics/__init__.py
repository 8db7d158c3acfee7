"""What ``gentool evaluate`` computes. `registry` holds the table; one module a family."""
