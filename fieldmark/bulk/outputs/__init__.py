"""Write results of a job in the formats of other tools, in little memory."""
