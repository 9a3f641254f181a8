"""Three small community sites to try Doorward with. They use nothing of the broker's own code."""
