"""Numbers and units of measurement as they are read on a screen."""

MICRO = "µ"


def counted(number: int, noun: str) -> str:
    """Return a number of things, of which one is not many: "1 spike", "2,400 spikes"."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
