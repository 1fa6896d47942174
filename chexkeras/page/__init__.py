"""The page to try a run: upload a film, see the verdict, the score and where it comes from."""
