# Ends at once.
print("done")
