"""What the baseline of a study is, in words, wherever one is shown."""

from __future__ import annotations


def baseline_words(profile_sets: bool) -> str:
    """Return what the baseline is; `profile_sets` says whether the profile writes constants into the script."""
    return "the script with the profile's constants" if profile_sets else "the script as it is"
