"""Exports of `ddbq`: the forms of files, and files that a killed command can continue."""
