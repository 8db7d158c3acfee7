"""Runs as one page of HTML that needs no other file and asks no host; readable on paper too."""
