"""What train.py imports."""


def curve(share, distance):
    """Train loss falls to the end, validation loss rises again after 60 %."""
    return 4.2 - 3 * share + distance, 1.5 + 2 * (share - 0.6) ** 2 + distance
