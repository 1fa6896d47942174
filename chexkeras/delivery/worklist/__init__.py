"""The order in which unread films are worth reading, as a table and as messages for other systems."""
