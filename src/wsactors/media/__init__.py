"""Sound as packets: codecs, tracks and how they travel."""
