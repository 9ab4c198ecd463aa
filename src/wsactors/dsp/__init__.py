"""Signal processing in numpy: arrays in, arrays out. No clock, no randomness, no state beyond what is passed in."""
