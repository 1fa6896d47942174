"""How far readers agree, what they agree on, and how good each of them is without a reference standard."""
