"""Looking a data set over before it is used: files, labels, copies, shortcuts."""
