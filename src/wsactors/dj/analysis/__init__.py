"""What a song is made of: tempo and beats, key, loudness, a picture of it, and where to cue it. Pure: samples in, values out."""
