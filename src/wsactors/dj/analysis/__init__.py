"""What a song is made of: tempo and beats, key, loudness, a picture of it, and where to cue it. Pure: samples in, values out.

`study.analyse` finds everything; `values.Analysis` is what it finds, and can be had without numpy.
"""
