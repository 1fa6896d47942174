"""What the header says of an image: the view, the part of the body, and the patient's age, from several tags each."""
