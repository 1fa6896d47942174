"""Labels that scores of unseen images contradict: how many there seem to be, and which are worth a second look."""
