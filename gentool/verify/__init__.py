"""Published numbers, reproduced by one command: what ``gentool verify`` runs."""
