"""Sessions: live rooms, each a supervised tree of actors."""
