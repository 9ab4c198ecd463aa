"""A whole node: configuration, boot, the command line and the local admin socket."""
