"""What stops Kopilka from running, told to the person who can mend it."""


class Trouble(Exception):
    """For the operator, in his language: what is wrong and how to mend it. Shown without a traceback."""
