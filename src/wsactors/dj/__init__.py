"""Songs, decks and the mixer; the processes that decode and render them."""
