"""Pure codecs: bytes to frozen values and back. No socket, clock or randomness."""
