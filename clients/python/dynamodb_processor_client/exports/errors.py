"""The error of exports, in a module that every command can afford to import."""


class ExportError(Exception):
    """An export cannot begin, be resumed or go on; the text has the reason and the remedy."""
